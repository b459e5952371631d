"""What a finished run of ``train.ppo`` found, in one row."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from train.measure.accuracy import problems_name

LAST_ROLLOUTS = 5
"""The KL that a run has spent is the mean over so many rollouts at its end."""


@dataclass(frozen=True)
class RunResult:
    """One run of one arm. Accuracies are greedy, on held-out problems, 0 to 1."""

    arm: str
    seed: int
    longer_before: float
    """Accuracy on the N+k digits of the fine-tuning, before it."""
    longer_after: float
    shorter_before: float
    """Accuracy on up to N digits, before fine-tuning."""
    shorter_after: float
    gain: float
    """Change on the longer numbers, in percentage points."""
    retention: float
    """Change on up to N digits, in percentage points."""
    kl: float
    """KL to the reference at the end, nats per episode."""
    seconds: float
    """Of training."""


def read_result(arm: str, seed: int, folder: Path, extra_digits: int, before: Mapping[str, float]) -> RunResult:
    """Read a run folder of ``train.ppo``.

    :param arm: what the run is one of
    :param seed: of the run
    :param folder: the run folder
    :param extra_digits: k of the longer numbers
    :param before: accuracies of the pre-trained model, by the name of the problems
    :raises ValueError: if the run was not evaluated after training
    """
    results = json.loads((folder / "results.json").read_text())
    if not results["after"]:
        raise ValueError(
            f"folder must hold accuracies after training, but {str(folder)!r} does not: make the run again with "
            "eval_problems >= 1"
        )
    longer, shorter = problems_name(extra_digits), problems_name(0)
    longer_after, shorter_after = (results["after"][name]["accuracy"] for name in (longer, shorter))
    with (folder / "progress.csv").open(newline="") as file:
        kl = [float(row["objective/kl"]) for row in csv.DictReader(file) if row["objective/kl"]]
    return RunResult(
        arm,
        seed,
        before[longer],
        longer_after,
        before[shorter],
        shorter_after,
        gain=100 * (longer_after - before[longer]),
        retention=100 * (shorter_after - before[shorter]),
        kl=float(np.mean(kl[-LAST_ROLLOUTS:])),
        seconds=results["seconds"],
    )
