"""What a run has logged, ``progress.csv``, read back. :mod:`train.run.logger` writes it."""

import csv
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

PROGRESS = "progress.csv"
STEP = "time/total_timesteps"
EPISODES = "time/episodes"
GROUPS = ("time", "eval", "rollout", "objective", "train", "critical")
"""Groups of columns, in their order; others come last."""
OF_UPDATES = ("objective/", "train/")
"""Groups of columns that may tell of an update."""
KL_SHARE = "objective/kl_share_critical"
"""Not of the first rollout, whose policy is the reference: before 0.2.0 it was a share of rounding errors there. In older runs
it comes as late as what an update recorded."""

Floats = npt.NDArray[np.float64]
Row = dict[str, float]


class Progress:
    """``progress.csv`` of a run, which may still be under way.

    SB3 writes what an update recorded into the row of the *next* rollout, and that of the last one into a row at the end.

    :param folder: the run folder
    :raises ValueError: if there is no such file, or it is damaged
    """

    def __init__(self, folder: Path):
        self.folder = folder
        if not (folder / PROGRESS).is_file():
            raise ValueError(f"run must be a run folder of train.ppo, but {str(folder)!r} holds no {PROGRESS}: check the path")
        self.rows: list[Row] = [{name: float(value) for name, value in row.items()} for row in read_rows(folder / PROGRESS)]

    @property
    def columns(self) -> list[str]:
        """Everything that was logged."""
        return in_order({name for row in self.rows for name in row})

    @cached_property
    def rollouts(self) -> list[Row]:
        """One row per rollout; the values of an update are in the row of its own rollout."""
        late = {name for name in self.columns if self._is_late(name)}
        found: list[Row] = []
        for index, row in enumerate(self.rows):
            if found:
                found[-1].update({name: value for name, value in row.items() if name in late})
            if EPISODES in row and not self._is_end(index):
                found.append({name: value for name, value in row.items() if name not in late})
        for row in found[:1]:
            row.pop(KL_SHARE, None)
        return found

    def curve(self, column: str) -> tuple[Floats, Floats]:
        """Episodes and values of a column, ``(n,)`` each; an update's values are at the episodes of its own rollout.

        :raises ValueError: if it was never logged
        """
        points = [(row[EPISODES], row[column]) for row in self.rollouts if column in row]
        if not points:
            raise ValueError(
                f"column must be one that the run logged, but {column!r} is not in {str(self.folder)!r}: check its name"
            )
        episodes, values = zip(*points, strict=True)
        return np.array(episodes), np.array(values)

    def _is_end(self, index: int) -> bool:
        """Whether a row came after the last update: it names no episodes (in older runs), or tells of no new rollout."""
        row, before = self.rows[index], self.rows[index - 1] if index else {}
        return EPISODES not in row or (
            row[EPISODES] == before.get(EPISODES) and not any(name.startswith("rollout/") for name in row)
        )

    def _is_late(self, column: str) -> bool:
        """Whether a column tells of an update, and so of the rollout before."""
        if not column.startswith(OF_UPDATES) or not self.rows:
            return False
        began_late = column not in self.rows[0] and column != KL_SHARE
        return began_late or any(column in row and self._is_end(index) for index, row in enumerate(self.rows))


def in_order(columns: Iterable[str]) -> list[str]:
    """Columns by their group, in the order of :data:`GROUPS`, then by name."""

    def place(column: str) -> tuple[int, str]:
        group = column.split("/")[0]
        return GROUPS.index(group) if group in GROUPS else len(GROUPS), column

    return sorted(columns, key=place)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of ``progress.csv`` without a line that was cut short, their numbers as they are written.

    :raises ValueError: if it is damaged
    """
    try:
        text = path.read_text()
        lines = text[: text.rfind("\n") + 1].splitlines()
        rows = [{name: value for name, value in row.items() if value} for row in csv.DictReader(lines)]
        for row in rows:
            for value in row.values():
                float(value)
    except (ValueError, TypeError, csv.Error) as error:
        raise ValueError(
            f"run must have a sound table, but {str(path)!r} is damaged ({error}): repair it, or move it away to resume "
            "without the rows so far"
        ) from error
    return rows
