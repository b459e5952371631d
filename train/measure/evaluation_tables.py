"""What evaluations say: accuracies, and how completions fail, for the terminal and in files."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from train.measure.accuracy import Accuracy, Evaluation, PassAtK, accuracy_table
from train.measure.tables import rich_table
from train.measure.task_accuracy import TaskEvaluation
from train.run.files import write_json, write_rows
from train.run.provenance import provenance


def measure_table(title: str, evaluations: Sequence[Evaluation | TaskEvaluation], model: str) -> RenderableType:
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


def error_table(rows: Iterable[Mapping[str, Any]]) -> RenderableType:
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
            row = {
                "kind": kind.name,
                "distribution": kind.distribution,
                "split": evaluation.split,
                "digits": pretrained_digits + kind.extra,
            }
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
