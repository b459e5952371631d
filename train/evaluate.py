"""Measure the accuracy of a model or an agent, and how it fails: ``python -m train.evaluate``."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from addition_gym import prompt
from addition_gym.errors import CompletionError, completion_error
from policies import GPT2Policy
from train.measure.accuracy import (
    Accuracy,
    Distribution,
    PassAtK,
    check_count,
    fitting_extras,
    held_out_problems,
    pass_at_k,
    problems_name,
    table,
)
from train.measure.solve import Problem, budget, solve
from train.run.models import load_policy, pretrained_digits
from train.run.process import run_command
from train.run.run import versions, write_json, write_rows


@dataclass(frozen=True)
class EvaluateArgs:
    model: str = "tiny"
    """The bundled model (tiny), a folder in Hugging Face format, a run folder, a saved agent (.zip), or a model on the
    Hugging Face hub (owner/name)."""
    pretrained_digits: int | None = None
    """N; by default what the model's folder or the agent's run folder says."""
    distributions: tuple[Distribution, ...] = ("mixture", "identical", "varying")
    """Which held-out problems, for N, N+1, N+2 and N+3 digits: up to N and the RL mixture of N+k; both operands of exactly N+k
    digits; one of N+k digits and the other of at most as many."""
    problems: int = 1000
    """Held-out problems of each kind."""
    sampled: bool = False
    """Sample at the policy's temperature instead of taking the most probable token."""
    samples: int = 1
    """Completions of each problem. More than one are always sampled, and give pass@k instead of accuracy."""
    seed: int = 0
    """Of the problems and the sampling."""
    device: str = "cpu"
    """Where to run, such as cpu or cuda."""
    output: Path | None = None
    """Write evaluation.json, accuracies.csv, errors.csv and completions.csv to this folder."""


@dataclass(frozen=True)
class Attempt:
    """One completion of one problem."""

    problem: Problem
    completion: str
    error: CompletionError | None
    """None if the result line is right."""


@dataclass(frozen=True)
class Kind:
    """Problems of one distribution and length, and the completions of a policy."""

    distribution: Distribution
    extra: int
    """k of N+k."""
    n_samples: int
    attempts: Sequence[Attempt]
    """The samples of the first problem, then those of the second, ..."""

    @property
    def name(self) -> str:
        """Such as ``"identical N+1"``."""
        return problems_name(self.extra, self.distribution)

    def measures(self) -> dict[str, Accuracy | PassAtK]:
        """Accuracy of single completions; pass@k, for powers of two and for all samples, of several."""
        right = [attempt.error is None for attempt in self.attempts]
        n = self.n_samples
        if n == 1:
            return {"accuracy": Accuracy(self.name, sum(right), len(right))}
        right_of_problem = [sum(right[start : start + n]) for start in range(0, len(right), n)]
        ks = sorted({2**power for power in range(n.bit_length())} | {n})
        return {f"pass@{k}": pass_at_k(self.name, right_of_problem, n, k) for k in ks}

    def errors(self) -> list[CompletionError]:
        """Of the wrong completions."""
        return [attempt.error for attempt in self.attempts if attempt.error is not None]


def complete(policy: GPT2Policy, problems: Sequence[Problem], n_samples: int = 1, deterministic: bool = True) -> list[Attempt]:
    """Complete every problem, and say what is wrong with each completion.

    :param policy: writes the completions
    :param problems: pairs of operands
    :param n_samples: completions of each problem, side by side in the result
    :param deterministic: the most probable token (greedy), or a sample
    """
    repeated = [problem for problem in problems for _ in range(n_samples)]
    max_tokens = budget(problems)
    attempts = []
    for (a, b), info in zip(repeated, solve(policy, repeated, deterministic), strict=True):
        completion = info["text"][len(prompt(a, b)) :]
        attempts.append(Attempt((a, b), completion, completion_error(completion, a, b, max_tokens)))
    return attempts


def measure_table(title: str, kinds: Sequence[Kind], model: str) -> Table:
    """One row a kind, with its accuracy or its pass@k."""
    columns: dict[str, list[Accuracy | PassAtK]] = {}
    for kind in kinds:
        for measure, value in kind.measures().items():
            columns.setdefault(model if measure == "accuracy" else measure, []).append(value)
    if kinds[0].n_samples == 1:
        return table(title, columns)
    return table(title, columns, f"95% bootstrap intervals over problems, {kinds[0].n_samples} samples of each")


def error_rows(kinds: Iterable[Kind]) -> list[dict[str, Any]]:
    """Counts of every category that occurs, the most frequent first, each with its most frequent first wrong token."""
    rows = []
    for kind in kinds:
        errors = kind.errors()
        for category, count in Counter(error.category for error in errors).most_common():
            tokens = Counter((error.given, error.expected) for error in errors if error.category == category)
            (given, expected), token_count = tokens.most_common(1)[0]
            rows.append(
                {
                    "problems": kind.name,
                    "category": category.value,
                    "count": count,
                    "share": count / len(kind.attempts),
                    "given": given,
                    "expected": expected,
                    "token_count": token_count,
                }
            )
    return rows


def error_table(kinds: Sequence[Kind]) -> Table:
    """:func:`error_rows` for the terminal."""
    result = Table(title="Wrong completions by their first wrong token", caption="shares are of all completions of a kind")
    for header in ("digits", "error", "completions", "share", "most frequent token"):
        result.add_column(header, justify="right" if header in ("completions", "share") else "left")
    previous = None
    for row in error_rows(kinds):
        if row["problems"] != previous:
            result.add_section()
        given = repr(row["given"]) if row["given"] else "the end"
        token = f"{given} for {row['expected']!r} ({row['token_count']})"
        name = "" if row["problems"] == previous else row["problems"]
        result.add_row(name, row["category"], str(row["count"]), f"{100 * row['share']:.1f}%", token)
        previous = row["problems"]
    return result


def measure_rows(kinds: Iterable[Kind], digits: int) -> list[dict[str, Any]]:
    """One row a kind and measure. :param digits: N"""
    rows = []
    for kind in kinds:
        for measure, value in kind.measures().items():
            low, high = value.interval
            row = {"problems": kind.name, "distribution": kind.distribution, "digits": digits + kind.extra, "measure": measure}
            rows.append({**row, "value": value.value, "low": low, "high": high, "n_problems": _n_problems(kind)})
    return rows


def completion_rows(kinds: Iterable[Kind]) -> list[dict[str, Any]]:
    """One row a completion. ``category`` and the three columns of the first wrong token are empty for a right one."""
    nothing = {"category": "", "position": "", "expected": "", "given": ""}
    return [
        {
            "problems": kind.name,
            "a": attempt.problem[0],
            "b": attempt.problem[1],
            "sample": index % kind.n_samples,
            "is_success": attempt.error is None,
            **(nothing if attempt.error is None else attempt.error._asdict()),
            "completion": attempt.completion,
        }
        for kind in kinds
        for index, attempt in enumerate(kind.attempts)
    ]


def write(folder: Path, kinds: Sequence[Kind], digits: int, arguments: Mapping[str, Any]) -> None:
    """Write ``evaluation.json`` (arguments, versions, accuracies, errors), ``accuracies.csv``, ``errors.csv`` and
    ``completions.csv``.

    :param folder: made if need be
    :param kinds: what was measured
    :param digits: N
    :param arguments: of the command
    """
    folder.mkdir(parents=True, exist_ok=True)
    accuracies, errors = measure_rows(kinds, digits), error_rows(kinds)
    write_rows(folder / "accuracies.csv", accuracies)
    write_rows(folder / "errors.csv", errors)
    write_rows(folder / "completions.csv", completion_rows(kinds))
    content = {"arguments": arguments, "pretrained_digits": digits, "accuracies": accuracies, "errors": errors}
    write_json(folder / "evaluation.json", {**content, "versions": versions()})


def _n_problems(kind: Kind) -> int:
    return len(kind.attempts) // kind.n_samples


def main() -> None:
    args = tyro.cli(EvaluateArgs, description="Accuracy on held-out problems of N to N+3 digits, and what goes wrong.")
    check_count(args.problems)
    if args.samples < 1:
        raise ValueError(f"samples must be >= 1, but it is {args.samples}: pass a number of completions of each problem")
    if not args.distributions:
        raise ValueError("distributions must name at least one, but there is none: leave the flag out for all of them")
    if args.output is not None and args.output.is_file():
        raise ValueError(f"output must be a folder, but {str(args.output)!r} is a file: choose another name")
    torch.manual_seed(args.seed)
    digits = pretrained_digits(args.model) if args.pretrained_digits is None else args.pretrained_digits
    policy = load_policy(args.model, args.device)
    sampled = args.sampled or args.samples > 1
    console = Console()
    wanted = [(distribution, extra) for distribution in args.distributions for extra in fitting_extras(policy, digits)]
    kinds = []
    for distribution, extra in track(wanted, "Evaluating", console=console, transient=True):
        problems = held_out_problems(digits, extra, args.problems, args.seed, distribution)
        kinds.append(Kind(distribution, extra, args.samples, complete(policy, problems, args.samples, not sampled)))
    decoding = "sampled" if sampled else "greedy"
    title = f"Accuracy on {args.problems} held-out problems, {decoding}, N = {digits}"
    console.print(measure_table(title, kinds, args.model))
    if any(kind.errors() for kind in kinds):
        console.print(error_table(kinds))
    if args.output is not None:
        write(args.output, kinds, digits, dataclasses.asdict(args))
        console.print(f"Written to {args.output}")


if __name__ == "__main__":
    run_command(main)
