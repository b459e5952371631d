"""Tables: a header and rows of text, for the terminal and in Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table

Rows = Sequence[Sequence[str]]
ENDLESS = 10_000
"""Columns of a terminal on which every table fits."""


def rich_table(title: str, header: Sequence[str], rows: Rows, caption: str = "", left: int = 1) -> RenderableType:
    """A table for the terminal. A row whose first cell repeats the one above leaves it empty.

    On a terminal that is too narrow for it, intervals stand below their values, so that no number is torn apart.

    :param left: how many columns, from the first, are aligned left
    """
    return _Fitting(title, header, rows, caption, left)


def markdown_table(header: Sequence[str], rows: Rows) -> str:
    """A table in Markdown."""
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, ["---"] * len(header), *rows))


@dataclass(frozen=True)
class _Fitting:
    title: str
    header: Sequence[str]
    rows: Rows
    caption: str
    left: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = self._filled(self.rows)
        if console.measure(wide, options=options.update_width(ENDLESS)).maximum <= options.max_width:
            yield wide
            return
        rows = [[cell.replace(" [", "\n[") for cell in row] for row in self.rows]
        widths = [
            _width(name, cells, None if index < self.left else "\n")
            for index, (name, *cells) in enumerate(zip(self.header, *rows, strict=True))
        ]
        yield self._filled(rows, widths, gap=int(sum(widths) + 2 * len(widths) <= options.max_width))

    def _filled(self, rows: Rows, widths: Sequence[int] = (), gap: int = 1) -> Table:
        table = Table(
            title=self.title,
            min_width=len(self.title),
            caption=self.caption or None,
            box=box.SIMPLE_HEAD,
            show_edge=False,
            padding=(0, gap, 0, 0),
            leading=int(any("\n" in cell for row in rows for cell in row)),
        )
        for index, name in enumerate(self.header):
            is_left = index < self.left
            width = None if is_left or not widths else widths[index]
            table.add_column(name, justify="left" if is_left else "right", overflow="fold", width=width)
        previous = None
        for first, *others in rows:
            table.add_row("" if first == previous else first, *others)
            previous = first
        return table


def _width(name: str, cells: Sequence[str], separator: str | None) -> int:
    """What a column needs so that nothing between separators, in its header between spaces, is torn apart."""
    return max(map(len, [*name.split(), *(part for cell in cells for part in cell.split(separator))]), default=1)
