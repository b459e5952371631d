"""What a target of the reproduction leaves behind: numbers, a picture, and a paragraph."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from train.measure.tables import markdown_table
from train.run.files import write_rows
from train.run.provenance import provenance


@dataclass(frozen=True)
class Artefact:
    """A table or a figure."""

    title: str
    caption: str
    """One paragraph: what it shows, our numbers beside the paper's."""
    rows: Sequence[Mapping[str, Any]]
    """The numbers, for CSV."""
    figure: Figure
    table: Sequence[Sequence[str]] = ()
    """A header and rows for the page; none if the picture says it all."""

    def write(self, folder: Path, name: str, command: str, seconds: float) -> None:
        """Write ``<name>.csv``, ``<name>.png`` and ``<name>.md``.

        :param folder: made if need be
        :param name: of the target
        :param command: that made it
        :param seconds: it took, not counting what was there before
        """
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(folder / f"{name}.csv", self.rows)
        self.figure.savefig(folder / f"{name}.png", dpi=150)
        plt.close(self.figure)
        made = ", ".join(f"{package} {version}" for package, version in provenance().items())
        table = markdown_table(self.table[0], self.table[1:]).strip() if self.table else ""
        parts = [f"## {self.title}", self.caption, table, f"![{self.title}]({name}.png)"]
        parts.append(
            f"Made by `{command}` in {seconds / 60:.1f} minutes, not counting models and runs that were there before; each "
            f"says itself what made it. This page: {made}."
        )
        (folder / f"{name}.md").write_text("\n\n".join(part for part in parts if part) + "\n")


def write_index(folder: Path, scale: str, names: Iterable[str]) -> None:
    """Write ``README.md``: the pages of all targets that are there, one after the other.

    :param folder: of the pages
    :param scale: for the heading
    :param names: of the targets, in order
    """
    pages = [path.read_text() for path in (folder / f"{name}.md" for name in names) if path.is_file()]
    head = (
        f"# arXiv:2502.06533 at the {scale} scale\n\nMade by `python -m train.reproduce`; the numbers are in the CSV files.\n"
        "What they show, and what they do not: `docs/reproduction.md`, claim by claim.\n"
    )
    (folder / "README.md").write_text("\n".join([head, *pages]))
