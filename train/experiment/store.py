"""A store of fine-tuning runs by configuration, so that nothing is trained twice.

runs/store/<name>/           a run folder of train.ppo
runs/store/before/           accuracies of the pre-trained models
"""

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console

from policies.safe_files import read_json
from train.finetuning.arguments import NOT_SCIENCE, PPOArgs
from train.finetuning.finetune import inputs_of
from train.measure.accuracy import accuracies
from train.run.files import write_json
from train.run.models import Model
from train.run.run import RECORD, FinishedRun, claimed, is_finished, made_in, read_record, run_folders

PUBLISHED = Path("results/store")
"""Runs that come with the repository."""


def identity(args: PPOArgs) -> dict[str, Any]:
    """All that decides what a run finds out: the arguments but :data:`NOT_SCIENCE`, digests for names of model and own code.

    :raises ValueError: if the pre-trained model does not exist, has no weights, or does not say its N
    """
    model = Model.find(args.pretrained)
    digits = model.digits_or(args.pretrained_digits)
    return _identity({**dataclasses.asdict(args), "pretrained_digits": digits}, inputs_of(args))


def recorded_identity(folder: Path) -> dict[str, Any]:
    """:func:`identity` of a run that was made.

    An argument that was not there yet when it was made has, for that run, its default: whoever adds one to ``train.ppo`` gives
    it a default that changes nothing.
    """
    return _read_identity(folder, (folder / RECORD).stat().st_mtime_ns)


@cache
def _read_identity(folder: Path, changed: int) -> dict[str, Any]:
    """:param changed: when its record was, so that a store is read once however often it is asked"""
    record = read_record(folder, "store")
    return _identity(record["arguments"], {"pretrained": None, **record["inputs"]})


def _identity(arguments: dict[str, Any], inputs: Mapping[str, str | None]) -> dict[str, Any]:
    """As JSON reads it back; 2 and 2.0 are one number, and digests stand for the names of models and one's own code."""
    known = {field.name: field.default for field in dataclasses.fields(PPOArgs)}
    found = {name: value for name, value in {**known, **arguments, **inputs}.items() if name not in NOT_SCIENCE}
    numbers = {name: float(value) if type(value) is int else value for name, value in found.items()}
    comparable: dict[str, Any] = json.loads(json.dumps(numbers, default=str))
    return comparable


@dataclass(frozen=True)
class Store:
    """Runs in a folder.

    :param root: where runs are made
    :param published: more finished runs, only to be read
    """

    root: Path = Path("runs/store")
    published: Path | None = None

    def get(self, args: PPOArgs) -> FinishedRun | None:
        """The finished run with these arguments."""
        roots = (self.root, self.published) if self.published else (self.root,)
        return next((FinishedRun(folder) for folder in _find(identity(args), *roots) if is_finished(folder)), None)

    def folder(self, args: PPOArgs) -> Path:
        """Where the run is made: the folder in which it was begun, or a new one."""
        wanted = identity(args)
        digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
        weighting = args.weighting.rpartition(":")[2]
        name = f"{weighting}-kl{args.kl_coef:g}-seed{args.seed}-{digest[:12]}"  # for people
        return next(_find(wanted, self.root), self.root / name)

    def prepare(self, args: PPOArgs) -> PPOArgs:
        """The arguments that make a run in its folder, or resume it there."""
        folder = self.folder(args)
        folder.mkdir(parents=True, exist_ok=True)
        return made_in(args, folder)

    def before(self, args: PPOArgs, console: Console | None = None) -> dict[str, float]:
        """Greedy accuracy of the pre-trained model on the held-out problems of a run, by their kind; measured once.

        Runs of an experiment share it, and so need not measure it each (``eval_before``).

        :param args: of a run
        :param console: where to show how far the measurement is; None for nowhere
        """
        model = Model.find(args.pretrained)
        digits = model.digits_or(args.pretrained_digits)
        name = "-".join(map(str, (model.digest()[:12], digits, args.extra_digits, args.eval_problems)))
        path = self.root / "before" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with claimed(path.parent, wait=True):  # whoever else needs it waits
            if not path.is_file():
                extras = (0, args.extra_digits)
                found = accuracies(model.load(args.device), digits, args.eval_problems, extras=extras, console=console)
                write_json(path, {accuracy.kind: accuracy.value for accuracy in found})
        return read_json(path, "store")


def _find(wanted: dict[str, Any], *roots: Path) -> Iterator[Path]:
    """The folders of runs with an identity, finished or not."""
    for folder in (folder for root in roots for folder in run_folders(root)):
        try:
            if recorded_identity(folder) == wanted:
                yield folder
        except (ValueError, OverflowError) as error:
            warnings.warn(f"{folder} is none of the store's runs: {error}", stacklevel=2)
