"""Arguments of commands that make many runs."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import tyro

from train.finetuning.arguments import PPOArgs
from train.run.arguments import hinted

Stage = Literal["screening", "tuning", "test", "matched", "front"]
"""Of the study."""
Method = Literal["no KL", "uniform", "prioritized", "calibrated", "shuffled"]
"""That the study tunes and tests."""
LOCAL = "local"
"""The address of a Ray that is started on this machine, and ends with the command."""
PLACES = ("run_folder", "resume")
"""Arguments of a run that its store sets."""


@hinted
@dataclass(frozen=True)
class RunnerArgs:
    """Where runs are made, and what each of them occupies."""

    address: str = LOCAL
    """A Ray cluster (auto: the one that this machine belongs to); local starts Ray on this machine alone."""
    cpus: int = 1
    """Cores per run, and as many threads."""
    gpus: float | None = None
    """GPUs per run, by default 1 with a --device other than cpu, else 0; 0.25 lets four runs share one."""
    workers: int | None = None
    """Runs at a time on this machine, by default as many as there are cores for."""


@dataclass(frozen=True)
class SharedArgs(PPOArgs):
    """Arguments of ``train.ppo`` on the command line of many runs, without those that are set for each of them."""

    eval_before: tyro.conf.Suppress[bool] = True
    run_folder: tyro.conf.Suppress[Path | None] = None
    resume: tyro.conf.Suppress[Path | None] = None

    @classmethod
    def of(cls, args: PPOArgs) -> Self:
        """The same arguments."""
        return cls(**vars(args))


def refuse_places(argv: Sequence[str]) -> None:
    """Say why a command line of many runs must not say where a run is.

    :raises ValueError: if it does
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in PLACES:
        parser.add_argument(f"--{name.replace('_', '-')}", f"--{name}", dest=name)
    given, _ = parser.parse_known_args(argv)
    for name, value in vars(given).items():
        refuse_place(name, value)


def refuse_place(name: str, value: object) -> None:
    """:raises ValueError: unless the value is None"""
    if value is not None:
        raise ValueError(
            f"{name} must not be given for many runs, each of which has its folder in the store, but it is "
            f"{str(value)!r}: leave it out; the same command resumes interrupted runs"
        )
