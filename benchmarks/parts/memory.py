"""Largest memory of a process that does one iteration and nothing else."""

import re
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Literal, get_args

import torch
import tyro

from benchmarks.contenders.hugging_face import HuggingFace
from benchmarks.contenders.ours import Ours
from benchmarks.episodes import solutions
from benchmarks.measure import Part, Row, Settings, compare

ROOT = Path(__file__).parents[2]

What = Literal["ours", "transformers", "imports only"]


@dataclass(frozen=True)
class MemoryArgs:
    what: What
    """What the process does."""
    lanes: int
    """Episodes of its iteration."""
    digits: int
    """N."""
    device: str
    """Where."""


def measure(settings: Settings) -> list[Row]:
    """One fresh process each, all at once; memory does not vary from repeat to repeat."""
    contenders = get_args(What)
    with ThreadPoolExecutor() as pool:
        megabytes = pool.map(megabytes_of_process, contenders, repeat(settings))
    values = {what: [value] for what, value in zip(contenders, megabytes, strict=True)}
    return compare(f"{settings.train_lanes} episodes", "MB", values)


def megabytes_of_process(what: str, settings: Settings) -> float:
    """Run this file as a command and read what it prints."""
    arguments = dict(what=what, lanes=settings.train_lanes, digits=settings.digits, device=settings.device)
    flags = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "benchmarks.parts.memory", *flags]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def iterate(args: MemoryArgs) -> None:
    """One rollout and one update."""
    if args.what == "ours":
        ours = Ours(args.lanes, args.digits, device=args.device)
        ours.rollout()
        ours.update()
    elif args.what == "transformers":
        hugging_face = HuggingFace(device=args.device)
        episodes = solutions(args.lanes, args.digits)
        hugging_face.generate(episodes)
        hugging_face.forward_backward(episodes)


def peak_megabytes(device: str) -> float:
    """Largest memory that this process ever held: on a GPU what PyTorch allocated there, else what was resident."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts a parent's memory into its child's ru_maxrss
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS counts bytes


PART = Part(
    "Memory",
    "Largest resident memory of a fresh process, or what PyTorch allocates on a GPU. Less is better. Our rollout keeps the "
    "policy, the reference, the optimizer and the log-probabilities of the reference; transformers has one model.",
    measure,
)

if __name__ == "__main__":
    arguments = tyro.cli(MemoryArgs)
    iterate(arguments)
    print(peak_megabytes(arguments.device))
