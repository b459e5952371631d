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

from policies.checks import at_least
from train.measure.accuracy import (
    Accuracy,
    Distribution,
    Evaluation,
    Kind,
    PassAtK,
    accuracy_table,
    check_n_problems,
    evaluate,
    fitting_extras,
)
from train.measure.tables import rich_table
from train.run.files import write_json, write_rows
from train.run.models import Model
from train.run.process import run_command
from train.run.provenance import provenance


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
    n_problems: int = 1000
    """Held-out problems of each kind."""
    sampled: bool = False
    """Sample at the policy's temperature instead of taking the most probable token."""
    n_samples: int = 1
    """Completions of each problem. More than one are always sampled, and give pass@k instead of accuracy."""
    seed: int = 0
    """Of the problems and the sampling."""
    device: str = "cpu"
    """Where to run, such as cpu or cuda."""
    output: Path | None = None
    """Write evaluation.json, accuracies.csv, errors.csv and completions.csv to this folder."""


def measure_table(title: str, evaluations: Sequence[Evaluation], model: str) -> Table:
    """One row per kind of problem, with its accuracy or its pass@k."""
    columns: dict[str, list[Accuracy | PassAtK]] = {}
    for evaluation in evaluations:
        for measure, value in evaluation.measures().items():
            columns.setdefault(model if measure == "accuracy" else measure, []).append(value)
    if evaluations[0].n_samples == 1:
        return accuracy_table(title, columns)
    caption = f"95% bootstrap intervals over problems, {evaluations[0].n_samples} samples of each"
    return accuracy_table(title, columns, caption)


def error_rows(evaluations: Iterable[Evaluation]) -> list[dict[str, Any]]:
    """Counts of every category that occurs, the most frequent first, each with its most frequent first wrong token."""
    rows = []
    for evaluation in evaluations:
        errors = [error for attempt in evaluation.attempts if (error := attempt.error)]
        for category, count in Counter(error.category for error in errors).most_common():
            tokens = Counter((error.given, error.expected) for error in errors if error.category == category)
            (given, expected), token_count = tokens.most_common(1)[0]
            rows.append(
                {
                    "kind": evaluation.kind.name,
                    "category": category.value,
                    "count": count,
                    "share": count / len(evaluation.attempts),
                    "given": given,
                    "expected": expected,
                    "token_count": token_count,
                }
            )
    return rows


def error_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """:func:`error_rows` for the terminal."""
    cells = []
    for row in rows:
        given = repr(row["given"]) if row["given"] else "the end"
        token = f"{given} for {row['expected']!r} ({row['token_count']})"
        cells.append([row["kind"], row["category"], token, str(row["count"]), f"{100 * row['share']:.1f}%"])
    header = ["digits", "error", "most frequent token", "completions", "share"]
    caption = "shares are of all completions of a kind"
    return rich_table("Wrong completions by their first wrong token", header, cells, caption, left=3)


def measure_rows(evaluations: Iterable[Evaluation], pretrained_digits: int) -> list[dict[str, Any]]:
    """One row per kind of problem and measure. :param pretrained_digits: N"""
    rows = []
    for evaluation in evaluations:
        kind = evaluation.kind
        for measure, value in evaluation.measures().items():
            low, high = value.interval
            row = {"kind": kind.name, "distribution": kind.distribution, "digits": pretrained_digits + kind.extra}
            numbers = {"value": value.value, "low": low, "high": high, "n_problems": evaluation.n_problems}
            rows.append({**row, "measure": measure, **numbers})
    return rows


def completion_rows(evaluations: Iterable[Evaluation]) -> list[dict[str, Any]]:
    """One row per completion. ``category`` and the three columns of the first wrong token are empty for a right one."""
    nothing = {"category": "", "position": "", "expected": "", "given": ""}
    return [
        {
            "kind": evaluation.kind.name,
            "a": attempt.problem[0],
            "b": attempt.problem[1],
            "sample": index % evaluation.n_samples,
            "is_success": attempt.is_success,
            **(nothing if attempt.error is None else attempt.error._asdict()),
            "completion": attempt.completion,
        }
        for evaluation in evaluations
        for index, attempt in enumerate(evaluation.attempts)
    ]


def write(folder: Path, evaluations: Sequence[Evaluation], pretrained_digits: int, arguments: Mapping[str, Any]) -> None:
    """Write ``evaluation.json`` (arguments, versions, accuracies, errors), ``accuracies.csv``, ``errors.csv`` and
    ``completions.csv``.

    :param folder: made if need be
    :param evaluations: what was measured
    :param pretrained_digits: N
    :param arguments: of the command
    """
    folder.mkdir(parents=True, exist_ok=True)
    measured, errors = measure_rows(evaluations, pretrained_digits), error_rows(evaluations)
    write_rows(folder / "accuracies.csv", measured)
    write_rows(folder / "errors.csv", errors)
    write_rows(folder / "completions.csv", completion_rows(evaluations))
    content = {"arguments": arguments, "pretrained_digits": pretrained_digits, "accuracies": measured, "errors": errors}
    write_json(folder / "evaluation.json", {**content, "versions": provenance()})


def main() -> None:
    args = tyro.cli(EvaluateArgs, description="Accuracy on held-out problems of N to N+3 digits, and what goes wrong.")
    check_n_problems(args.n_problems)
    at_least("n_samples", args.n_samples, 1, "pass a number of completions of each problem")
    if not args.distributions:
        raise ValueError("distributions must name at least one, but there is none: leave the flag out for all of them")
    if args.output is not None and args.output.is_file():
        raise ValueError(f"output must be a folder, but {str(args.output)!r} is a file: choose another name")
    torch.manual_seed(args.seed)
    model, console = Model.find(args.model), Console()
    pretrained_digits = model.digits_or(args.pretrained_digits)
    policy = model.load(args.device)
    sampled = args.sampled or args.n_samples > 1
    kinds = [Kind(extra, name) for name in args.distributions for extra in fitting_extras(policy, pretrained_digits)]
    evaluations = [
        evaluate(policy, kind, pretrained_digits, args.n_problems, args.seed, args.n_samples, deterministic=not sampled)
        for kind in track(kinds, "Evaluating", console=console, transient=True)
    ]
    decoding = "sampled" if sampled else "greedy"
    title = f"Accuracy on {args.n_problems} held-out problems, {decoding}, N = {pretrained_digits}"
    console.print(measure_table(title, evaluations, args.model))
    if errors := error_rows(evaluations):
        console.print(error_table(errors))
    if args.output is not None:
        write(args.output, evaluations, pretrained_digits, dataclasses.asdict(args))
        console.print(f"Written to {args.output}")


if __name__ == "__main__":
    run_command(main)
