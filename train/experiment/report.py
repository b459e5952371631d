"""What the runs of an experiment found together: a table, pictures and a page."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter
from rich.console import Console

from train.experiment.arms import Arms, Experiment
from train.experiment.results import Results, Runs, paired_seeds, read_results
from train.experiment.verdict import FOCUS, compare
from train.finetuning.arguments import PPOArgs
from train.measure.accuracy import Kind
from train.measure.learning_speed import THRESHOLD, median_episodes
from train.measure.pictures import COLOURS
from train.measure.statistics import FEWEST_RUNS, Estimate, interquartile_mean, mean, t_mean
from train.measure.tables import markdown_table, rich_table
from train.run.files import write_rows
from train.run.meter import duration

MARKERS = "osD^vPX*<>ph"
"""One per arm, so that a picture can be read in grey."""
SPENT = (
    "Gain and change: interquartile mean over runs, KL: mean, with 95% bootstrap intervals, which are too narrow for few runs; "
    f"none for fewer than {FEWEST_RUNS}. Arms that spend different amounts of KL are not comparable by their gain alone."
)
"""How to read the first columns of a table of arms."""
PAIRED = (
    f"The comparisons with {FOCUS} use the seeds that both arms have: mean paired difference of the gain with its bootstrap "
    "interval, the same with its t interval, p of the sign-flip test, and probability of improvement; that of the area with "
    "its t interval, and its p."
)
"""How to read the next ones."""
SPEED = (
    "Area: mean sampled success over the episodes of a run, mean over runs with its 95% t interval. Episodes: until sampled "
    f"success reached {THRESHOLD:.0%}, median over runs (how many did)."
)
"""How to read the last ones."""
COLUMNS = {"spent": slice(1, 5), "speed": slice(5, 9), "paired": slice(9, None)}
"""Those of the tables that a terminal has room for, each after the arm."""
LINEAR_TO = 1
"""Nats per episode up to which the axis of the KL is linear; it is logarithmic from there."""
KL_TICKS = (0, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def report(experiment: Experiment, runs: Runs, console: Console) -> None:
    """Print the table, and write ``README.md``, ``arms.csv``, ``runs.csv`` and two pictures.

    :param experiment: what is compared
    :param runs: those that are done, at least one
    :param console: for the table
    """
    arms, output = experiment.arms, experiment.output
    results = read_results(arms, runs, experiment.store)
    kinds = {Kind(args.extra_digits).name for args in arms.values()}
    longer = kinds.pop() if len(kinds) == 1 else "N+k"
    header, rows = arm_table(results, longer)
    output.mkdir(parents=True, exist_ok=True)
    write_rows(output / "runs.csv", (vars(run) for found in results.values() for run in found.values()))
    write_rows(output / "arms.csv", arm_rows(results))
    draw(results, longer, output)
    said = experiment.answer(results)
    parts = [
        f"# {experiment.title}",
        made_by(experiment.command, results, runs),
        f"**{said}**" if said else "",
        experiment.note,
        markdown_table(header, rows),
        f"{caption(results)} {measured_on(arms)}",
        "The arms differ in these arguments of `python -m train.ppo`; runs of one seed share problems and initial weights:",
        _differences(arms),
        "`arms.csv` has the table as numbers, `runs.csv` one row per run: accuracies from 0 to 1, `gain` and `retention` in\n"
        "percentage points, `kl` in nats per episode, `success_area` from 0 to 1.",
        "![Gain against retention](gain_against_retention.png)",
        "![Gain against KL spent](gain_against_kl.png)",
    ]
    (output / "README.md").write_text("\n\n".join(part.strip() for part in parts if part) + "\n")
    titles = {
        "spent": (experiment.title, f"{SPENT} {measured_on(arms)}"),
        "speed": ("Speed of learning", SPEED),
        "paired": (f"{FOCUS} against the others", PAIRED),
    }
    for name, (title, how) in titles.items():
        shown = [[row[0], *row[COLUMNS[name]]] for row in rows]
        if filled := [row for row in shown if any(row[1:])]:
            console.print(rich_table(title, [header[0], *header[COLUMNS[name]]], filled, how))
    console.print(*[said] if said else [], f"Wrote {output}", sep="\n")


def arm_table(results: Results, longer: str) -> tuple[list[str], list[list[str]]]:
    """One row per arm that has runs.

    :param results: by arm and seed
    :param longer: name of the longer problems, such as ``"N+1"``
    :return: the header and the rows
    """
    header = ["arm", "runs", f"{longer} gain, points", "<=N change, points", "KL, nats per episode", "area, %", "episodes"]
    comparable = _comparable(results)
    if comparable:
        header += [f"area, {FOCUS} - arm", "p of area"]
        header += [f"{FOCUS} - arm, points", "t interval", "p", f"P({FOCUS} > arm)"]
    rows = []
    for arm, runs in results.items():
        if not runs:
            continue
        gain, retention, kl = _estimates(results, arm)
        area = t_mean([100 * run.success_area for run in runs.values()])
        episodes = median_episodes([run.episodes_to_threshold for run in runs.values()])
        row = [arm, str(len(runs)), f"{gain:+.1f}", f"{retention:+.1f}", f"{kl:.2f}", f"{area:.1f}", episodes]
        if arm in comparable:
            comparison = compare(results, arm)
            p, area_p = ("" if math.isnan(each) else f"{each:.3f}" for each in (comparison.p, comparison.area_p))
            row += [f"{comparison.area:+.1f}", area_p, f"{comparison.difference:+.1f}"]
            row += [comparison.difference_t.interval("+.1f"), p, f"{comparison.improvement:.2f}"]
        row += [""] * (len(header) - len(row))
        rows.append(row)
    return header, rows


def _comparable(results: Results) -> list[str]:
    """The arms that share seeds with the focus arm."""
    return [arm for arm in results if FOCUS in results and arm != FOCUS and paired_seeds(results, FOCUS, arm)]


def caption(results: Results) -> str:
    """How to read :func:`arm_table`."""
    return f"{SPENT} {SPEED} {PAIRED}" if _comparable(results) else f"{SPENT} {SPEED}"


def arm_rows(results: Results) -> list[dict[str, Any]]:
    """:func:`arm_table` as numbers; the ends of an interval have columns of their own."""
    rows = []
    for arm, runs in results.items():
        if runs:
            row: dict[str, Any] = {"arm": arm, "runs": len(runs)}
            for name, estimate in zip(("gain", "retention", "kl"), _estimates(results, arm), strict=True):
                row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
            for name in ("gain", "retention", "kl", "success_area"):
                estimate = t_mean([getattr(run, name) for run in runs.values()])
                row |= {f"{name}_mean": estimate.value, f"{name}_t_low": estimate.low, f"{name}_t_high": estimate.high}
            rows.append(row)
    return rows


def draw(results: Results, longer: str, folder: Path) -> None:
    """``gain_against_retention.png`` and ``gain_against_kl.png``: one marker per arm, with 95% intervals both ways.

    :param results: by arm and seed
    :param longer: name of the longer problems, such as ``"N+1"``
    :param folder: where to write them
    """
    pictures = {
        "gain_against_retention.png": (1, "change of accuracy on up to N digits (percentage points)"),
        "gain_against_kl.png": (
            2,
            f"KL to the reference at the end (nats per episode; linear to {LINEAR_TO}, then logarithmic)",
        ),
    }
    estimates = {arm: _estimates(results, arm) for arm, runs in results.items() if runs}
    for name, (column, label) in pictures.items():
        figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
        for index, arm in enumerate(results):
            if arm in estimates:
                colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
                _draw_arm(axes, estimates[arm][column], estimates[arm][0], arm, colour, marker)
        if column == 2:
            axes.set_xscale("symlog", linthresh=LINEAR_TO)
            axes.xaxis.set(major_locator=FixedLocator(KL_TICKS), minor_locator=NullLocator(), major_formatter=ScalarFormatter())
        axes.set(xlabel=label, ylabel=f"gain of accuracy on {longer} digits (percentage points)")
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


def made_by(command: str, results: Results, runs: Runs) -> str:
    """A paragraph that says what the results were made by, and on what: several values where the runs differ.

    :param command: the command line
    """
    seeds = sorted({seed for _, seed in runs})
    seconds = sum(run.seconds for found in results.values() for run in found.values())
    recorded: dict[str, set[str]] = {}
    for run in runs.values():
        for session in run.record["sessions"]:
            for name, value in session.items():
                recorded.setdefault(name, set()).add("not recorded" if value is None else str(value))
    made = f"{len(runs)} runs, seeds {', '.join(map(str, seeds))}, {duration(seconds)} of training"
    on = ", ".join(f"{name} {' or '.join(sorted(values))}" for name, values in recorded.items())
    return f"Made by `{command}`: {made}, each run on:\n{on}."


def measured_on(arms: Arms) -> str:
    """Which problems the accuracies of the arms are of."""
    splits = sorted({args.eval_split for args in arms.values()})
    return f"Accuracies are greedy, on {' or '.join(splits)} problems."


def _differences(arms: Arms) -> str:
    """The arguments in which the arms differ, as a table."""
    fields = {arm: vars(args) for arm, args in arms.items()}
    names = [field.name for field in dataclasses.fields(PPOArgs) if len({args[field.name] for args in fields.values()}) > 1]
    return markdown_table(["arm", *names], [[arm, *(f"`{args[name]}`" for name in names)] for arm, args in fields.items()])
