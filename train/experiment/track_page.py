"""What ``docs/track.md`` shows: the ranking of the track's rows, its records, and their curves."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from train.experiment.track import Row, difference, ranked, records, uniform_of
from train.measure.pictures import STYLES
from train.measure.tables import markdown_table
from train.run.files import replacing

BEGIN, END = "<!-- rows: written by python -m train.track -->", "<!-- end of the rows -->"
"""Around what is written."""
HEADER = ["rank", "entry", "score, %", "minus uniform", "p", "<=N change, points", "forward KL, nats", "run by", "commit"]
CURVES = "curves.png"
GREY = "#c8c8c8"


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """The ranking; a row that does not keep enough has no rank."""
    record, uniform = records(rows)[-1:], uniform_of(rows)
    table = []
    for rank, row in enumerate(ranked(rows), start=1):
        place = f"{rank}{', record' if row in record else ''}" if row.keeps else "-"
        compared = ["", ""]
        if uniform and row is not uniform:
            value, p = difference(row, uniform)
            compared = [f"{value:+.1f}", f"{p:.3f}"]
        measures = [f"{row.retention:+.1f}", f"{row.forward_kl:.1f}"]
        table.append([place, row.entry, f"{row.score:.1f}", *compared, *measures, row.by, row.commit])
    return table


def page_part(rows: Sequence[Row], data: str) -> str:
    """What the page says about the rows, in Markdown.

    :param data: the folder of their JSON files, as seen from the page
    """
    if not rows:
        return "No entry has been run yet."
    order = ranked(rows)
    linked = [
        [place, f"[{entry}]({data}/{row.file})", *others]
        for row, (place, entry, *others) in zip(order, cells(rows), strict=True)
    ]
    lines = dict.fromkeys(f"- **{row.entry}**: {row.says}" for row in order)
    parts = {
        "": markdown_table(HEADER, linked).strip(),
        "### Curves": f"![Sampled success over episodes, mean over seeds]({data}/{CURVES})",
        "### Records": "\n".join(history(rows)) or "No row keeps enough.",
        "### What the entries do": "\n".join(lines),
    }
    return "\n\n".join(text for part in parts.items() for text in part if text)


def history(rows: Sequence[Row]) -> list[str]:
    """A line for every record, in the order of their dates."""
    lines: list[str] = []
    found = records(rows)
    for before, row in zip([None, *found], found, strict=False):
        gain = "the first"
        if before:
            value, p = difference(row, before)
            gain = f"{value:+.1f} points, p = {p:.3f}"
        lines.append(f"- {row.date[:10]}: {row.entry} by {row.by}, score {row.score:.1f} ({gain})")
    return lines


def write_page(rows: Sequence[Row], page: Path, data: str) -> None:
    """Replace what stands between ``BEGIN`` and ``END``.

    :raises ValueError: if the page does not have both
    """
    text = page.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"page must have {BEGIN!r} and {END!r}, but {str(page)!r} has not: put them where rows are to stand")
    with replacing(page) as temporary:
        temporary.write_text(f"{head}{BEGIN}\n\n{page_part(rows, data)}\n\n{END}{tail}", encoding="utf-8")


def draw_curves(rows: Sequence[Row], output: Path) -> None:
    """Sampled success over episodes, mean over seeds: the best rows and uniform in colour, the others in grey."""
    order, uniform = ranked(rows), uniform_of(rows)
    coloured = [uniform] if uniform else []
    coloured += [row for row in order if row is not uniform][: len(STYLES) - len(coloured)]
    styles = iter(STYLES)
    figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    for row in order:
        curves = [run["curve"] for run in row.runs]
        curve = curves[0]["episodes"], np.mean([each["success"] for each in curves], axis=0)
        if row in coloured:
            colour, dash = next(styles)
            axes.plot(*curve, color=colour, linestyle=dash, label=f"{row.entry}, {row.score.value:.1f}%", zorder=3)
        else:
            axes.plot(*curve, color=GREY)
    axes.set(xlabel="episodes", ylabel="sampled success in training", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9, title="score")
    figure.savefig(output, dpi=150)
    plt.close(figure)
