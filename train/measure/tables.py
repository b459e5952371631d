"""Tables: a header and rows of text, for the terminal and in Markdown."""

from collections.abc import Sequence

from rich.table import Table

Rows = Sequence[Sequence[str]]


def rich_table(title: str, header: Sequence[str], rows: Rows, caption: str = "", left: int = 1) -> Table:
    """A table for the terminal. A row whose first cell repeats the one above leaves it empty.

    :param left: how many columns, from the first, are aligned left
    """
    table = Table(title=title, caption=caption or None)
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index < left else "right", overflow="fold")
    previous = None
    for first, *others in rows:
        table.add_row("" if first == previous else first, *others)
        previous = first
    return table


def markdown_table(header: Sequence[str], rows: Rows) -> str:
    """A table in Markdown."""
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, ["---"] * len(header), *rows))
