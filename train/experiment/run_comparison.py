"""Runs side by side: how they differ, their results, and their curves."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console

from train.experiment.frames import Runs, trained_kind
from train.measure.accuracy import Accuracy
from train.measure.curves import draw
from train.measure.episodes import SUCCESS
from train.measure.learning_speed import THRESHOLD, median_episodes
from train.measure.statistics import FEWEST_RUNS, Estimate, interquartile_mean, mean, paired_p, t_mean
from train.measure.tables import rich_table

CAPTION = (
    "Of several runs: interquartile mean, of the KL the mean, with 95% bootstrap intervals over runs, which are too narrow for "
    f"few; none of fewer than {FEWEST_RUNS}. Of one run: accuracy with its 95% Wilson interval over problems."
)
CONFOUNDED = {
    "pretrained": "These runs do not start from the same model (pretrained)",
    "env": "These runs are not of the same task (env)",
}
"""What to say where runs differ in such an argument."""
TASK = ("env", "pretrained_digits", "extra_digits")
"""Arguments that say which problems a gain is measured on."""
CHANGE = "Gain and change: accuracy after training minus before."
PAIRED = (
    "The last columns: mean difference of the gain over the seeds that a configuration shares with the first, with its "
    "bootstrap interval and its t interval, and p of the sign-flip test."
)
SPEED = (
    "Area: mean sampled success over the episodes of a run, mean over runs with its 95% t interval. Episodes: until sampled "
    f"success reached {THRESHOLD:.0%}, median (how many did)."
)


def compare_runs(found: Runs, output: Path, console: Console) -> None:
    """Print tables of the configurations, each with its seeds together, and draw their curves.

    :param found: the runs; those that are not finished are only drawn
    :param output: the picture
    :param console: for the tables
    :raises ValueError: if a run has not logged what could be drawn
    """
    draw(*found, output)
    words = {word for configuration in found.runs.configuration for word in configuration.split(" ")}
    for name, said in CONFOUNDED.items():
        if any(word.startswith(f"{name}=") for word in words):
            console.print(f"Warning: {said}, so what differs need not be due to their other arguments.", highlight=False)
    groups = {
        _lines(str(name), group): group[group.finished] for name, group in found.runs.groupby("configuration", sort=False)
    }
    kinds = {trained_kind(run) for _, run in found.runs.iterrows()}
    kind = kinds.pop() if len(kinds) == 1 else "longer"
    measured_on = " or ".join(sorted({run.eval_split for _, run in found.runs.iterrows() if trained_kind(run) != SUCCESS}))
    problems = f" Accuracies are on {measured_on} problems." if measured_on else ""
    header = ["configuration", f"{kind} after, %", "<=N after, %", "KL, nats per episode"]
    _print(console, "After training", header, [[name, *after(group)] for name, group in groups.items()], CAPTION + problems)
    first = next(iter(groups.values()))
    header = [
        "configuration",
        f"{kind} gain, points",
        "<=N change, points",
        "gain minus the first's, points",
        "t interval",
        "p",
    ]
    rows = [[name, *changes(group, first)] for name, group in groups.items()]
    is_paired = any(difference for *_, difference, _, _ in rows)
    _print(console, "Changes", header, rows, f"{CHANGE} {PAIRED}" if is_paired else CHANGE)
    header = ["configuration", "area, %", "episodes"]
    _print(console, "Speed of learning", header, [[name, *speed(group)] for name, group in groups.items()], SPEED)
    console.print(f"Wrote {output}", highlight=False)


def _print(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> None:
    """A table without its empty columns; none if only the first column is left."""
    filled = [index for index in range(len(header)) if any(row[index] for row in rows)]
    if len(filled) > 1:
        cells = [[row[index] for index in filled] for row in rows]
        console.print(rich_table(title, [header[index] for index in filled], cells, caption))


def _lines(configuration: str, runs: pd.DataFrame) -> str:
    """Arguments, one below the other, and how many runs there are."""
    finished = int(runs.finished.sum())
    count = f"{len(runs)} run{'s' if len(runs) > 1 else ''}"
    unfinished = f", {len(runs) - finished} not finished" if finished < len(runs) else ""
    return "\n".join([*configuration.split(" "), count + unfinished])


def after(runs: pd.DataFrame) -> list[str]:
    """Accuracies in per cent on longer numbers and on up to N digits, and the KL.

    :param runs: the finished ones of a configuration
    """
    cells = []
    for kind in (trained_kind(runs.iloc[0]), "<=N") if len(runs) else ("", ""):
        values = runs.get(f"after_{kind}", pd.Series(dtype=float)).dropna()
        if len(values) == 1:
            total = int(runs.eval_problems.iloc[0])
            accuracy = Accuracy(kind, round(values.iloc[0] * total), total)
            cells.append(f"{Estimate(100 * accuracy.value, *(100 * end for end in accuracy.interval)):.1f}")
        else:
            cells.append(f"{interquartile_mean(100 * values):.1f}" if len(values) else "")
    kl = runs.kl.dropna()
    return [*cells, f"{mean(kl):.2f}" if len(kl) else ""]


def changes(runs: pd.DataFrame, first: pd.DataFrame) -> list[str]:
    """Gain and retention in percentage points, and the paired difference of the gain from the first configuration, if that is
    of the same task: with a bootstrap interval, with a t interval, and its p.

    :param runs: the finished ones of a configuration
    :param first: those of the first configuration
    """
    cells = [
        f"{interquartile_mean(values):+.1f}" if len(values := runs[name].dropna()) else "" for name in ("gain", "retention")
    ]
    ours, theirs = (each.dropna(subset="gain").drop_duplicates("seed").set_index("seed").gain for each in (runs, first))
    seeds = ours.index.intersection(theirs.index)
    if not len(seeds) or runs is first or _task(runs) != _task(first):
        return [*cells, "", "", ""]
    difference = ours[seeds] - theirs[seeds]
    p = "" if math.isnan(found := paired_p(difference)) else f"{found:.3f}"
    return [*cells, f"{mean(difference):+.1f}", t_mean(difference).interval("+.1f"), p]


def _task(runs: pd.DataFrame) -> list[str]:
    return [str(runs.iloc[0].get(name)) for name in TASK]


def speed(runs: pd.DataFrame) -> list[str]:
    """Area under the curve of success in per cent, and episodes to the threshold.

    :param runs: the finished ones of a configuration
    """
    known = runs.dropna(subset="success_area")
    if not len(known):
        return ["", ""]
    return [f"{t_mean(100 * known.success_area):.1f}", median_episodes(known.episodes_to_threshold)]
