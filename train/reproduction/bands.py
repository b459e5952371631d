"""Curves of runs with bands."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from train.measure.statistics import interquartile_mean

matplotlib.use("Agg")

STYLES = (
    ("#0072B2", "-"),
    ("#D55E00", "--"),
    ("#009E73", "-."),
    ("#CC79A7", ":"),
    ("#E69F00", (0, (5, 1))),
    ("#56B4E9", (0, (1, 1))),
)
"""Colour and dash of the curves of a picture, one an arm: Okabe and Ito's colours, and different dashes for grey paper."""

EPISODES = "time/episodes"
OF_UPDATES = ("objective/", "train/")
"""SB3 logs what an update recorded with the rollout after it."""
Floats = npt.NDArray[np.float64]


def read_curve(run: Path, column: str) -> tuple[Floats, Floats]:
    """Episodes and values of what a run logged.

    :param run: its folder
    :param column: of ``progress.csv``
    :raises ValueError: if it was never logged
    """
    with (run / "progress.csv").open(newline="") as file:
        logged = list(csv.DictReader(file))
    of_updates = column.startswith(OF_UPDATES)
    clocks = [None, *logged[:-1]] if of_updates else logged
    rows = [
        (float(clock[EPISODES]), float(row[column]))
        for clock, row in zip(clocks, logged, strict=True)
        if clock and clock[EPISODES] and row.get(column)
    ]
    if not rows:
        raise ValueError(f"column must be one that the run logged, but {column!r} is not in {str(run)!r}: check its name")
    episodes, values = zip(*rows, strict=True)
    return np.array(episodes), np.array(values)


def band(runs: Sequence[Path], column: str) -> dict[str, Floats]:
    """Interquartile mean over runs and its 95% bootstrap interval, as far as all runs go.

    :param runs: of one arm
    :param column: of ``progress.csv``
    :return: ``episodes``, ``value``, ``low`` and ``high``, ``(n_points,)`` each; the ends are NaN for a single run
    """
    curves = [read_curve(run, column) for run in runs]
    length = min(len(values) for _, values in curves)
    estimates = [interquartile_mean([values[i] for _, values in curves]) for i in range(length)]
    found = {name: np.array([getattr(estimate, name) for estimate in estimates]) for name in ("value", "low", "high")}
    return {"episodes": curves[0][0][:length], **found}


def draw_bands(axes: Axes, arms: Mapping[str, Sequence[Path]], column: str) -> list[dict[str, object]]:
    """One curve an arm, with its band.

    :return: the numbers, one row an arm and point
    """
    rows: list[dict[str, object]] = []
    for (arm, runs), (colour, dash) in zip(arms.items(), STYLES, strict=False):
        found = band(runs, column)
        axes.plot(found["episodes"], found["value"], color=colour, linestyle=dash, linewidth=1.8, label=arm)
        axes.fill_between(found["episodes"], found["low"], found["high"], color=colour, alpha=0.15, linewidth=0)
        for values in zip(*found.values(), strict=True):
            rows.append({"arm": arm, "column": column, "runs": len(runs), **dict(zip(found, values, strict=True))})
    axes.grid(alpha=0.3)
    return rows
