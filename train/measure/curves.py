"""Learning curves of fine-tuning runs, from what they logged."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from train.measure.pictures import COLOURS
from train.run.log import Floats, Progress

CURVES = {"eval/accuracy_<=N": "up to N digits, greedy", "eval/accuracy_N+1": "N+1 digits, greedy"}
SAMPLED = "rollout/success_rate"
DASHES = ("-", "--", ":")


def draw(runs: Sequence[Path], output: Path) -> None:
    """Accuracy over episodes, and the probability of the right token at the critical positions; one thin line per run.

    :param runs: run folders
    :param output: where to write the picture
    :raises ValueError: if there is no run, or one has not logged anything
    """
    if not runs:
        raise ValueError("runs must hold at least one run folder, but there is none: name the folders of train.ppo")
    logged = [Progress(run) for run in runs]
    if empty := [run.folder for run in logged if not run.rows]:
        raise ValueError(f"runs must have logged something, but {str(empty[0])!r} has not yet: wait for its first rollout")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")

    def curve(axes: Axes, column: str, label: str, colour: str, style: str) -> None:
        _draw_curve(axes, [run.curve(column) for run in logged if column in run.columns], label, colour, style)

    for (column, label), colour, style in zip(CURVES.items(), COLOURS, DASHES, strict=False):
        curve(left, column, label, colour, style)
    curve(left, SAMPLED, "N+1 digits, sampled (training)", COLOURS[2], DASHES[2])
    left.set(xlabel="episodes", ylabel="accuracy", ylim=(0, 1), title="Accuracy")
    commas = {name for run in logged for name in run.columns if name.startswith("critical/") and name.endswith("_comma")}
    for index, name in enumerate(sorted(commas)):
        _, line, operand, _ = name.replace("/", "_").split("_")
        label = f"line {line[-1]}, {'first' if operand[-1] == '1' else 'second'} operand"
        curve(right, name, label, COLOURS[index // 2], DASHES[0] if operand[-1] == "1" else DASHES[1])
    right.set(xlabel="episodes", ylabel="probability", ylim=(0, 1), title="The right comma at the critical positions")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(output, dpi=150)
    plt.close(figure)


def _draw_curve(axes: Axes, found: Sequence[tuple[Floats, Floats]], label: str, colour: str, style: str) -> None:
    """Every run as a thin line, their mean as a thick one."""
    if not found:
        return
    for episodes, values in found:
        axes.plot(episodes, values, style, color=colour, linewidth=0.7, alpha=0.4)
    grid = max((episodes for episodes, _ in found), key=len)
    mean = np.mean([np.interp(grid, episodes, values) for episodes, values in found], axis=0)
    axes.plot(grid, mean, style, color=colour, linewidth=2, label=label)
