"""What the stages of the study found together: paired differences with their power, the figure, and forgetting against KL."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from rich.console import Console
from scipy import stats

from train.experiment.arguments import Method
from train.experiment.results import Results, paired_seeds
from train.experiment.store import Store
from train.experiment.study import DOMAIN, SEEDS, TUNED, arms_of, chosen, finished, read, trials
from train.finetuning.arguments import PPOArgs
from train.measure.learning_speed import SAMPLED
from train.measure.pictures import STYLES
from train.measure.statistics import Estimate, detectable, paired_p, t_mean
from train.measure.tables import markdown_table, rich_table
from train.run.files import write_rows
from train.run.run import FinishedRun

MEASURES = {"success_area": ("area", 100.0), "gain": ("gain", 1.0), "retention": ("retention", 1.0), "kl": ("KL", 1.0)}
"""Of a run: how the table calls them, and what makes them percentage points."""
PREFERENCE: tuple[Method, ...] = ("prioritized", "calibrated", "shuffled", "uniform", "no KL")
"""Which of two methods is subtracted from: the one further left."""
HOW_TO_READ = (
    "Differences are paired over seeds, in percentage points, of the KL in nats per episode. Area: under the curve of sampled "
    "success over episodes. p is that of the sign-flip test, not corrected for the number of rows. *Detectable* is the true "
    "difference that the t test would have found four times in five with such a spread: a difference that is not shown may "
    "still be as large as that."
)


@dataclass(frozen=True)
class Difference:
    """Two arms on the seeds that both have, in percentage points, of the KL in nats."""

    first: str
    second: str
    measure: str
    seeds: int
    estimate: Estimate
    """Mean of first minus second, with its t interval."""
    p: float
    """Of the sign-flip test."""
    detectable: float
    """The true difference that would have been found four times in five."""

    @classmethod
    def of(cls, results: Results, first: str, second: str, measure: str) -> "Difference":
        """:param measure: a key of :data:`MEASURES`; the arms must share a seed"""
        seeds, (name, factor) = paired_seeds(results, first, second), MEASURES[measure]
        one, other = (np.array([getattr(results[arm][seed], measure) for seed in seeds]) for arm in (first, second))
        found = factor * (one - other)
        return cls(first, second, name, len(seeds), t_mean(found), paired_p(found), detectable(found))

    def numbers(self) -> dict[str, Any]:
        """The same as numbers, the ends of the interval by themselves."""
        interval = {"mean": self.estimate.value, "low": self.estimate.low, "high": self.estimate.high}
        names = {"first": self.first, "second": self.second, "measure": self.measure, "seeds": self.seeds}
        return {**names, **interval, "p": self.p, "detectable": self.detectable}

    def cells(self) -> list[str]:
        """A row of the table."""
        p = "" if math.isnan(self.p) else f"{self.p:.4f}" if self.p >= 0.0001 else "<0.0001"
        power = "" if math.isnan(self.detectable) else f"{self.detectable:.1f}"
        return [f"{self.first} - {self.second}", self.measure, str(self.seeds), f"{self.estimate:+.1f}", p, power]


HEADER = ["difference", "of", "seeds", "mean [95% t interval]", "p", "detectable"]
"""Of :meth:`Difference.cells`."""


def differences(results: Results, pairs: Sequence[tuple[str, str]]) -> list[Difference]:
    """All measures of all pairs that share a seed."""
    return [
        Difference.of(results, first, second, measure)
        for first, second in pairs
        if paired_seeds(results, first, second)
        for measure in MEASURES
    ]


def draw_study(runs: Mapping[str, Sequence[FinishedRun]], found: Sequence[Difference], output: Path) -> None:
    """Left, sampled success over episodes, mean over runs with its 95% t interval; right, the differences of the area.

    :param runs: of the arms of the left panel
    :param found: for the right panel
    :param output: the picture
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=(1.25, 1), layout="constrained")
    for (arm, of_arm), (colour, dash) in zip(runs.items(), STYLES, strict=False):
        _draw_success(left, arm, of_arm, colour, dash)
    left.set(xlabel="episodes", ylabel="sampled success in training", ylim=(0, None))
    left.legend(fontsize=9)
    areas = [each for each in found if each.measure == MEASURES["success_area"][0]][::-1]
    for row, each in enumerate(areas):
        value, low, high = each.estimate.value, each.estimate.low, each.estimate.high
        right.plot([low, high], [row, row], color="black")
        right.plot(value, row, "o", color="black")
        right.plot([-each.detectable, each.detectable], [row, row], "|", color="0.5", markersize=12)
    right.axvline(0, color="0.7", linewidth=1)
    right.set_yticks(range(len(areas)), [f"{each.first}\nminus {each.second}" for each in areas], fontsize=9)
    right.set(
        xlabel="difference of the area, percentage points\n(grey bars: detectable four times in five)",
        ylim=(-0.6, len(areas) - 0.4),
    )
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(output, dpi=150)
    plt.close(figure)


def _draw_success(axes: Axes, arm: str, runs: Sequence[FinishedRun], colour: str, dash: object) -> None:
    curves = [run.progress.curve(SAMPLED) for run in runs]
    length = min(len(success) for _, success in curves)
    episodes, success = curves[0][0][:length], np.array([values[:length] for _, values in curves])  # (runs, rollouts)
    estimates = [t_mean(values) for values in success.T]
    axes.plot(episodes, [each.value for each in estimates], color=colour, linestyle=dash, label=f"{arm} ({len(runs)})")
    axes.fill_between(episodes, [each.low for each in estimates], [each.high for each in estimates], color=colour, alpha=0.15)


def forgetting(results: Results, output: Path) -> list[list[str]]:
    """Does the KL, of either direction, go with forgetting over all runs? Draws both, and gives their rank correlations.

    :return: rows: the quantity, runs, Spearman's rho with retention, p
    """
    runs = [run for found in results.values() for run in found.values()]
    retention = np.array([run.retention for run in runs])
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True, layout="constrained")
    rows = []
    for axes, (measure, label) in zip(panels, (("forward_kl", "KL(pi_ref || pi)"), ("kl", "KL(pi || pi_ref)")), strict=True):
        values = np.array([getattr(run, measure) for run in runs])
        rho = stats.spearmanr(values, retention)
        rows.append([label, str(len(runs)), f"{rho.statistic:+.2f}", f"{rho.pvalue:.2g}"])
        axes.plot(values, retention, ".", color=STYLES[0][0], alpha=0.6)
        axes.set(xlabel=f"{label}, nats per episode", xscale="log", title=f"Spearman's rho {rho.statistic:+.2f}")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("change on up to N digits, points")
    figure.savefig(output, dpi=150)
    plt.close(figure)
    return rows


def report_study(base: PPOArgs, methods: Sequence[Method], store: Store, command: str, output: Path, console: Console) -> None:
    """Write ``README.md``, ``differences.csv`` and two pictures of the stages that are finished; the test must be.

    :param base: what all runs share
    :param methods: of the test
    :param store: where the runs are
    :param command: that makes the page
    :raises ValueError: if a run of the test, or of a stage before it, is not there
    """
    arms = {"test": arms_of("test", base, methods, store)}
    results = {"test": read(arms["test"], SEEDS["test"], store)}
    for stage in ("matched", "front"):
        with suppress(ValueError):
            arms[stage] = arms_of(stage, base, methods, store)
            results[stage] = read(arms[stage], SEEDS[stage], store)
    pairs: dict[str, Sequence[tuple[str, str]]] = {"test": list(combinations(sorted(methods, key=PREFERENCE.index), 2))}
    pairs["matched"] = [("prioritized", arm) for arm in arms.get("matched", {}) if arm != "prioritized"]
    found = {stage: differences(results[stage], pairs[stage]) for stage in ("test", "matched") if stage in results}
    output.mkdir(parents=True, exist_ok=True)
    rows = [{"stage": stage, **each.numbers()} for stage, those in found.items() for each in those]
    write_rows(output / "differences.csv", rows)
    runs: dict[str, list[FinishedRun]] = {arm: [] for arm in arms["test"]}
    for (arm, _), run in finished(arms["test"], SEEDS["test"], store).items():
        runs[arm].append(run)
    draw_study(runs, found["test"], output / "study.png")
    every = {f"{stage} {arm}": of_arm for stage, of_stage in results.items() for arm, of_arm in of_stage.items()}
    tables = {
        "What was chosen, and how it did in tuning": markdown_table(*choices(base, methods, store)),
        **{
            f"Paired differences, {stage}": markdown_table(HEADER, [each.cells() for each in those])
            for stage, those in found.items()
        },
        "Forgetting and KL, over all runs of these stages": markdown_table(
            ["KL", "runs", "Spearman's rho with retention", "p"], forgetting(every, output / "forgetting.png")
        ),
    }
    page = [
        "# The study: tables and figures",
        f"Made by `{command}`. What is asked, and what was fixed beforehand: `docs/study.md`.",
    ]
    page += ["![Sampled success, and differences of the area](study.png)", HOW_TO_READ]
    page += [f"## {title}\n\n{table.strip()}" for title, table in tables.items()]
    page += ["![Retention against both directions of the KL](forgetting.png)"]
    (output / "README.md").write_text("\n\n".join(page) + "\n")
    for stage, those in found.items():
        console.print(rich_table(f"Paired differences, {stage}", HEADER, [each.cells() for each in those], left=2))
    console.print(f"Wrote {output}")


def choices(base: PPOArgs, methods: Sequence[Method], store: Store) -> tuple[list[str], list[list[str]]]:
    """What stands for each method, with its means in tuning; a value at the edge of its twelve is marked."""
    rows = []
    for method in methods:
        args, runs = chosen(base, method, store)
        tried = trials(base, method)
        cells = []
        for name in DOMAIN:
            value = getattr(args, name)
            edge = value in (min(values := [getattr(each, name) for each in tried]), max(values))
            cells.append(f"{value:g}{' (edge)' if edge else ''}" if name in TUNED[method] else "")
        area, retention, kl = (np.mean([getattr(run, name) for run in runs]) for name in ("success_area", "retention", "kl"))
        rows.append([method, *cells, f"{100 * area:.1f}", f"{retention:+.1f}", f"{kl:.1f}"])
    return ["method", *(name.replace("_", " ") for name in DOMAIN), "area, %", "<=N change, points", "KL, nats"], rows
