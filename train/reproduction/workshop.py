"""Models and runs that a reproduction needs: what is there is used, what is missing is made."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rich.console import Console

from policies import GPT2Policy
from train.experiment.store import Store, to_flags, weights_digest
from train.measure.accuracy import Accuracy, Distribution, fitting_extras, held_out_problems, problems_name
from train.measure.solve import solve
from train.ppo import PPOArgs
from train.pretrain import PretrainArgs
from train.reproduction.scales import Scale
from train.run.models import load_policy, resolve_model
from train.run.run import write_json
from train.scheduler import run_missing

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
    problems: int
    """Held-out problems of each kind for the tables."""
    workers: int | None
    """Runs at a time."""
    device: str

    def model(self, digits: int) -> str:
        """The pre-trained model of N digits, made if need be.

        :param digits: N
        :raises ValueError: if its pre-training fails
        """
        name = f"{self.scale.name}-{digits}"
        if name == "tiny-5":
            return "tiny"
        if (PUBLISHED_MODELS / name).is_dir():
            return str(PUBLISHED_MODELS / name)
        folder = self.store.root / PRETRAINED / name
        if not (folder / "results.json").is_file():
            self._pretrain(dataclasses.replace(self.scale.pretrain, digits=digits, device=self.device, run_folder=folder))
        return str(folder / "model")

    def _pretrain(self, args: PretrainArgs) -> None:
        assert args.run_folder is not None
        self.console.print(f"Pre-training a model of N = {args.digits} in {args.run_folder}")
        resume = (args.run_folder / "config.json").is_file()
        words = ["--resume", str(args.run_folder)] if resume else to_flags(args)
        if subprocess.run([sys.executable, "-m", "train.pretrain", *words]).returncode:
            raise ValueError(f"pre-training in {str(args.run_folder)!r} failed: see above; the same command goes on with it")

    def policy(self, digits: int) -> GPT2Policy:
        """The pre-trained model of N digits as a policy."""
        return _policy(self.model(digits), self.device)

    def accuracies(self, digits: int, distribution: Distribution) -> list[Accuracy]:
        """Greedy accuracy of the pre-trained model of N digits on N to N+3 digits, measured once."""
        digest = weights_digest(resolve_model(self.model(digits)))
        path = self.store.root / "accuracies" / f"{digest[:12]}-{distribution}-{self.problems}.json"
        if not path.is_file():
            policy, found = self.policy(digits), []
            for extra in fitting_extras(policy, digits):
                problems = held_out_problems(digits, extra, self.problems, seed=0, distribution=distribution)
                solved = sum(bool(info["is_success"]) for info in solve(policy, problems))
                found.append(Accuracy(problems_name(extra, distribution), solved, len(problems)))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, [dataclasses.asdict(accuracy) for accuracy in found])
        return [Accuracy(**fields) for fields in json.loads(path.read_text())]

    def arm(self, digits: int | None = None, **fields: object) -> PPOArgs:
        """Fine-tuning of the model of N digits, by default the one in focus; ``fields`` say what is special."""
        model = self.model(self.scale.focus if digits is None else digits)
        return dataclasses.replace(self.scale.ppo, pretrained=model, device=self.device, **fields)  # type: ignore[arg-type]

    def runs(self, arms: Sequence[PPOArgs]) -> list[list[Path]]:
        """The run folders of each arm, one a seed; what is missing is trained.

        :raises ValueError: if a run fails
        """
        wanted = [[dataclasses.replace(arm, seed=seed) for seed in range(self.seeds)] for arm in arms]
        by_seed = [run for seeds in zip(*wanted, strict=True) for run in seeds]
        failed = run_missing(self.store, by_seed, self.console, self.workers)
        if failed:
            raise ValueError(
                f"{len(failed)} runs failed, such as {str(failed[0])!r}: see its log.txt; the same command goes on"
            )
        return [[self._done(run) for run in arm] for arm in wanted]

    def _done(self, run: PPOArgs) -> Path:
        folder = self.store.get(run)
        assert folder is not None
        return folder


@cache
def _policy(model: str, device: str) -> GPT2Policy:
    return load_policy(model, device)
