"""What a finished run of ``train.ppo`` found, in one row."""

import csv
import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from train.accuracy import problems_name

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


def read_result(arm: str, seed: int, folder: Path, extra_digits: int) -> RunResult:
    """Read a run folder of ``train.ppo``.

    :param arm: what the run is one of
    :param seed: of the run
    :param folder: the run folder
    :param extra_digits: k of the longer numbers
    :raises ValueError: if the run was not evaluated before and after training
    """
    results = json.loads((folder / "results.json").read_text())
    if not results["before"]:
        raise ValueError(
            f"folder must hold accuracies before and after training, but {str(folder)!r} does not: "
            "make the run again with eval_problems >= 1 and eval_before"
        )
    longer_before, longer_after, shorter_before, shorter_after = (
        results[when][problems_name(extra)]["accuracy"] for extra in (extra_digits, 0) for when in ("before", "after")
    )
    with (folder / "progress.csv").open(newline="") as file:
        kl = [float(row["objective/kl"]) for row in csv.DictReader(file) if row["objective/kl"]]
    return RunResult(
        arm,
        seed,
        longer_before,
        longer_after,
        shorter_before,
        shorter_after,
        gain=100 * (longer_after - longer_before),
        retention=100 * (shorter_after - shorter_before),
        kl=float(np.mean(kl[-LAST_ROLLOUTS:])),
        seconds=results["seconds"],
    )


def write_csv(path: Path, results: Iterable[RunResult]) -> None:
    """One row a run, one column a field."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(RunResult)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(dataclasses.asdict(result) for result in results)
