"""Measure and print: ``python -m benchmarks``."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
import tyro
from rich.console import Console

from benchmarks import report
from benchmarks.measure import QUICK, Settings
from benchmarks.parts import (
    environment,
    growth,
    iteration,
    machine,
    memory,
    pretraining,
    rollout,
    time_to_accuracy,
    update,
    weights,
)

Name = Literal[
    "machine",
    "environment",
    "rollout",
    "update",
    "weights",
    "iteration",
    "pretraining",
    "growth",
    "memory",
    "time-to-accuracy",
]

PARTS = {
    "machine": machine.PART,
    "environment": environment.PART,
    "rollout": rollout.PART,
    "update": update.PART,
    "weights": weights.PART,
    "iteration": iteration.PART,
    "pretraining": pretraining.PART,
    "growth": growth.PART,
    "memory": memory.PART,
    "time-to-accuracy": time_to_accuracy.PART,
}


@dataclass(frozen=True)
class BenchmarkArgs:
    parts: tuple[Name, ...] = tuple(name for name in get_args(Name) if name != "time-to-accuracy")
    """What to measure; time-to-accuracy takes as long as a whole run."""
    quick: bool = False
    """Short problems, few lanes and repeats, no bars: only shows that everything works."""
    repeats: int | None = None
    """How often; the median counts."""
    threads: int | None = None
    """Of PyTorch on the CPU; by default its own choice."""
    device: str = "cpu"
    """Where, such as cpu or cuda."""
    output: Path = Path("benchmarks/results.json")
    """Where to write the results."""


def run(args: BenchmarkArgs, console: Console) -> None:
    """Measure, print and write what the arguments say.

    :raises ValueError: if a number is not positive
    """
    for name in ("repeats", "threads"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise ValueError(f"{name} must be >= 1, but it is {value}: pass a positive number")
    if args.threads:
        torch.set_num_threads(args.threads)
    settings = QUICK if args.quick else Settings()
    settings = dataclasses.replace(settings, device=args.device, repeats=args.repeats or settings.repeats)
    report.run_parts({name: PARTS[name] for name in args.parts}, settings, not args.quick, args.output, console)


def main() -> None:
    run(tyro.cli(BenchmarkArgs, description="Measure speed and memory against other ways to do the same."), Console())


if __name__ == "__main__":
    main()
