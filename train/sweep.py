"""Sweep arguments of fine-tuning over seeds, into one table:
``python -m train.sweep --kl-coef 0.05 0.2 --weighting prioritized uniform``."""

import argparse
import dataclasses
import itertools
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from train.experiment.arguments import RunnerArgs, SharedArgs, refuse_places
from train.finetuning.arguments import NOT_SCIENCE, PRESETS, PPOArgs
from train.run.arguments import hinted, parse
from train.run.process import run_command

AXES = tuple(
    field.name
    for field in dataclasses.fields(PPOArgs)
    if field.name not in (*NOT_SCIENCE, "seed", "eval_problems") and not isinstance(field.default, bool | tuple)
)
"""Arguments of ``train.ppo`` that may have several values."""


@hinted
@dataclass(frozen=True)
class SweepArgs:
    ppo: tyro.conf.OmitArgPrefixes[PPOArgs]
    """What all runs share. Numbers and choices may have several values, such as --kl-coef 0.05 0.2: the arms are all their
    combinations. seed is the first seed, and the store sets the run folder."""
    seeds: int = 5
    """Runs of each arm."""
    runner: tyro.conf.OmitArgPrefixes[RunnerArgs] = field(default_factory=RunnerArgs)
    """Where runs are made."""
    store: Path = Path("runs/store")
    """Where runs are kept; no run is made twice. All machines of a cluster must see it."""
    output: Path = Path("results/sweep")
    """Where the table goes."""


def parse_grid(argv: Sequence[str]) -> tuple[list[SweepArgs], tuple[str, ...]]:
    """Read a command line in which arguments of ``train.ppo`` have several values.

    :param argv: the command line
    :return: its points, one for each combination of values, and the names of the arguments that have several
    """
    splitter = argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for name in AXES:
        splitter.add_argument(f"--{name.replace('_', '-')}", f"--{name}", dest=name, nargs="+")
    given, rest = splitter.parse_known_args(argv)
    values: dict[str, list[str]] = vars(given)
    refuse_places(rest)
    presets = {name: SweepArgs(SharedArgs.of(ppo)) for name, ppo in PRESETS.items()}
    points = [
        parse(
            presets,
            "Sweep arguments of fine-tuning over seeds, on Ray.",
            [*rest, *(f"--{name.replace('_', '-')}={value}" for name, value in zip(values, combination, strict=True))],
        )
        for combination in itertools.product(*values.values())
    ]
    points = [dataclasses.replace(point, ppo=PPOArgs(**vars(point.ppo))) for point in points]
    return points, tuple(name for name in values if len(values[name]) > 1)


def main() -> None:
    points, axes = parse_grid(sys.argv[1:])
    from rich.console import Console

    from train.experiment.arms import Experiment, name_arms
    from train.experiment.experiment import run_experiment
    from train.experiment.runner import Runner
    from train.experiment.store import PUBLISHED, Store

    args, arms = points[0], name_arms([point.ppo for point in points], axes)
    command = shlex.join(["python", "-m", "train.sweep", *sys.argv[1:]])
    experiment = Experiment("Sweep", command, arms, args.seeds, Store(args.store, PUBLISHED), args.output)
    run_experiment(experiment, Runner.of(args.runner), Console())


if __name__ == "__main__":
    run_command(main)
