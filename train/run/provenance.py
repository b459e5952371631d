"""What a result is made by: the commit of this project, versions, hardware and threads."""

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

_ROOT = Path(__file__).parents[2]
_OURS = ("addition_gym", "agents", "policies", "train")
_PACKAGES = ("addition-gym", "gymnasium", "stable-baselines3", "torch", "transformers", "numpy")


def provenance() -> dict[str, Any]:
    """What a result of this process is made by.

    ``commit`` is None if the code does not run from a git checkout, and ``clean`` says whether the packages were as committed.
    """
    found = {package: version(package) for package in _PACKAGES}
    hardware = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    machine = {"machine": platform.machine(), "hardware": hardware, "threads": torch.get_num_threads()}
    return {**_commit(), "python": platform.python_version(), **found, **machine}


@cache
def _commit() -> dict[str, Any]:
    """Asked once per process: what is loaded does not change with the files."""
    tracked = _git("ls-files", "--error-unmatch", "--", str(Path(__file__).relative_to(_ROOT)))
    commit = _git("rev-parse", "HEAD") if tracked else None
    return {"commit": commit, "clean": None if commit is None else _git("status", "--porcelain", "--", *_OURS) == ""}


def _git(*words: str) -> str | None:
    """What git prints in this project's folder; None if it fails, or is not there."""
    try:
        done = subprocess.run(["git", *words], cwd=_ROOT, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
