"""Models and runs that a reproduction needs: what is there is used, what is missing is made."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rich.console import Console

from policies import GPT2Policy
from policies.safe_files import read_json
from train.experiment.runner import Runner
from train.experiment.store import Store
from train.finetuning.arguments import PPOArgs
from train.measure.accuracy import Accuracy, accuracies
from train.measure.choices import Distribution
from train.pretraining.pretrain import MODEL
from train.pretraining.pretrain import train as pretrain
from train.reproduction.scales import Scale
from train.run.files import write_json
from train.run.models import Model
from train.run.run import FinishedRun, is_finished, made_in

PUBLISHED_MODELS = Path("results/models")
"""Pre-trained models that come with the repository, ``<scale>-<N>`` each; the bundled one is the tiny one of N = 5."""

PRETRAINED = "pretrained"
"""Folder of a store for the models that are made here."""


@dataclass(frozen=True)
class Workshop:
    """Where a reproduction finds and makes things."""

    scale: Scale
    store: Store
    """Of fine-tuning runs; what it pre-trains goes into ``<root>/pretrained``."""
    console: Console
    seeds: int
    """Runs of each arm, with the seeds 0, 1, ..."""
    n_problems: int
    """Held-out problems of each kind for the tables."""
    runner: Runner
    """Where the runs are made."""
    device: str

    def model(self, pretrained_digits: int) -> str:
        """The pre-trained model of N digits, made if need be.

        :param pretrained_digits: N
        """
        name = f"{self.scale.name}-{pretrained_digits}"
        if name == "tiny-5":
            return "tiny"
        if (PUBLISHED_MODELS / name).is_dir():
            return str(PUBLISHED_MODELS / name)
        folder = self.store.root / PRETRAINED / name
        if not is_finished(folder):
            self.console.print(f"Pre-training a model of N = {pretrained_digits} in {folder}")
            args = dataclasses.replace(self.scale.pretrain, digits=pretrained_digits, device=self.device)
            pretrain(made_in(args, folder), self.console)
        return str(folder / MODEL)

    def policy(self, pretrained_digits: int) -> GPT2Policy:
        """The pre-trained model of N digits as a policy."""
        return _policy(self.model(pretrained_digits), self.device)

    def accuracies(self, pretrained_digits: int, distribution: Distribution) -> list[Accuracy]:
        """Greedy accuracy of the pre-trained model of N digits on N to N+3 digits, measured once."""
        digest = Model.find(self.model(pretrained_digits)).digest()
        path = self.store.root / "accuracies" / f"{digest[:12]}-{distribution}-{self.n_problems}.json"
        if not path.is_file():
            policy = self.policy(pretrained_digits)
            found = accuracies(policy, pretrained_digits, self.n_problems, distribution=distribution, console=self.console)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {accuracy.kind: [accuracy.solved, accuracy.total] for accuracy in found})
        return [Accuracy(kind, *counts) for kind, counts in read_json(path, "store").items()]

    def arm(self, pretrained_digits: int | None = None, **fields: object) -> PPOArgs:
        """Fine-tuning of the model of N digits, by default the one in focus; ``fields`` say what is special."""
        model = self.model(self.scale.focus if pretrained_digits is None else pretrained_digits)
        return dataclasses.replace(self.scale.ppo, pretrained=model, device=self.device, **fields)  # type: ignore[arg-type]

    def runs(self, arms: Sequence[PPOArgs]) -> list[list[FinishedRun]]:
        """The runs of each arm, one per seed; what is missing is trained.

        :raises ValueError: if a run fails
        """
        wanted = [[dataclasses.replace(arm, seed=seed) for seed in range(self.seeds)] for arm in arms]
        by_seed = [run for seeds in zip(*wanted, strict=True) for run in seeds]
        failed = self.runner.run_missing(self.store, by_seed, self.console)
        if failed:
            raise ValueError(
                f"{len(failed)} runs failed, such as {str(failed[0])!r}: see its log.txt; the same command tries them again"
            )
        return [[self._done(run) for run in arm] for arm in wanted]

    def _done(self, args: PPOArgs) -> FinishedRun:
        run = self.store.get(args)
        assert run is not None
        return run


@cache
def _policy(model: str, device: str) -> GPT2Policy:
    return Model.find(model).load(device)
