"""Draw fine-tuning runs from their TensorBoard events: ``python -m train.plot RUN [RUN ...]``."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import tyro
from matplotlib.axes import Axes
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from train.run.process import run_command

CURVES = {"eval/accuracy_<=N": "up to N digits, greedy", "eval/accuracy_N+1": "N+1 digits, greedy"}
SAMPLED = "rollout/success_rate"
EPISODES = "time/episodes"
# Colour-blind safe (Okabe and Ito), and of different lightness
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
STYLES = ("-", "--", ":")


@dataclass(frozen=True)
class PlotArgs:
    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders of train.ppo: the same settings, different seeds."""
    output: Path = Path("learning_curves.png")
    """The picture."""


def read_scalars(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """All scalars of a run over episodes.

    :param folder: holds TensorBoard events
    :return: episodes and values by tag
    :raises ValueError: if there are no events that :class:`agents.PrioritizedKLPPO` wrote
    """
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    tags = events.Reload().Tags()["scalars"] if folder.is_dir() else []
    if EPISODES not in tags:
        raise ValueError(f"runs must hold TensorBoard events of train.ppo, but {str(folder)!r} does not: check the path")
    clock = events.Scalars(EPISODES)
    steps, episodes = [event.step for event in clock], [event.value for event in clock]
    return {
        tag: (
            np.interp([event.step for event in events.Scalars(tag)], steps, episodes),
            np.array([event.value for event in events.Scalars(tag)]),
        )
        for tag in tags
    }


def draw(runs: Sequence[Path], output: Path) -> None:
    """Accuracy over episodes, and the probability of the right token at the critical positions; one thin line a run.

    :param runs: run folders
    :param output: where to write the picture
    :raises ValueError: if there is no run, or no events in one
    """
    if not runs:
        raise ValueError("runs must hold at least one run folder, but there is none: name the folders of train.ppo")
    scalars = [read_scalars(run) for run in runs]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for (tag, label), colour, style in zip(CURVES.items(), COLOURS, STYLES, strict=False):
        _draw_curve(left, (run[tag] for run in scalars if tag in run), label, colour, style)
    _draw_curve(left, (run[SAMPLED] for run in scalars), "N+1 digits, sampled (training)", COLOURS[2], STYLES[2])
    left.set(xlabel="episodes", ylabel="accuracy", ylim=(0, 1), title="Accuracy")
    commas = sorted({tag for run in scalars for tag in run if tag.startswith("critical/") and tag.endswith("_comma")})
    for index, tag in enumerate(commas):
        _, line, operand, _ = tag.replace("/", "_").split("_")
        label = f"line {line[-1]}, {'first' if operand[-1] == '1' else 'second'} operand"
        style = STYLES[0] if operand[-1] == "1" else STYLES[1]
        _draw_curve(right, (run[tag] for run in scalars), label, COLOURS[index // 2], style)
    right.set(xlabel="episodes", ylabel="probability", ylim=(0, 1), title="The right comma at the critical positions")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(output, dpi=150)
    plt.close(figure)


def _draw_curve(axes: Axes, curves: Iterable[tuple[np.ndarray, np.ndarray]], label: str, colour: str, style: str) -> None:
    """Every run as a thin line, their mean as a thick one."""
    found = list(curves)
    if not found:
        return
    for episodes, values in found:
        axes.plot(episodes, values, style, color=colour, linewidth=0.7, alpha=0.4)
    grid = max((episodes for episodes, _ in found), key=len)
    mean = np.mean([np.interp(grid, episodes, values) for episodes, values in found], axis=0)
    axes.plot(grid, mean, style, color=colour, linewidth=2, label=label)


def main() -> None:
    args = tyro.cli(PlotArgs, description="Draw accuracy and critical tokens over episodes, from TensorBoard events.")
    draw(args.runs, args.output)
    print(f"Wrote {args.output}")


if __name__ == "__main__":
    run_command(main)
