"""A run folder: everything that says how a result was made."""

import csv
import dataclasses
import json
import platform
import shlex
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError

from policies.safe_files import read_json
from train.files import CannotWrite, replacing

Args = TypeVar("Args")

_PACKAGES = ("addition-gym", "gymnasium", "stable-baselines3", "torch", "transformers", "numpy")


def make_run_folder(args: Any, command: str, folder: Path | None) -> Path:
    """Create a folder and write ``config.json``, ``command.txt`` and ``versions.json`` into it.

    :param args: the dataclass of arguments
    :param command: name of the command, such as ``"ppo"``
    :param folder: where; by default ``runs/<command>-<preset>-<date and time>``
    :return: the folder
    :raises ValueError: if the folder already holds a run
    :raises CannotWrite: if it cannot be made
    """
    if folder is None:
        folder = Path("runs") / f"{command}-{args.preset}-{datetime.now():%Y%m%d-%H%M%S}"
    if (folder / "config.json").exists():
        raise ValueError(f"run_folder must not hold a run yet, but {str(folder)!r} does: choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(folder, error) from error
    write_json(folder / "config.json", dataclasses.asdict(args))
    (folder / "command.txt").write_text(shlex.join(["python", "-m", f"train.{command}", *sys.argv[1:]]) + "\n")
    write_json(folder / "versions.json", versions())
    return folder


def resumed(arguments: type[Args], folder: Path) -> Args:
    """The arguments of an interrupted run, to go on with it in its folder.

    :param arguments: their dataclass, with fields ``run_folder`` and ``resume``
    :param folder: the run folder
    :raises ValueError: if the folder holds no run, one that is done, or one whose arguments are not of this dataclass
    """
    if not (folder / "config.json").is_file():
        raise ValueError(f"resume must be the folder of a run, but {str(folder)!r} holds no config.json: check the path")
    if (folder / "results.json").is_file():
        raise ValueError(f"resume must be the folder of an interrupted run, but {str(folder)!r} is done: start a new run")
    config = read_json(folder / "config.json", "resume")
    known = {field.name for field in dataclasses.fields(arguments)}  # type: ignore[arg-type]
    if unknown := sorted(config.keys() - known):
        raise ValueError(f"resume must be a run of this command, but its config.json has {unknown[0]!r}: check the path")
    try:
        args = TypeAdapter(arguments).validate_json(json.dumps(config), strict=True)
    except ValidationError as error:
        raise ValueError(f"resume must be a run of this command, but its config.json does not fit: {error}") from error
    return dataclasses.replace(args, run_folder=folder, resume=folder)  # type: ignore[type-var]


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result, and the hardware."""
    found = {package: version(package) for package in _PACKAGES}
    hardware = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    return {"python": platform.python_version(), **found, "machine": platform.machine(), "hardware": hardware}


def write_json(path: Path, content: Any) -> None:
    """Write JSON that a person can read. The file is there whole or not at all.

    :raises OSError: as :func:`train.files.replacing`
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=str) + "\n")


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write CSV, with the keys of the first row as its header; an empty file if there is no row."""
    with path.open("w", newline="") as file:
        writer = None
        for row in rows:
            if writer is None:
                writer = csv.DictWriter(file, row.keys(), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
