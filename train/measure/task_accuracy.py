"""Accuracy of a policy on held-out problems of any task."""

import dataclasses

import numpy as np
from rich.console import Console

from addition_gym.tasks import Task
from policies import GPT2Policy
from train.measure.accuracy import Accuracy, check_n_problems
from train.measure.choices import HeldOut
from train.measure.solve import solve
from train.run.meter import SILENT, meter

PRETRAINED, HARDER = "<=N", ">N"
"""The kinds of problems: those of up to the largest size of pre-training, and larger ones."""


def task_accuracies(
    policy: GPT2Policy,
    task: Task,
    n_problems: int,
    seed: int = 0,
    deterministic: bool = True,
    console: Console = SILENT,
    split: HeldOut = "test",
) -> list[Accuracy]:
    """Accuracy on problems of up to size N, and on those of fine-tuning.

    :param policy: what is measured
    :param task: of fine-tuning; sizes from N + 1 on
    :param n_problems: of each kind
    :param seed: of the problems
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
    with meter(console, "Evaluating", len(kinds) * n_problems) as advance:
        for index, (name, of_kind) in enumerate(kinds.items()):
            rng = np.random.default_rng([seed, index])
            problems = [of_kind.sample(rng) for _ in range(n_problems)]
            infos = solve(policy, problems, deterministic, advance=advance, task=task)
            found.append(Accuracy(name, sum(bool(info["is_success"]) for info in infos), n_problems))
    return found
