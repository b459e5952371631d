"""Checkpoints of fine-tuning, and how a run goes on from them: bit for bit on one CPU thread."""

import csv
import os
import signal
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import CSVOutputFormat, Logger, TensorBoardOutputFormat
from torch.utils.tensorboard import SummaryWriter

from agents import PrioritizedKLPPO
from agents.training_state import TrainingState
from train.callbacks import updates_of

STEP = "time/total_timesteps"


class Interrupted(Exception):  # noqa: N818
    """Training has stopped because a signal asked for it, after a checkpoint."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


class CheckpointCallback(BaseCallback):
    """Saves the agent between an update and the next rollout, as ``<folder>/agent_<timesteps>.zip``, and keeps the last ones.

    A file is there whole or not at all. SIGINT (Ctrl-C) and SIGTERM (Slurm) let the rollout and the update under way end, save,
    and raise :class:`Interrupted`; a second one stops at once.

    :param folder: is made
    :param every: updates between two checkpoints
    :param keep: how many stay
    """

    def __init__(self, folder: Path, every: int, keep: int):
        super().__init__()
        self.folder, self.every, self.keep = folder, every, keep
        self._signal: int | None = None
        self._handlers: dict[int, Any] = {}

    def _on_training_start(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
        self.restore_handlers()

    def restore_handlers(self) -> None:
        """Signals mean again what they meant before training."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        updates = updates_of(self.model)
        if updates and (updates % self.every == 0 or self._signal is not None):
            self.save()
        if self._signal is not None:
            raise Interrupted(self._signal)

    def _on_training_end(self) -> None:
        self.save()
        self.restore_handlers()

    def save(self) -> None:
        """Write a checkpoint, and remove the oldest beyond ``keep``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        assert isinstance(self.model, PrioritizedKLPPO)
        self.model.training_state = TrainingState.of(self.model)
        temporary = self.folder / "writing.zip"
        self.model.save(temporary)
        os.replace(temporary, self.folder / f"agent_{self.num_timesteps}.zip")
        for old in checkpoints(self.folder)[: -self.keep]:
            old.unlink()


def checkpoints(folder: Path) -> list[Path]:
    """Those of a folder, the oldest first."""
    return sorted(folder.glob("agent_*.zip"), key=lambda path: int(path.stem.split("_")[1]))


def load_newest(folder: Path, device: str) -> PrioritizedKLPPO | None:
    """The agent of the newest checkpoint that can be read, without an environment.

    A damaged one is named in a warning, and the one before is taken.

    :param folder: of the checkpoints
    :return: None if there is none
    """
    for path in reversed(checkpoints(folder)):
        try:
            return PrioritizedKLPPO.load(path, device=device)
        except Exception as error:
            warnings.warn(f"{path} cannot be read, so the checkpoint before it is taken: {error!r}", stacklevel=2)
    return None


def run_logger(folder: Path, resumed_at: int | None = None) -> Logger:
    """``progress.csv`` and TensorBoard events in a run folder.

    :param folder: the run folder
    :param resumed_at: timesteps of the checkpoint that the run goes on from: what was logged after it is dropped
    """
    rows = [] if resumed_at is None else _rows(folder / "progress.csv", resumed_at)
    table, board = CSVOutputFormat(str(folder / "progress.csv")), TensorBoardOutputFormat(str(folder))
    for row in rows:
        table.write(row, {})
    if resumed_at is not None:
        board.writer.close()
        board.writer = SummaryWriter(log_dir=str(folder), purge_step=resumed_at + 1)
    return Logger(str(folder), [table, board])


def _rows(path: Path, last: int) -> list[dict[str, float]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
    return [row for row in rows if row.get(STEP, last + 1) <= last]
