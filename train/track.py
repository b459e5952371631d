"""Enter the track of ``docs/track.md``: ``python -m train.track ENTRY.py --by NAME``."""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from train.experiment.arguments import RunnerArgs
from train.run.arguments import hinted
from train.run.process import run_command


@hinted
@dataclass(frozen=True)
class TrackArgs:
    entries: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Python files, each with a weighting; none to write the page again from the rows that are there."""
    by: str = "anonymous"
    """Who runs them, for the row."""
    runner: tyro.conf.OmitArgPrefixes[RunnerArgs] = field(default_factory=RunnerArgs)
    """Where runs are made."""
    store: Path = Path("runs/track")
    """Where runs are kept; no run is made twice."""
    rows: Path = Path("results/track")
    """The folder of the rows, one JSON file each, and of the picture."""
    page: Path = Path("docs/track.md")
    """Where the ranking is written, if there is such a page."""


def main() -> None:
    args = tyro.cli(TrackArgs, description="Train entries of the track, compare them with the record, and write their rows.")
    import os

    from rich.console import Console

    from train.experiment.runner import Runner
    from train.experiment.store import Store
    from train.experiment.track import Entry, Rules, make_row, read_rows, verdict, write_row
    from train.experiment.track_page import CURVES, HEADER, cells, draw_curves, write_page
    from train.measure.tables import rich_table

    rules, console = Rules(), Console()
    for entry in [Entry.read(path) for path in args.entries]:  # all are read before any is run
        row = make_row(entry, rules, Store(args.store), Runner.of(args.runner), args.by, console)
        rows = read_rows(args.rows, rules.version)
        written = write_row(row, rows, args.rows)
        console.print(f"{verdict(row, rows)}\nWrote {written}", highlight=False, markup=False, soft_wrap=True)
    rows = read_rows(args.rows, rules.version)
    if rows:
        draw_curves(rows, args.rows / CURVES)
        console.print(rich_table(rules.version, HEADER, cells(rows), left=2))
    if args.page.is_file():
        write_page(rows, args.page, Path(os.path.relpath(args.rows, args.page.parent)).as_posix())


if __name__ == "__main__":
    run_command(main)
