"""Run folders and results of runs that nobody made."""

import json
from pathlib import Path

from train.experiment.results import RunResult

VERSIONS = {"python": "3.11.7", "torch": "2.13.0", "hardware": "1 CPU threads"}


BEFORE = {"<=N": 0.99, "N+1": 0.3, "N+2": 0.3}
"""Accuracies of the pre-trained model."""


def write_run(folder: Path, longer: float, shorter: float, kl: list[float], extra: str = "N+1") -> Path:
    """What a run leaves that ended at these accuracies."""
    folder.mkdir(parents=True, exist_ok=True)
    results = {
        "before": {},
        "after": {"<=N": {"accuracy": shorter}, extra: {"accuracy": longer}},
        "seconds": 360,
        "versions": VERSIONS,
    }
    (folder / "results.json").write_text(json.dumps(results))
    rows = ["0.5,", *(f"0.5,{value}" for value in kl)]  # the first rollout is logged before the first update
    (folder / "progress.csv").write_text("\n".join(["rollout/success_rate,objective/kl", *rows]) + "\n")
    return folder


def result(arm: str, seed: int, gain: float, retention: float = 0.0, kl: float = 1.0) -> RunResult:
    """A run with such a gain and retention, in points."""
    return RunResult(arm, seed, 0.3, 0.3 + gain / 100, 0.99, 0.99 + retention / 100, gain, retention, kl, 360.0)


def results_of(**arms: list[float | None]) -> dict[str, dict[int, RunResult]]:
    """Results from the gains of seeds 0, 1, ...; ``None`` for a run that is missing."""
    return {
        arm: {seed: result(arm, seed, gain) for seed, gain in enumerate(gains) if gain is not None}
        for arm, gains in arms.items()
    }
