"""What a run logs: ``progress.csv`` and TensorBoard events, written by one logger; and the table read back."""

import csv
from itertools import takewhile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.logger import CSVOutputFormat, Logger, TensorBoardOutputFormat
from torch.utils.tensorboard import SummaryWriter

from train.run.files import replacing

PROGRESS = "progress.csv"
STEP = "time/total_timesteps"
EPISODES = "time/episodes"
OF_UPDATES = ("objective/", "train/")
"""Groups of columns that may tell of an update."""

Floats = npt.NDArray[np.float64]
Row = dict[str, float]


class _Board(TensorBoardOutputFormat):
    """As SB3's, and what older events tell about later steps is dropped."""

    def __init__(self, folder: Path, last: int):
        self.writer = SummaryWriter(log_dir=str(folder), purge_step=last + 1)
        self._is_closed = False


def run_logger(folder: Path, resumed_at: int = 0) -> Logger:
    """``progress.csv`` and TensorBoard events in a run folder.

    :param folder: the run folder
    :param resumed_at: timesteps of the checkpoint that the run resumes from: what was logged after it is dropped
    :raises ValueError: if ``progress.csv`` is damaged, which a line that was cut short at its end is not
    """
    path = folder / PROGRESS
    # The row of the last update, which comes after the last step, does not name the step again
    rows = takewhile(lambda row: row.get(STEP, 0) <= resumed_at, _rows(path)) if path.is_file() else ()
    with replacing(path) as temporary:
        table = CSVOutputFormat(str(temporary))  # its file stays open when it is renamed
        for row in list(rows):
            table.write(row, {})
    return Logger(str(folder), [table, _Board(folder, resumed_at)])


class Progress:
    """``progress.csv`` of a run, which may still be under way.

    :param folder: the run folder
    :raises ValueError: if there is no such file, or it is damaged
    """

    def __init__(self, folder: Path):
        self.folder = folder
        if not (folder / PROGRESS).is_file():
            raise ValueError(f"run must be a run folder of train.ppo, but {str(folder)!r} holds no {PROGRESS}: check the path")
        self.rows = _rows(folder / PROGRESS)

    @property
    def columns(self) -> list[str]:
        """Everything that was logged, in order of its first appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def curve(self, column: str) -> tuple[Floats, Floats]:
        """Episodes and values of a column, ``(n,)`` each.

        SB3 writes what an update recorded into the row of the *next* rollout, and that of the last one at the end, without
        episodes: such a column takes its episodes from the row before.

        :raises ValueError: if it was never logged
        """
        at_the_end = any(column in row and EPISODES not in row for row in self.rows)
        late = column.startswith(OF_UPDATES) and bool(self.rows) and (at_the_end or column not in self.rows[0])
        clocks = [{}, *self.rows[:-1]] if late else self.rows
        points = [
            (clock[EPISODES], row[column])
            for clock, row in zip(clocks, self.rows, strict=True)
            if EPISODES in clock and column in row
        ]
        if not points:
            raise ValueError(
                f"column must be one that the run logged, but {column!r} is not in {str(self.folder)!r}: check its name"
            )
        episodes, values = zip(*points, strict=True)
        return np.array(episodes), np.array(values)


def _rows(path: Path) -> list[Row]:
    try:
        text = path.read_text()
        lines = text[: text.rfind("\n") + 1].splitlines()  # without a line that was cut short
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(lines)]
    except (ValueError, TypeError, csv.Error) as error:
        raise ValueError(
            f"run must have a sound table, but {str(path)!r} is damaged ({error}): mend it, or move it away to resume without "
            "the rows so far"
        ) from error
