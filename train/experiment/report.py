"""Tables, pictures and the README of an experiment whose arms are compared over seeds."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from rich.table import Table

from train.experiment.verdict import FOCUS, Results, compare, paired_seeds
from train.measure.statistics import Estimate, interquartile_mean, mean
from train.plot import COLOURS

MARKERS = "osD^vPX*<>ph"
"""One an arm, so that a picture can be read in grey."""


def arm_table(results: Results, longer: str) -> tuple[list[str], list[list[str]]]:
    """One row an arm that has runs.

    :param results: by arm and seed
    :param longer: name of the longer problems, such as ``"N+1"``
    :return: the header and the rows
    """
    header = ["arm", "runs", f"{longer} gain, points", "<=N change, points", "KL, nats per episode"]
    comparable = _comparable(results)
    if comparable:
        header += [f"{FOCUS} - arm, points", f"P({FOCUS} > arm)"]
    rows = []
    for arm, runs in results.items():
        if not runs:
            continue
        gain, retention, kl = _estimates(results, arm)
        row = [arm, str(len(runs)), f"{gain:+.1f}", f"{retention:+.1f}", f"{kl:.2f}"]
        if arm in comparable:
            comparison = compare(results, arm)
            row += [f"{comparison.difference:+.1f}", f"{comparison.improvement:.2f}"]
        elif comparable:
            row += ["", ""]
        rows.append(row)
    return header, rows


def _comparable(results: Results) -> list[str]:
    """The arms that share seeds with the focus arm."""
    return [arm for arm in results if FOCUS in results and arm != FOCUS and paired_seeds(results, FOCUS, arm)]


def caption(results: Results) -> str:
    """How to read :func:`arm_table`."""
    text = "Gain and change: interquartile mean over runs; KL: mean; 95% bootstrap intervals."
    if not _comparable(results):
        return text
    return (
        f"{text} The comparisons with {FOCUS} use the seeds that both arms have: mean paired difference of the gain, and "
        "probability of improvement."
    )


def rich_table(title: str, results: Results, longer: str) -> Table:
    """:func:`arm_table` for the terminal."""
    header, rows = arm_table(results, longer)
    table = Table(title=title, caption=caption(results))
    for name in header:
        table.add_column(name, justify="left" if name == "arm" else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def markdown_table(results: Results, longer: str) -> str:
    """:func:`arm_table` and its caption in Markdown."""
    header, rows = arm_table(results, longer)
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + f"\n{caption(results)}\n"


def write_arms(path: Path, results: Results) -> None:
    """:func:`arm_table` as CSV: one row an arm that has runs; the ends of an interval have columns of their own."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        measures = ("gain", "retention", "kl")
        writer.writerow(["arm", "runs", *(f"{name}{end}" for name in measures for end in ("", "_low", "_high"))])
        for arm, runs in results.items():
            if runs:
                numbers = [number for e in _estimates(results, arm) for number in (e.value, e.low, e.high)]
                writer.writerow([arm, len(runs), *numbers])


def draw(results: Results, longer: str, folder: Path) -> None:
    """``gain_against_retention.png`` and ``gain_against_kl.png``: one marker an arm, with 95% intervals both ways.

    :param results: by arm and seed
    :param longer: name of the longer problems, such as ``"N+1"``
    :param folder: where to write them
    """
    pictures = {
        "gain_against_retention.png": (1, "change of accuracy on up to N digits (percentage points)", "linear"),
        "gain_against_kl.png": (
            2,
            "KL to the reference at the end (nats per episode; linear to 1, then logarithmic)",
            "symlog",
        ),
    }
    estimates = {arm: _estimates(results, arm) for arm, runs in results.items() if runs}
    for name, (column, label, scale) in pictures.items():
        figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
        for index, arm in enumerate(results):
            if arm in estimates:
                colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
                _draw_arm(axes, estimates[arm][column], estimates[arm][0], arm, colour, marker)
        axes.set(xscale=scale, xlabel=label, ylabel=f"gain of accuracy on {longer} digits (percentage points)")
        axes.grid(alpha=0.3)
        figure.legend(loc="outside right upper", fontsize=9)
        figure.savefig(folder / name, dpi=150)
        plt.close(figure)


def _estimates(results: Results, arm: str) -> tuple[Estimate, Estimate, Estimate]:
    """Gain, retention and KL of an arm that has runs."""
    runs = results[arm].values()
    return (
        interquartile_mean([run.gain for run in runs]),
        interquartile_mean([run.retention for run in runs]),
        mean([run.kl for run in runs]),
    )


def _draw_arm(axes: Axes, x: Estimate, y: Estimate, arm: str, colour: str, marker: str) -> None:
    # A percentile interval need not hold its statistic, and matplotlib refuses negative lengths
    errors = [[[max(e.value - e.low, 0)], [max(e.high - e.value, 0)]] for e in (x, y)]
    axes.errorbar(
        x.value,
        y.value,
        xerr=errors[0],
        yerr=errors[1],
        fmt=marker,
        color=colour,
        markeredgecolor="black",
        markersize=9,
        capsize=3,
        label=arm,
    )


def provenance(folders: Sequence[Path]) -> Mapping[str, str]:
    """Versions and hardware that the runs themselves recorded; several values where they differ."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for name, value in json.loads((folder / "results.json").read_text())["versions"].items():
            found.setdefault(name, set()).add(value)
    return {name: ", ".join(sorted(values)) for name, values in found.items()}


def made_by(command: str, results: Results, folders: Sequence[Path]) -> str:
    """A paragraph that says what the results were made by, and on what.

    :param command: the command line
    :param results: by arm and seed
    :param folders: the runs' folders
    """
    seeds = sorted({seed for runs in results.values() for seed in runs})
    hours = sum(run.seconds for runs in results.values() for run in runs.values()) / 3600
    versions = ", ".join(f"{name} {value}" for name, value in provenance(folders).items())
    made = f"{len(folders)} runs, seeds {', '.join(map(str, seeds))}, {hours:.1f} hours of training"
    return f"Made by `{command}`: {made}, each run on:\n{versions}."


def readme(
    experiment: str, command: str, arms: Mapping[str, Mapping[str, Any]], results: Results, folders: Sequence[Path], answer: str
) -> str:
    """What was done, and what came out.

    :param experiment: its name
    :param command: what made it
    :param arms: the arguments in which each arm differs
    :param results: by arm and seed
    :param folders: the runs' folders
    :param answer: the verdict
    """
    settings = "".join(
        f"| {arm} | {', '.join(f'`{name}={value}`' for name, value in fields.items())} |\n" for arm, fields in arms.items()
    )
    return f"""# {experiment}

{made_by(command, results, folders)}

The decision rule was written before the runs: `docs/{experiment.replace("-", "_")}.md`.

**{answer}**

The arms differ in these arguments of `python -m train.ppo` alone; runs of one seed share problems and initial weights:

| arm | arguments |
|---|---|
{settings}
- `table.md`: the arms, with intervals
- `runs.csv`: one row a run; accuracies 0 to 1, `gain` and `retention` in percentage points, `kl` in nats per episode

![Gain against retention](gain_against_retention.png)

![Gain against KL spent](gain_against_kl.png)
"""
