"""Curves of runs with bands."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from train.measure.pictures import STYLES
from train.measure.statistics import interquartile_mean
from train.run.log import Floats
from train.run.run import FinishedRun

matplotlib.use("Agg")


def band(runs: Sequence[FinishedRun], column: str) -> dict[str, Floats]:
    """Interquartile mean over runs and its 95% bootstrap interval, as far as all runs go.

    :param runs: of one arm
    :param column: of ``progress.csv``
    :return: ``episodes``, ``value``, ``low`` and ``high``, ``(n_points,)`` each; the ends are NaN for too few runs
    """
    curves = [run.progress.curve(column) for run in runs]
    length = min(len(values) for _, values in curves)
    estimates = [interquartile_mean([values[i] for _, values in curves]) for i in range(length)]
    found = {name: np.array([getattr(estimate, name) for estimate in estimates]) for name in ("value", "low", "high")}
    return {"episodes": curves[0][0][:length], **found}


def draw_bands(axes: Axes, arms: Mapping[str, Sequence[FinishedRun]], column: str) -> list[dict[str, object]]:
    """One curve per arm, with its band.

    :return: the numbers, one row per arm and point
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
