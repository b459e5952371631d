"""Compare runs: ``python -m train.compare RUN RUN ...``; or train the arms of an experiment over paired seeds, and compare
them: ``python -m train.compare matched-budget``."""

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from train.experiment.arguments import RunnerArgs, SharedArgs, refuse_places
from train.finetuning.arguments import PRESETS, TINY_0_2, PPOArgs
from train.run.arguments import hinted, parse
from train.run.process import run_command

MATCHED_BUDGET = "matched-budget"


@hinted
@dataclass(frozen=True)
class CompareArgs:
    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders of `ppo`, or folders that contain some. Runs that differ only in their seeds are one configuration."""
    output: Path = Path("comparison.png")
    """The picture of their curves."""


@hinted
@dataclass(frozen=True)
class ExperimentArgs:
    ppo: tyro.conf.OmitArgPrefixes[PPOArgs]
    """What all runs share. The arms set the weighting, and the coefficient where it is uniform; seed is the first seed, and
    the store sets the run folder."""
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
    """Where runs are kept; no run is made twice."""
    output: Path | None = None
    """Where the table, the pictures and the README go; by default results/matched-budget."""


def main() -> None:
    if MATCHED_BUDGET in sys.argv[1:]:
        make_experiment()
    else:
        compare()


def compare() -> None:
    """Compare runs that are there."""
    other = f"`compare {MATCHED_BUDGET}` makes runs and compares them; it has its own --help."
    try:
        args = tyro.cli(CompareArgs, description=f"Compare fine-tuning runs, and draw their curves.\n{other}")
    except SystemExit as end:
        if end.code:
            print(other, file=sys.stderr)
        raise
    from rich.console import Console

    from train.experiment.frames import load_runs
    from train.experiment.run_comparison import compare_runs

    compare_runs(load_runs(*args.runs), args.output, Console())


def make_experiment() -> None:
    """Make the runs of an experiment that are missing, and compare its arms."""
    refuse_places(sys.argv[1:])
    as_published = {**PRESETS, "tiny": TINY_0_2}
    presets = {name: ExperimentArgs(SharedArgs.of(ppo)) for name, ppo in as_published.items()}
    argv = [word for word in sys.argv[1:] if word != MATCHED_BUDGET]
    args = parse(
        presets,
        "Train the arms of the matched-budget experiment over paired seeds, and compare them.",
        argv,
        f"{sys.argv[0]} {MATCHED_BUDGET}",
    )
    from rich.console import Console

    from train.experiment.arms import Experiment, matched_budget
    from train.experiment.experiment import run_experiment
    from train.experiment.runner import Runner
    from train.experiment.store import PUBLISHED, Store
    from train.experiment.verdict import NOT_SHOWN, verdict

    arms = matched_budget(PPOArgs(**vars(args.ppo)), args.uniform_coefs, args.prioritized_coefs)
    uniform = [arm for arm, ppo in arms.items() if ppo.weighting == "uniform"]
    command = shlex.join(["python", "-m", "train.compare", *(word for word in sys.argv[1:] if word != "--summarize")])
    output = args.output or Path("results") / MATCHED_BUDGET
    experiment = Experiment(
        MATCHED_BUDGET,
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
