"""Whether memory and file handles stay flat: ``python -m benchmarks.soak --minutes 120``. Linux with glibc only.

One process plays, fine-tunes, evaluates, saves and loads over and over. After each cycle it writes what it holds to a CSV file,
and at the end the slopes over time. How much memory one iteration takes is what :mod:`benchmarks.parts.memory` measures.
"""

import csv
import ctypes
import gc
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
import tyro
from rich.console import Console
from scipy.stats import theilslopes

from benchmarks.report import header
from train.finetuning.arguments import PPOArgs
from train.finetuning.finetune import train
from train.measure.accuracy import accuracies
from train.run.models import Model

TOLERANCE = 0.01
"""Growth an hour, as a share of the first value, below which a quantity counts as flat."""


@dataclass(frozen=True)
class SoakArgs:
    minutes: float = 120.0
    """How long; a cycle that has begun is ended."""
    warm_up: float = 0.1
    """Share of the time that the slopes leave out: caches fill, the allocator finds its size."""
    timesteps: int = 5_000
    """Of the fine-tuning run of a cycle."""
    env_steps: int = 1_000
    """Random steps of the scalar and of the vector environment in a cycle."""
    eval_problems: int = 16
    """Of each kind."""
    output: Path = Path("benchmarks/soak.csv")
    """The measurements; the verdict goes beside them, as JSON."""


class Sample(NamedTuple):
    """What the process holds after a cycle."""

    cycle: int
    minutes: float
    resident: float
    """Memory in MB as the system sees it: it drifts, since the allocator keeps and scatters what has been freed."""
    held: float
    """Memory in MB after garbage collection, and after the allocator has given back what is free."""
    native: float
    """Memory in MB that malloc has handed out and not got back: tensors and all of C and C++."""
    blocks: int
    """Blocks that Python's own allocator has handed out and not got back: a leaked object shows here."""
    handles: int
    """Open file descriptors."""


class Slope(NamedTuple):
    """How a quantity grows, an hour: Theil and Sen's estimate and its 95% interval, for independent errors."""

    value: float
    low: float
    high: float


class MallInfo(ctypes.Structure):
    """``struct mallinfo2`` of glibc 2.33 and newer, in bytes."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ["arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"]
    ]


def slope(hours: npt.ArrayLike, values: npt.ArrayLike) -> Slope:
    """The median of the slopes between all pairs of points.

    :param hours: ``(n,)``, n >= 2
    :param values: ``(n,)``
    """
    result = theilslopes(values, hours, alpha=0.95)
    return Slope(float(result.slope), float(result.low_slope), float(result.high_slope))


def cycle(args: SoakArgs, seed: int) -> None:
    """Play at random in both environments; fine-tune with checkpoints and evaluations, save, load and evaluate."""
    env, envs = gym.make("ScratchpadAdd-v0"), gym.make_vec("ScratchpadAdd-v0", num_envs=16)
    env.action_space.seed(seed)
    envs.action_space.seed(seed)
    env.reset(seed=seed)
    envs.reset(seed=seed)
    for _ in range(args.env_steps):
        if env.step(env.action_space.sample())[2]:
            env.reset()
        envs.step(envs.action_space.sample())
    env.close()
    envs.close()
    with tempfile.TemporaryDirectory() as folder:
        run = train(
            PPOArgs(
                total_timesteps=args.timesteps,
                n_envs=8,
                n_episodes=8,
                eval_problems=args.eval_problems,
                eval_every=1,
                eval_every_problems=args.eval_problems,
                checkpoint_every=1,
                keep_checkpoints=2,
                seed=seed,
                run_folder=Path(folder) / "run",
            ),
            Console(quiet=True),
        )
        agent = Model.find(run)
        accuracies(agent.load(), agent.pretrained_digits, args.eval_problems)


def samples(args: SoakArgs) -> Iterator[Sample]:
    """One after each cycle, until the time is up."""
    libc = ctypes.CDLL("libc.so.6")
    libc.mallinfo2.restype = MallInfo
    started = time.monotonic()
    minutes, number = 0.0, 0
    while minutes < args.minutes:
        cycle(args, seed=number)
        number += 1
        minutes = (time.monotonic() - started) / 60
        resident = resident_megabytes()
        gc.collect()
        libc.malloc_trim(0)
        info = libc.mallinfo2()
        native = (info.uordblks + info.hblkhd) / 1e6
        handles = len(os.listdir("/proc/self/fd"))
        yield Sample(number, minutes, resident, resident_megabytes(), native, sys.getallocatedblocks(), handles)


def resident_megabytes() -> float:
    """Of this process, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def run(args: SoakArgs, console: Console) -> None:
    """Soak, and write ``args.output`` line by line, so that a run that is cut short leaves its measurements.

    :raises ValueError: if there is no ``/proc``, or the time was too short for two samples after the warm-up
    """
    if not Path("/proc/self/statm").exists():
        raise ValueError("soak needs /proc to see its memory, but there is none here: run it on Linux")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    taken = []
    with args.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Sample._fields)
        for sample in samples(args):
            taken.append(sample)
            writer.writerow(f"{value:.3f}" if isinstance(value, float) else value for value in sample)
            file.flush()
    verdict = judge(taken, args.warm_up)
    content = {"machine": header("cpu"), "minutes": round(taken[-1].minutes, 1), "cycles": len(taken), **verdict}
    args.output.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n")
    console.print_json(data=content)


def judge(taken: list[Sample], warm_up: float) -> dict[str, dict[str, float | bool]]:
    """The slopes after the warm-up; flat is what grows by less than :data:`TOLERANCE` at the upper end of its interval.

    :raises ValueError: if fewer than two samples are left
    """
    kept = [sample for sample in taken if sample.minutes >= warm_up * taken[-1].minutes]
    if len(kept) < 2:
        raise ValueError(f"minutes must leave two cycles after the warm-up, but they leave {len(kept)}: soak longer")
    hours = np.array([sample.minutes for sample in kept]) / 60
    verdict: dict[str, dict[str, float | bool]] = {}
    for name in ("resident", "held", "native", "blocks", "handles"):
        values = np.array([getattr(sample, name) for sample in kept])
        found = slope(hours, values)
        verdict[name] = {
            "first": float(values[0]),
            "last": float(values[-1]),
            "largest": float(values.max()),
            "slope_per_hour": found.value,
            "low": found.low,
            "high": found.high,
            "flat": found.high <= TOLERANCE * float(values[0]),
        }
    return verdict


def main() -> None:
    torch.set_num_threads(1)
    run(tyro.cli(SoakArgs, description="Whether memory and file handles stay flat over hours."), Console())


if __name__ == "__main__":
    main()
