"""Tables for people and JSON for programs."""

import dataclasses
import json
import os
import platform
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Part, Row
from train.run.provenance import provenance


def run_parts(parts: Mapping[str, Part], settings: Any, judged: bool, output: Path, console: Console) -> None:
    """Measure part by part, print each when it is done, and write all that are done.

    :param parts: by name
    :param settings: a dataclass with a ``device``, given to every part
    :param judged: whether to hold the ratios against their bars
    :param output: JSON, written again after each part
    """
    head = header(settings.device)
    console.print("\n".join(f"[bold]{name}[/] {value}" for name, value in head.items()), highlight=False)
    results = {}
    output.parent.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        with console.status(f"Measuring: {part.title}"):
            rows = part.measure(settings)
        if not judged:
            rows = [dataclasses.replace(row, at_least=None, at_most=None) for row in rows]
        console.print()
        console.print(table(part, rows))
        results[name] = as_json(part, rows)
        content = {"machine": head, "settings": dataclasses.asdict(settings), "parts": results}
        output.write_text(json.dumps(content, indent=2, default=str) + "\n")
    console.print(f"Written to {output}")


def header(device: str) -> dict[str, Any]:
    """Commit, versions and machine."""
    cuda = torch.device(device).type == "cuda"
    return {
        **provenance(),
        "hardware": torch.cuda.get_device_name(device) if cuda else cpu_name(),
        "cores": os.cpu_count(),
        "load": f"{os.getloadavg()[0]:.1f} processes at the start",
    }


def cpu_name() -> str:
    """What Linux calls the CPU, else what Python does."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def table(part: Part, rows: list[Row]) -> Table:
    """Ratios first, then what they come from."""
    with_bars = any(row.met is not None for row in rows)
    result = Table(title=part.title, caption=part.note, title_justify="left", caption_justify="left")
    result.add_column()
    if part.ratio:
        result.add_column(part.ratio, justify="right")
    if with_bars:
        result.add_column("bar")
    result.add_column("median", justify="right")
    result.add_column("range", justify="right")
    for case, group in groupby(rows, key=lambda row: row.case):
        members = list(group)
        result.add_section()
        blanks = [""] * (len(result.columns) - 3)
        result.add_row(f"[bold]{case}[/]", *blanks, f"[bold]{members[0].unit}[/]")
        for row in members:
            ratio = [f"{significant(row.ratio)}x"] if part.ratio else []
            bars = [bar(row)] if with_bars else []
            result.add_row(f"  {row.contender}", *ratio, *bars, significant(row.median), spread(row))
    return result


def significant(value: float) -> str:
    """About three digits."""
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    return f"{value:,.{decimals}f}"


def spread(row: Row) -> str:
    """Lowest and highest of the repeats."""
    return f"{significant(min(row.values))}-{significant(max(row.values))}" if len(row.values) > 1 else ""


def bar(row: Row) -> str:
    """What the ratio should be, and whether it is."""
    if row.met is None:
        return ""
    limit = f"≥ {row.at_least:g}x" if row.at_least is not None else f"≤ {row.at_most:g}x"
    return f"[green]{limit} ✓[/]" if row.met else f"[red]{limit} ✗[/]"


def as_json(part: Part, rows: list[Row]) -> dict[str, Any]:
    """Title, note, meaning of the ratio, and the rows with every repeat."""
    measured = [{**dataclasses.asdict(row), "median": row.median, "met": row.met} for row in rows]
    return {"title": part.title, "note": part.note, "ratio": part.ratio, "rows": measured}
