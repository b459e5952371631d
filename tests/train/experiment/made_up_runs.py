"""Run folders and results of runs that nobody made."""

import dataclasses
import json
from pathlib import Path

from train.experiment.results import RunResult
from train.experiment.store import Store
from train.finetuning.arguments import PPOArgs
from train.run.models import Model

SESSION = {"commit": "abc123", "clean": True, "python": "3.11.7", "torch": "2.13.0", "hardware": "CPU", "threads": 1}

DEFAULT = PPOArgs()

BEFORE = {"<=N": 0.99, "N+1": 0.3, "N+2": 0.3}
"""Accuracies of the pre-trained model."""


def write_record(folder: Path, args: PPOArgs = DEFAULT) -> None:
    """What a run leaves as soon as it has begun."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments = {**dataclasses.asdict(args), "pretrained_digits": args.pretrained_digits or 5}
    inputs = {"pretrained": Model.find(args.pretrained).digest()}
    record = {"command": "python -m train.ppo", "arguments": arguments, "inputs": inputs, "sessions": [SESSION]}
    (folder / "run.json").write_text(json.dumps(record, default=str))


def write_run(
    folder: Path, longer: float, shorter: float, kl: list[float], extra: str = "N+1", args: PPOArgs = DEFAULT
) -> Path:
    """What a run leaves that ended at these accuracies."""
    write_record(folder, args)
    after = {"<=N": {"accuracy": shorter}, extra: {"accuracy": longer}}
    (folder / "results.json").write_text(json.dumps({"before": {}, "after": after, "seconds": 360}))
    rows = [f"64,0.5,{value}" for value in ["", *kl]]  # the first rollout is logged before the first update
    (folder / "progress.csv").write_text("\n".join(["time/episodes,rollout/success_rate,objective/kl", *rows]) + "\n")
    return folder


def write_to(store: Store, args: PPOArgs, longer: float, shorter: float, kl: list[float], extra: str = "N+1") -> Path:
    """The same in its folder of a store."""
    folder = store.prepare(args).run_folder
    assert folder is not None
    return write_run(folder, longer, shorter, kl, extra, args)


def result(arm: str, seed: int, gain: float, retention: float = 0.0, kl: float = 1.0, area: float = 0.5) -> RunResult:
    """A run with such a gain and retention, in points."""
    after = 0.3 + gain / 100, 0.99 + retention / 100
    return RunResult(arm, seed, 0.3, after[0], 0.99, after[1], gain, retention, kl, 2 * kl, 360.0, area, 64.0 * (seed + 1))


def results_of(**arms: list[float | None]) -> dict[str, dict[int, RunResult]]:
    """Results from the gains of seeds 0, 1, ...; ``None`` for a run that is missing."""
    return {
        arm: {seed: result(arm, seed, gain) for seed, gain in enumerate(gains) if gain is not None}
        for arm, gains in arms.items()
    }
