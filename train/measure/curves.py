"""Learning curves of fine-tuning runs, from what they logged."""

import fnmatch
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from train.measure.learning_speed import SAMPLED
from train.measure.pictures import COLOURS, STYLES
from train.run.log import Floats

SHORTER, LONGER, REWARD = "eval/accuracy_<=N", "eval/accuracy_N+*", "rollout/ep_rew_mean"
PANELS = {
    LONGER: "accuracy on longer numbers, greedy",
    SHORTER: "accuracy on up to N digits, greedy",
    SAMPLED: "success in training, sampled",
    REWARD: "reward of an episode",
    "objective/kl": "KL to the reference, nats per episode",
}
"""What configurations are compared by: patterns of columns, and what they mean."""
DASHES = ("-", "--", ":")
SHORT = 5
"""Curves of fewer points have markers, since a single point would be no line."""
LEGEND_WIDTH = 110
"""Characters of a legend's line that fit into the width of a figure."""

Curve = tuple[Floats, Floats]
"""Episodes and values, ``(n,)`` each."""
Groups = Mapping[str, Sequence[pd.DataFrame]]
"""The curves of runs, one frame each, by configuration."""


def draw(runs: pd.DataFrame, curves: pd.DataFrame, output: Path) -> None:
    """Draw runs that are alike but for their seeds as accuracies and critical tokens, others as one colour per configuration.

    Every run is a thin line. A mean is drawn thick, over the episodes for which all runs of its configuration have data:
    nothing is drawn beyond what was measured.

    :param runs: :attr:`train.experiment.frames.Runs.runs`
    :param curves: :attr:`train.experiment.frames.Runs.curves`
    :param output: where to write the picture
    :raises ValueError: if a run has not logged what could be drawn
    """
    of_run = {run: of_one.dropna(axis="columns", how="all") for run, of_one in curves.groupby("run")}
    for run in runs.index:
        if run not in of_run:
            raise ValueError(
                f"runs must have logged something, but {run!r} has not yet: wait for its first rollout, or leave it out"
            )
        if not any(fnmatch.filter(map(str, of_run[run]), pattern) for pattern in PANELS):
            raise ValueError(
                f"runs must have logged one of {', '.join(PANELS)}, but {run!r} has not: leave it out, and draw what it logged "
                "from load_runs(...).curves"
            )
    groups = {str(name): [of_run[run] for run in group.index] for name, group in runs.groupby("configuration", sort=False)}
    commas = [name for name in curves.columns if name.startswith("critical/") and name.endswith("_comma")]
    figure = draw_configurations(groups) if len(groups) > 1 or not commas else draw_seeds(next(iter(groups.values())), commas)
    figure.savefig(output, dpi=150)
    plt.close(figure)


def draw_seeds(runs: Sequence[pd.DataFrame], commas: Sequence[str]) -> Figure:
    """Runs of one configuration: accuracies, and the probability of the right comma where the paper's tokens are critical."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    greedy = [name for pattern in (SHORTER, LONGER) for name in fnmatch.filter(map(str, runs[0]), pattern)]
    longer = greedy[-1].removeprefix("eval/accuracy_") if greedy else "longer"
    labels = {
        name: f"{'up to N' if name == SHORTER else name.removeprefix('eval/accuracy_')} digits, greedy" for name in greedy
    }
    labels[SAMPLED] = f"{longer} digits, sampled (training)"
    for (name, label), colour, dash in zip(labels.items(), COLOURS, DASHES, strict=False):
        draw_runs(left, runs, name, color=colour, linestyle=dash, label=label)
    left.set(ylabel="accuracy", ylim=(0, 1), title="Accuracy")
    for index, name in enumerate(commas):
        _, line, operand, _ = name.replace("/", "_").split("_")
        label = f"line {line[-1]}, {'first' if operand[-1] == '1' else 'second'} operand"
        dash = DASHES[0] if operand[-1] == "1" else DASHES[1]
        draw_runs(right, runs, name, color=COLOURS[index // 2], linestyle=dash, label=label)
    right.set(ylabel="probability", ylim=(0, 1), title="The right comma at the critical positions")
    for axes in (left, right):
        axes.set_xlabel("episodes")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def draw_configurations(groups: Groups) -> Figure:
    """Several configurations: one panel per quantity of :data:`PANELS`, one colour and dash per configuration."""
    columns = {name for runs in groups.values() for run in runs for name in run.columns}
    panels = {title: sorted(names) for pattern, title in PANELS.items() if (names := fnmatch.filter(columns, pattern))}
    if PANELS[SAMPLED] in panels:
        panels.pop(PANELS[REWARD], None)  # which says the same
    labels = {
        configuration: textwrap.fill(f"{configuration} ({len(runs)} run{'s' if len(runs) > 1 else ''})", LEGEND_WIDTH)
        for configuration, runs in groups.items()
    }
    rows, lines = -(-len(panels) // 2), "\n".join(labels.values()).count("\n") + 1
    figure = plt.figure(figsize=(10, 3.2 * rows + 0.25 * lines), layout="constrained")
    for place, (title, names) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(rows, min(len(panels), 2), place)
        for index, (configuration, runs) in enumerate(groups.items()):
            colour, dash = STYLES[index % len(STYLES)][0], STYLES[(index + index // len(STYLES)) % len(STYLES)][1]
            for name in names:
                draw_runs(axes, runs, name, color=colour, linestyle=dash, label=labels[configuration])
        axes.set(xlabel="episodes", title=title)
        axes.grid(alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", fontsize=8)
    return figure


def draw_runs(axes: Axes, runs: Iterable[pd.DataFrame], column: str, **style: Any) -> None:
    """Every run as a thin line, their mean as a thick one.

    :param axes: to draw into
    :param runs: those without the column are left out
    :param column: what to draw over episodes
    :param style: of the lines, and the label of the mean
    """
    points = [run[["episodes", column]].dropna().to_numpy(np.float64).T for run in runs if column in run]
    found: list[Curve] = [(episodes, values) for episodes, values in points if len(episodes)]
    if not found:
        return
    if len(found) > 1:
        for episodes, values in found:
            axes.plot(episodes, values, **{**style, "label": None}, marker=_marker(values), linewidth=0.7, alpha=0.4)
    episodes, values = mean_curve(found)
    axes.plot(episodes, values, **style, marker=_marker(values), linewidth=2)


def _marker(values: Floats) -> str:
    return "o" if len(values) < SHORT else ""


def mean_curve(found: Sequence[Curve]) -> Curve:
    """The mean over runs, at the episodes for which all of them have data; between two of its points a run is interpolated.

    :param found: of each run, at least one
    """
    grid = np.unique(np.concatenate([episodes for episodes, _ in found]))
    first, last = max(episodes[0] for episodes, _ in found), min(episodes[-1] for episodes, _ in found)
    grid = grid[(grid >= first) & (grid <= last)]
    return grid, np.mean([np.interp(grid, episodes, values) for episodes, values in found], axis=0)
