"""Train the arms of an experiment over paired seeds, and compare them: ``python -m train.compare matched-budget``."""

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from train.experiment.arguments import RunnerArgs
from train.finetuning.arguments import PRESETS, PPOArgs
from train.run.arguments import hinted, parse
from train.run.process import run_command


@hinted
@dataclass(frozen=True)
class CompareArgs:
    ppo: tyro.conf.OmitArgPrefixes[PPOArgs]
    """What all runs share. The arms set the weighting, and the coefficient where it is uniform; seed is the first one, and
    the store sets the run folder."""
    experiment: tyro.conf.Positional[Literal["matched-budget"]] = tyro.MISSING
    """Which arms are compared."""
    seeds: int = 5
    """Runs of each arm."""
    uniform_coefs: tuple[float, ...] = (0.05, 0.2, 0.8)
    """KL coefficients of the uniform arms."""
    prioritized_coefs: tuple[float, ...] = ()
    """More KL coefficients of the prioritized penalty; its arms beside the one of --kl-coef are exploratory."""
    runner: tyro.conf.OmitArgPrefixes[RunnerArgs] = field(default_factory=RunnerArgs)
    """Where runs are made."""
    summarize: bool = False
    """Train nothing; compare what is done."""
    store: Path = Path("runs/store")
    """Where runs are kept; no run in it is made twice."""
    output: Path | None = None
    """Where table, pictures and README go; by default results/<experiment>."""


def main() -> None:
    presets = {name: CompareArgs(ppo) for name, ppo in PRESETS.items()}
    args = parse(presets, "Train the arms of an experiment over paired seeds, and compare them.")
    from rich.console import Console

    from train.experiment.arms import Experiment, matched_budget
    from train.experiment.experiment import run_experiment
    from train.experiment.runner import Runner
    from train.experiment.store import PUBLISHED, Store
    from train.experiment.verdict import NOT_SHOWN, verdict

    arms = matched_budget(args.ppo, args.uniform_coefs, args.prioritized_coefs)
    uniform = [arm for arm, ppo in arms.items() if ppo.weighting == "uniform"]
    command = shlex.join(["python", "-m", "train.compare", *(word for word in sys.argv[1:] if word != "--summarize")])
    output = args.output or Path("results") / args.experiment
    experiment = Experiment(
        args.experiment,
        command,
        arms,
        args.seeds,
        Store(args.store, PUBLISHED),
        output,
        lambda results: verdict(results, uniform),
        NOT_SHOWN,
    )
    run_experiment(experiment, None if args.summarize else Runner.of(args.runner), Console())


if __name__ == "__main__":
    run_command(main)
