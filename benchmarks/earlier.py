"""This tree against an earlier commit, built beside it from git: ``python -m benchmarks.earlier``."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

import tyro
from rich.console import Console

from benchmarks import report
from benchmarks.measure import Part, Row, compare, rate

ROOT = Path(__file__).parents[1]

ROLLOUT = """
from benchmarks.contenders.ours import Ours
from benchmarks.measure import rate
ours = Ours({lanes}, 5)
ours.rollout()
print(rate(ours.rollout, "cpu"))
"""
"""Prints completion tokens per second; runs in both trees."""

EVALUATION = """
from benchmarks.contenders.ours import Ours
from benchmarks.measure import rate
try:
    from train.accuracy import evaluate
except ImportError:
    from train.measure.accuracy import accuracies as evaluate
policy = Ours({lanes}, 5).agent.policy
def measure():
    evaluate(policy, 5, {problems}, extras=(0, 1))
    return 2 * {problems}
print(rate(measure, "cpu"))
"""
"""Prints greedy problems per second; runs in both trees."""

Name = Literal["rollout", "evaluation", "run"]

BARS: dict[str, float] = {"rollout": 3.0, "evaluation": 3.0, "run": 1.8}
"""Least ratios to the earlier commit, on one thread."""


@dataclass(frozen=True)
class EarlierArgs:
    commit: str = "3a1b6d9"
    """What to compare with."""
    parts: tuple[Name, ...] = get_args(Name)
    """What to measure; run takes two whole runs per repeat."""
    threads: int = 1
    """PyTorch's threads."""
    lanes: int = 64
    """Lanes of the rollout."""
    problems: int = 500
    """Problems of up to N digits and of N+1 digits, each, of the evaluation."""
    total_timesteps: int = 1_000_000
    """Length of the run, in completion tokens."""
    repeats: int = 3
    """How often; the median counts."""
    output: Path = Path("benchmarks/results-earlier.json")
    """Where to write the results."""
    device: str = "cpu"
    """Where; recorded."""


def in_tree(tree: Path, threads: int, *command: str) -> str:
    """What a Python command prints that imports from a tree. :raises CalledProcessError: if it fails"""
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": str(threads)}
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, *command], env=environment, cwd=folder, check=True, stdout=subprocess.PIPE, text=True
        )
    return done.stdout


def per_second(tree: Path, script: str, args: EarlierArgs) -> float:
    """The rate that a script prints."""
    filled = script.format(lanes=args.lanes, problems=args.problems)
    return float(in_tree(tree, args.threads, "-c", filled).split()[-1])


def runs_per_hour(tree: Path, args: EarlierArgs) -> float:
    """From one run of the preset, evaluations included."""

    def run() -> float:
        in_tree(tree, args.threads, "-m", "train.ppo", "--total-timesteps", str(args.total_timesteps), "--run-folder", "run")
        return 3600.0

    return rate(run, args.device)


def unpack(commit: str, folder: Path) -> None:
    """Write the tree of a commit into a folder. :raises CalledProcessError: if git does not have it"""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", "-x"], cwd=folder, input=archive, check=True)


def measure(one: Callable[[Path], float], case: str, unit: str, trees: Mapping[str, Path], repeats: int) -> list[Row]:
    """All trees in turns, ours first."""
    values: dict[str, list[float]] = {contender: [] for contender in trees}
    for _ in range(repeats):
        for contender, tree in trees.items():
            values[contender].append(one(tree))
    return compare(case, unit, values, at_least=dict.fromkeys(list(trees)[1:], BARS[case]))


def parts(args: EarlierArgs, earlier: Path) -> dict[str, Part]:
    """The tables, by name. :param earlier: the tree of the commit"""
    trees = {"ours": ROOT, f"commit {args.commit}": earlier}
    threads = f"{args.threads} thread" + "s" * (args.threads > 1)
    measures: dict[str, tuple[Callable[[Path], float], str, str]] = {
        "rollout": (partial(per_second, script=ROLLOUT, args=args), "tokens/s", f"Rollout of {args.lanes} lanes, {threads}"),
        "evaluation": (
            partial(per_second, script=EVALUATION, args=args),
            "problems/s",
            f"Evaluation of {args.problems} + {args.problems} problems, {threads}",
        ),
        "run": (partial(runs_per_hour, args=args), "runs/hour", f"A run of {args.total_timesteps:,} tokens, {threads}"),
    }
    note = "In turns, each in a process of its own; the start of the processes counts only in whole runs."
    return {
        name: Part(title, note, lambda _, one=one, unit=unit, name=name: measure(one, name, unit, trees, args.repeats))  # type: ignore[misc]
        for name, (one, unit, title) in measures.items()
        if name in args.parts
    }


def main() -> None:
    args = tyro.cli(EarlierArgs, description="Measure this tree against an earlier commit, in turns.")
    with TemporaryDirectory() as folder:
        unpack(args.commit, Path(folder))
        report.run_parts(parts(args, Path(folder)), args, args.threads == 1, args.output, Console())


if __name__ == "__main__":
    main()
