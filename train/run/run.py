"""A run folder: everything that says how a result was made."""

import csv
import dataclasses
import json
import platform
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import torch
from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from policies.safe_files import read_json
from train.run.files import CannotWrite, replacing

Args = TypeVar("Args")

RUN = ("config.json", "checkpoints", "results.json")
"""What shows that a folder holds a run, or what is left of one."""
LOCK = "lock"
"""Locked by the process that trains in the folder."""

_PACKAGES = ("addition-gym", "gymnasium", "stable-baselines3", "torch", "transformers", "numpy")


def make_run_folder(args: Any, command: str, folder: Path | None) -> Path:
    """Create a folder and write ``config.json``, ``command.txt`` and ``versions.json`` into it.

    :param args: the dataclass of arguments
    :param command: name of the command, such as ``"ppo"``
    :param folder: where; by default a new ``runs/<command>-<preset>-<date and time>``
    :return: the folder
    :raises ValueError: if the folder already holds a run, or is none
    :raises CannotWrite: if it cannot be made
    """
    try:
        if folder is None:
            folder = _new_folder(f"runs/{command}-{args.preset}-{datetime.now():%Y%m%d-%H%M%S}")
        elif folder.exists() and not folder.is_dir():
            raise ValueError(f"run_folder must be a folder, but {str(folder)!r} is a file: choose another path")
        elif found := next((name for name in RUN if (folder / name).exists()), None):
            raise ValueError(
                f"run_folder must not hold a run yet, but {str(folder)!r} has {found}: choose another folder, or go on with "
                "that run (--resume)"
            )
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(folder or Path("runs"), error) from error
    write_json(folder / "config.json", dataclasses.asdict(args))
    (folder / "command.txt").write_text(shlex.join(["python", "-m", f"train.{command}", *sys.argv[1:]]) + "\n")
    write_json(folder / "versions.json", versions())
    return folder


def _new_folder(name: str) -> Path:
    """That no other process has made, which may have started in the same second."""
    for number in count(1):
        folder = Path(name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise AssertionError


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a run folder. The system ends the claim of a process that dies.

    :param folder: of the run
    :raises ValueError: if another process trains there
    :raises CannotWrite: if the folder cannot be written
    """
    lock = FileLock(folder / LOCK, blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise ValueError(
            f"run_folder must not be in use, but another process trains in {str(folder)!r}: wait until it ends, or choose "
            "another folder"
        ) from error
    except OSError as error:
        raise CannotWrite(folder, error) from error
    try:
        yield
    finally:
        lock.release()


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


def check_run_seed(seed: int) -> None:
    """:raises ValueError: if NumPy's generators would not take it"""
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie in [0, 2**32), but it is {seed}: pass a number from there")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result, and the hardware."""
    found = {package: version(package) for package in _PACKAGES}
    hardware = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    return {"python": platform.python_version(), **found, "machine": platform.machine(), "hardware": hardware}


def write_json(path: Path, content: Any) -> None:
    """Write JSON that a person can read. The file is there whole or not at all.

    :raises OSError: as :func:`train.run.files.replacing`
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
