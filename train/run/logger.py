"""What a run logs, written by one SB3 logger: ``progress.csv`` and TensorBoard events."""

from collections.abc import Mapping
from itertools import takewhile
from numbers import Real
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat, filter_excluded_keys
from torch.utils.tensorboard import SummaryWriter

from train.run.files import write_rows
from train.run.log import PROGRESS, STEP, in_order, read_rows

Excluded = dict[str, tuple[str, ...]]


class _Table(KVWriter):
    """A CSV file of all numbers, its columns in the order of :func:`train.run.log.in_order`.

    :param path: of the file, which is replaced
    :param rows: that it begins with
    """

    def __init__(self, path: Path, rows: list[dict[str, str]]):
        self.path = path
        self._replace(rows)

    def write(self, key_values: dict[str, Any], key_excluded: Excluded, step: int = 0) -> None:
        wanted = filter_excluded_keys(key_values, key_excluded, "csv")
        row = {name: str(value) for name, value in wanted.items() if isinstance(value, Real)}
        if row.keys() - set(self.columns):
            self._replace([*read_rows(self.path), row])
        elif row:
            with self.path.open("a") as file:
                file.write(",".join(row.get(name, "") for name in self.columns) + "\n")

    def _replace(self, rows: list[dict[str, str]]) -> None:
        self.columns = in_order({name for row in rows for name in row})
        write_rows(self.path, ({name: row.get(name, "") for name in self.columns} for row in rows))

    def close(self) -> None:
        """Nothing is left open."""


class _Board(TensorBoardOutputFormat):
    """As SB3's, but what older events tell about later steps is dropped, and critical tokens come after the accuracies.

    TensorBoard sorts by name, so ``critical/...`` stands below ``tokens/``.
    """

    def __init__(self, folder: Path, last: int):
        self.writer = SummaryWriter(log_dir=str(folder), purge_step=last + 1)
        self._is_closed = False

    def write(self, key_values: dict[str, Any], key_excluded: Excluded, step: int = 0) -> None:
        super().write(_shown(key_values), _shown(key_excluded), step)


def _shown(named: Mapping[str, Any]) -> dict[str, Any]:
    return {f"tokens/{name}" if name.startswith("critical/") else name: value for name, value in named.items()}


def run_logger(folder: Path, resumed_at: int = 0) -> Logger:
    """``progress.csv`` and TensorBoard events in a run folder.

    :param folder: the run folder
    :param resumed_at: timesteps of the checkpoint that the run resumes from: what was logged after it is dropped
    :raises ValueError: if ``progress.csv`` is damaged, which a line that was cut short at its end is not
    """
    path = folder / PROGRESS
    # In older runs the row of the last update does not name its step
    rows = takewhile(lambda row: float(row.get(STEP, 0)) <= resumed_at, read_rows(path)) if path.is_file() else ()
    return Logger(str(folder), [_Table(path, list(rows)), _Board(folder, resumed_at)])
