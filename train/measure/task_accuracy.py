"""Accuracy of a policy on held-out problems of any task."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from addition_gym.tasks import Task
from policies import GPT2Policy
from train.measure.accuracy import Accuracy, PassAtK, check_n_problems, measures
from train.measure.choices import HeldOut
from train.measure.solve import solve
from train.run.files import write_json, write_rows
from train.run.meter import SILENT, meter
from train.run.provenance import provenance

PRETRAINED, HARDER = "<=N", ">N"
"""The kinds of problems: those of up to the largest size of pre-training, and those of fine-tuning."""


@dataclass(frozen=True)
class TaskEvaluation:
    """The completions of a policy for problems of one kind."""

    kind: str
    n_samples: int
    infos: Sequence[dict[str, Any]]
    """The environment's final ones: of the samples of the first problem, then of those of the second, ..."""

    @property
    def successes(self) -> list[bool]:
        """Of single completions."""
        return [bool(info["is_success"]) for info in self.infos]

    @property
    def accuracy(self) -> Accuracy:
        """Of single completions."""
        return Accuracy(self.kind, sum(self.successes), len(self.infos))

    def measures(self) -> dict[str, Accuracy | PassAtK]:
        """Accuracy of single completions, or pass@k of several."""
        return measures(self.kind, self.successes, self.n_samples)


def evaluate_task(
    policy: GPT2Policy,
    task: Task,
    n_problems: int,
    seed: int = 0,
    n_samples: int = 1,
    deterministic: bool = True,
    console: Console = SILENT,
    split: HeldOut = "test",
) -> list[TaskEvaluation]:
    """Let a policy complete problems of up to size N, and those of fine-tuning.

    :param policy: what is measured
    :param task: of fine-tuning
    :param n_problems: of each kind
    :param seed: of the problems
    :param n_samples: completions of each problem
    :param deterministic: the most probable token (greedy), or a sample
    :param console: where to show progress
    :param split: of the problems
    :raises ValueError: if a number is out of range
    """
    check_n_problems(n_problems)
    kinds = {
        PRETRAINED: dataclasses.replace(task, size=task.pretrained_size, distribution="up_to", split=split),
        HARDER: dataclasses.replace(task, split=split),
    }
    found = []
    with meter(console, "Evaluating", len(kinds) * n_problems * n_samples) as advance:
        for index, (name, of_kind) in enumerate(kinds.items()):
            rng = np.random.default_rng([seed, index])
            drawn = [of_kind.sample(rng) for _ in range(n_problems)]
            problems = [problem for problem in drawn for _ in range(n_samples)]
            found.append(TaskEvaluation(name, n_samples, solve(policy, problems, deterministic, advance=advance, task=task)))
    return found


def write_task(folder: Path, evaluations: Sequence[TaskEvaluation], arguments: dict[str, Any]) -> None:
    """Write ``evaluation.json`` (arguments, versions, accuracies), ``accuracies.csv`` and ``completions.csv``.

    :param folder: made if need be
    :param evaluations: what was measured
    :param arguments: of the command
    """
    folder.mkdir(parents=True, exist_ok=True)
    measured = [
        {"kind": evaluation.kind, "measure": name, "value": value.value, "low": value.interval[0], "high": value.interval[1]}
        for evaluation in evaluations
        for name, value in evaluation.measures().items()
    ]
    names = ("is_success", "first_error", "problem_class", "text")
    completions = [
        {"kind": evaluation.kind, "sample": index % evaluation.n_samples, **{name: info[name] for name in names}}
        for evaluation in evaluations
        for index, info in enumerate(evaluation.infos)
    ]
    write_rows(folder / "accuracies.csv", measured)
    write_rows(folder / "completions.csv", completions)
    write_json(folder / "evaluation.json", {"arguments": arguments, "accuracies": measured, "versions": provenance()})
