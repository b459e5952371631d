"""A store of fine-tuning runs by configuration, so that nothing is trained twice.

runs/store/<name>/           a run folder of train.ppo
runs/store/before/           accuracies of the pre-trained models, which their runs share
"""

import hashlib
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policies.safe_files import read_json
from train.experiment.frames import Runs, load_runs
from train.experiment.identity import accuracies_before, identity, recorded_identity
from train.finetuning.arguments import PPOArgs
from train.measure.accuracy import accuracies
from train.run.files import write_json
from train.run.models import Model
from train.run.run import FinishedRun, claimed, is_finished, made_in, run_folders

PUBLISHED = Path("results/store")
"""Runs that come with the repository. Those of older code are in results/archive, where no command looks by itself: they would
pass for runs of the present code with the same arguments."""


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
        return next((FinishedRun(folder) for folder in _find(identity(args), *self._roots) if is_finished(folder)), None)

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

    def before(self, args: PPOArgs) -> dict[str, float]:
        """Greedy accuracy of the pre-trained model on the held-out problems of a run, by their kind; measured once.

        Runs of an experiment share it, and so need not measure it each (``eval_before``).
        """
        wanted = identity(args)
        for there in (accuracies_before(root, wanted) for root in self._roots):
            if there.is_file():
                return read_json(there, "store")
        path = accuracies_before(self.root, wanted)
        path.parent.mkdir(parents=True, exist_ok=True)
        with claimed(path.parent, wait=True):  # whoever else needs it waits
            if not path.is_file():
                policy, digits = Model.find(args.pretrained).load(args.device), int(wanted["pretrained_digits"])
                extras = (0, args.extra_digits)
                found = accuracies(policy, digits, args.eval_problems, extras=extras, split=args.eval_split)
                write_json(path, {accuracy.kind: accuracy.value for accuracy in found})
        return read_json(path, "store")

    def finished(self) -> list[dict[str, Any]]:
        """The :func:`train.experiment.identity.identity` of every finished run, each once."""
        found = [each for folder, each in _recorded(*self._roots) if is_finished(folder)]
        return [each for index, each in enumerate(found) if each not in found[:index]]

    def load(self) -> Runs:
        """All runs, finished or not, as DataFrames.

        :raises ValueError: if there is none
        """
        return load_runs(*{folder.name: folder for root in reversed(self._roots) for folder in run_folders(root)}.values())

    @property
    def _roots(self) -> tuple[Path, ...]:
        return (self.root, self.published) if self.published else (self.root,)


def _recorded(*roots: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The folders of runs, finished or not, each with its identity."""
    for folder in (folder for root in roots for folder in run_folders(root)):
        try:
            yield folder, recorded_identity(folder)
        except (ValueError, OverflowError) as error:
            warnings.warn(f"{folder} is none of the store's runs: {error}", stacklevel=2)


def _find(wanted: dict[str, Any], *roots: Path) -> Iterator[Path]:
    """The folders of runs with an identity, finished or not."""
    return (folder for folder, found in _recorded(*roots) if found == wanted)
