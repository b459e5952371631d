"""Runs: the folder that an unfinished one writes, and what a finished one says.

run.json        what makes the run: command, arguments, digests of its inputs, and for every session commit, versions, threads
checkpoints/    what it resumes from
progress.csv    what it logged; TensorBoard's events beside it
results.json    what it found; finished once it says what came out ``after`` training
log.txt         what it printed, if an experiment made it
source/         the user's own code, if it uses any
lock            held by the process that makes the run
"""

import dataclasses
import json
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeVar

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from policies.safe_files import read_json
from train.run.checkpoints import FOLDER as CHECKPOINTS
from train.run.files import CannotWrite, write_json
from train.run.log import Progress
from train.run.process import Interrupted, StopSignals, TrainingFailed
from train.run.provenance import provenance

RECORD, RESULTS, LOCK, SOURCE = "run.json", "results.json", "lock", "source"
_PLACES = ("run_folder", "resume")
"""Arguments that say where a run is; what it finds out does not depend on them."""

Args = TypeVar("Args")


@dataclass(frozen=True)
class Run:
    """A run under way, the only one that writes into its folder."""

    folder: Path
    console: Console
    """For what a person should know."""

    @classmethod
    @contextmanager
    def start(
        cls,
        name: str,
        args: Any,
        presets: Mapping[str, Any],
        console: Console,
        inputs: Mapping[str, str] = {},
        sources: Iterable[Path] = (),
    ) -> Iterator[Self]:
        """Make a run within this block, or resume the one in ``args.resume``: claim its folder and record what makes it.

        If a signal stops it, the command that resumes it is printed.

        :param name: of the command, such as ``"ppo"``
        :param args: a dataclass with ``preset``, ``run_folder`` and ``resume``. A new run gets ``run_folder``, by default
            ``runs/<name>-<preset>-<date and time>``
        :param presets: of the command
        :param console: for what a person should know
        :param inputs: digests of what a new run starts from, by argument
        :param sources: files of the user's own code that a new run uses; copies are kept in its folder
        :raises ValueError: if the folder holds a run already, is no folder, or its record is damaged, or if another process
            makes the run
        :raises CannotWrite: if the folder cannot be written
        """
        folder = args.resume or _made(args.run_folder, f"runs/{name}-{args.preset}-{datetime.now():%Y%m%d-%H%M%S}")
        with claimed(folder):
            if args.resume:
                record = _resumed(folder, name, args, presets)
            else:
                _check_empty(folder)
                arguments = {key: value for key, value in dataclasses.asdict(args).items() if key not in _PLACES}
                made_by = {"command": _command(name, args, presets), "arguments": arguments, "inputs": inputs}
                record = {**made_by, "sessions": [provenance()]}
                for source in sources:
                    (folder / SOURCE).mkdir(exist_ok=True)
                    shutil.copy(source, folder / SOURCE)
            write_json(folder / RECORD, record)
            try:
                yield cls(folder, console)
            except (Interrupted, KeyboardInterrupt) as stop:
                how = f"{stop}: saved" if isinstance(stop, Interrupted) else "stopped at once"
                command = f"addition-gym {name} --resume {shlex.quote(str(folder))}"
                console.print(f"{how}; resume with  {command}", markup=False, highlight=False, soft_wrap=True)
                raise

    @contextmanager
    def training(
        self, newest: Callable[[], Path | None], rescue: Callable[[], Path | None] = lambda: None
    ) -> Iterator[StopSignals]:
        """Train within this block. SIGINT and SIGTERM are only noted there: who trains asks for them after a checkpoint.

        :param newest: the newest checkpoint
        :param rescue: puts the model elsewhere if a run folder that cannot be written holds no checkpoint
        :raises TrainingFailed: at a NaN or an infinity, or if the run folder cannot be written
        :raises Interrupted: at the end of the block, if there was a signal
        """
        try:
            with StopSignals() as signals:
                yield signals
                signals.check()
        except FloatingPointError as error:
            raise TrainingFailed(f"{error}; {_named(newest())}") from error
        except OSError as error:
            reason = error if isinstance(error, CannotWrite) else CannotWrite(self.folder, error)
            path = newest()
            rescued = None if path else rescue()
            where = f"the model as it was is now {rescued}" if rescued else _named(path)
            raise TrainingFailed(f"{reason}; {where}") from error

    def check_inputs(self, inputs: Mapping[str, str]) -> None:
        """Refuse to resume with something else than what the run started from.

        :param inputs: digests, by argument
        :raises ValueError: naming the argument
        """
        recorded = read_record(self.folder, "resume")["inputs"]
        for name, digest in inputs.items():
            if recorded.get(name) != digest:
                raise ValueError(
                    f"{name} must be what the run in {str(self.folder)!r} started from, but it has changed since: restore it "
                    f"(a copy of your own code is in {SOURCE}/ there), or start a new run"
                )

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Write what the run has found so far; it is finished if that says ``after``.

        :raises CannotWrite: as :func:`train.run.files.replacing`
        """
        write_json(self.folder / RESULTS, results)

    def results(self) -> dict[str, Any]:
        """What it had found when it was interrupted."""
        return read_json(self.folder / RESULTS, "resume") if (self.folder / RESULTS).is_file() else {}


@dataclass(frozen=True)
class FinishedRun:
    """What a finished run says.

    :param folder: its folder
    :raises ValueError: if there is no finished run
    """

    folder: Path

    def __post_init__(self) -> None:
        if not is_finished(self.folder):
            raise ValueError(f"run must be a finished run, but {str(self.folder)!r} holds none: check the path, or resume it")

    @cached_property
    def record(self) -> dict[str, Any]:
        """What made it: ``command``, ``arguments``, ``inputs``, ``sessions``."""
        return read_record(self.folder, "run")

    @cached_property
    def results(self) -> dict[str, Any]:
        """What it found: accuracies by kind of problem ``before`` and ``after``, and how long it took."""
        return read_json(self.folder / RESULTS, "run")

    @cached_property
    def progress(self) -> Progress:
        """What it logged."""
        return Progress(self.folder)

    def accuracy(self, kind: str) -> float:
        """Accuracy after training, 0 to 1.

        :param kind: of problems, such as ``"N+1"``
        :raises ValueError: if it was not measured
        """
        if kind not in self.results["after"]:
            raise ValueError(
                f"run must hold accuracies on {kind} after training, but {str(self.folder)!r} does not: make it again with "
                "eval_problems >= 1"
            )
        return float(self.results["after"][kind]["accuracy"])


def read_record(folder: Path, name: str) -> dict[str, Any]:
    """What makes the run in a folder, finished or not: ``command``, ``arguments``, ``inputs``, ``sessions``; empty for none.

    :param name: of the argument that led here, for the message
    :raises ValueError: if it is damaged
    """
    if not (folder / RECORD).is_file():
        return {}
    record = read_json(folder / RECORD, name)
    for part, kind in (("arguments", dict), ("inputs", dict), ("sessions", list)):
        if not isinstance(record.get(part), kind):
            raise ValueError(
                f"{name} must come with the record of a run, but {str(folder / RECORD)!r} lacks {part}: correct it"
            )
    return record


def is_finished(folder: Path) -> bool:
    """Whether the run in a folder is finished.

    :raises ValueError: if its results are damaged
    """
    path = folder / RESULTS
    return path.is_file() and "after" in read_json(path, "run")


@contextmanager
def claimed(folder: Path, wait: bool = False) -> Iterator[None]:
    """Keep other processes from making the run in a folder. The system ends the claim of a process that dies.

    :param folder: of the run; a process may claim it again within the block
    :param wait: for another process to be done, instead of an error
    :raises ValueError: if another process is making the run
    :raises CannotWrite: if the folder cannot be written
    """
    lock = FileLock(folder / LOCK, is_singleton=True)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise ValueError(
            f"run_folder must not be in use, but another process is making the run in {str(folder)!r}: wait for it, or stop it"
        ) from None
    except OSError as error:
        raise CannotWrite(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def run_folders(root: Path) -> list[Path]:
    """The folders in a folder that hold a run, finished or not, in the order of their names."""
    return sorted(path.parent for path in root.glob(f"*/{RECORD}"))


def made_in(args: Args, folder: Path) -> Args:
    """The arguments that make a run in a folder, or resume the one that was begun there."""
    resume = folder if (folder / RECORD).is_file() else None
    return dataclasses.replace(args, run_folder=folder, resume=resume)  # type: ignore[type-var]


def arguments_of(arguments: type[Args], folder: Path) -> Args:
    """The arguments of a run, to resume it in its folder.

    :param arguments: their dataclass. What was added to it after the run was started has its default
    :param folder: the run folder
    :raises ValueError: if the folder holds no run, or one whose arguments are not of this dataclass
    """
    if not (folder / RECORD).is_file():
        raise ValueError(f"resume must be the folder of a run, but {str(folder)!r} holds no {RECORD}: check the path")
    recorded = read_record(folder, "resume")["arguments"]
    known = {field.name for field in dataclasses.fields(arguments)}  # type: ignore[arg-type]
    try:
        if unknown := sorted(set(recorded) - known):
            raise ValueError(f"resume must be a run of this command, but its {RECORD} has {unknown[0]!r}: check the path")
        args = TypeAdapter(arguments).validate_json(json.dumps(recorded), strict=True)
    except ValidationError as error:
        raise ValueError(f"resume must be a run of this command, but its {RECORD} does not fit: {error}") from error
    return dataclasses.replace(args, run_folder=folder, resume=folder)  # type: ignore[type-var]


def _made(folder: Path | None, default: str) -> Path:
    """The folder of a new run; the default gets a number if another process has started in the same second."""
    try:
        if folder is not None:
            if folder.exists() and not folder.is_dir():
                raise ValueError(f"run_folder must be a folder, but {str(folder)!r} is a file: choose another path")
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        for number in count(1):
            new = Path(default if number == 1 else f"{default}-{number}")
            with suppress(FileExistsError):
                new.mkdir(parents=True)
                return new
    except OSError as error:
        raise CannotWrite(folder or Path(default), error) from error
    raise AssertionError


def _resumed(folder: Path, name: str, args: Any, presets: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a run with a new session, in which it may be extended to more timesteps."""
    record, session = read_record(folder, "resume"), provenance()
    wanted, before = (held.get("total_timesteps", 0) for held in (dataclasses.asdict(args), record["arguments"]))
    if wanted < before:
        raise ValueError(f"total_timesteps must be at least those of the run, {before}, but it is {wanted}: raise it")
    if wanted == before and is_finished(folder):
        raise ValueError(
            f"resume must be the folder of an interrupted run, but {str(folder)!r} is done: start a new run, or extend a "
            "fine-tuning run with more --total-timesteps"
        )
    if wanted > before:
        record["arguments"]["total_timesteps"], record["command"] = wanted, _command(name, args, presets)
        session["extended_from"] = before
        if is_finished(folder):
            results = read_json(folder / RESULTS, "resume")
            write_json(folder / RESULTS, {"before": results["before"]})
    return {**record, "sessions": [*record["sessions"], session]}


def _command(name: str, args: Any, presets: Mapping[str, Any]) -> str:
    return shlex.join(["python", "-m", f"train.{name}", *to_flags(args, presets)])


def _check_empty(folder: Path) -> None:
    if found := next((name for name in (RECORD, CHECKPOINTS, RESULTS) if (folder / name).exists()), None):
        raise ValueError(
            f"run_folder must not hold a run yet, but {str(folder)!r} has {found}: choose another folder, or resume that run "
            "(--resume)"
        )


def _named(path: Path | None) -> str:
    return f"the last good checkpoint is {path}" if path else "there is no checkpoint yet"


def to_flags(args: Any, presets: Mapping[str, Any]) -> list[str]:
    """The shortest command line that :func:`train.run.arguments.parse` reads back as these arguments, wherever the run may be.

    :param args: a dataclass of booleans, numbers, strings, ``None`` and tuples of these, and the paths ``run_folder`` and
        ``resume``, which are left out
    :param presets: default arguments by name; the first is the default preset
    """
    default, flags = presets[args.preset], []
    for field in dataclasses.fields(args):
        name, value = field.name.replace("_", "-"), getattr(args, field.name)
        if field.name in _PLACES:
            continue
        if field.name == "preset":
            flags += [] if value == next(iter(presets)) else [f"--preset={value}"]
        elif value == getattr(default, field.name):
            continue
        elif isinstance(value, bool):
            flags.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, tuple):
            flags += [f"--{name}", *map(str, value)]
        else:
            flags.append(f"--{name}={value}")
    return flags
