"""Checkpoints of fine-tuning, and how a run goes on from them: bit for bit on one CPU thread."""

import csv
import re
import tempfile
from itertools import takewhile
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import CSVOutputFormat, Logger, TensorBoardOutputFormat
from torch.utils.tensorboard import SummaryWriter

from agents import PrioritizedKLPPO
from agents.training_state import TrainingState
from train.measure.callbacks import updates_of
from train.run.files import newest_sound, replacing
from train.run.models import AGENT
from train.stop_signals import StopSignals

STEP = "time/total_timesteps"
_CHECKPOINT = re.compile(r"agent_\d+\.zip")


class CheckpointCallback(BaseCallback):
    """Saves the agent between an update and the next rollout, as ``<folder>/agent_<timesteps>.zip``, and keeps the last ones.

    A file is there whole or not at all. A signal lets the rollout and the update under way end, then the agent is saved, and
    training stops (:class:`train.stop_signals.Interrupted`). The last update is saved by whoever calls ``learn``, when it has
    been logged.

    :param folder: is made within the run folder, which must be there
    :param every: updates between two checkpoints
    :param keep: how many stay
    :param signals: that stop the run
    """

    def __init__(self, folder: Path, every: int, keep: int, signals: StopSignals):
        super().__init__()
        self.folder, self.every, self.keep, self.signals = folder, every, keep, signals

    def _on_training_start(self) -> None:
        assert isinstance(self.model, PrioritizedKLPPO)
        if self.model.training_state is not None:  # the run goes on, and so does its clock
            self.model.start_time -= round(self.model.training_state.seconds * 1e9)
            self.model._num_timesteps_at_start = 0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        updates = updates_of(self.model)
        if updates and (updates % self.every == 0 or self.signals.received):
            self.save()
        self.signals.check()

    def save(self) -> None:
        """Write a checkpoint, and remove the oldest beyond ``keep``."""
        assert isinstance(self.model, PrioritizedKLPPO)
        self.model.training_state = TrainingState.of(self.model)
        save(self.model, self.folder / f"agent_{self.model.num_timesteps}.zip")
        for old in checkpoints(self.folder)[: -self.keep]:
            old.unlink()

    def newest(self) -> Path | None:
        """The newest checkpoint."""
        return next(reversed(checkpoints(self.folder)), None)


def save(agent: PrioritizedKLPPO, path: Path) -> None:
    """Save an agent; its folder is made if that of the run is there.

    :raises CannotWrite: as :func:`train.run.files.replacing`
    """
    with replacing(path) as temporary:
        path.parent.mkdir(exist_ok=True)
        with temporary.open("wb") as file:
            agent.save(file)


def rescue(agent: PrioritizedKLPPO) -> Path | None:
    """Save an agent in the system's temporary folder. :return: where, None if that failed too"""
    try:
        path = Path(tempfile.mkdtemp(prefix="agent-")) / AGENT
        save(agent, path)
    except OSError:
        return None
    return path


def checkpoints(folder: Path) -> list[Path]:
    """Those of a folder, the oldest first."""
    found = [path for path in folder.glob("agent_*.zip") if _CHECKPOINT.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.stem.split("_")[1]))


def load_newest(folder: Path, device: str) -> PrioritizedKLPPO | None:
    """The agent of the newest checkpoint that can be read, without an environment.

    :param folder: of the checkpoints
    :return: None if there is none
    :raises ValueError: as :func:`train.run.files.newest_sound`, which also says what becomes of damaged ones
    """
    return newest_sound(checkpoints(folder), lambda path: PrioritizedKLPPO.load(path, device=device))


class _Board(TensorBoardOutputFormat):
    """As SB3's, and what older events tell about later steps is dropped."""

    def __init__(self, folder: Path, last: int):
        self.writer = SummaryWriter(log_dir=str(folder), purge_step=last + 1)
        self._is_closed = False


def run_logger(folder: Path, resumed_at: int = 0) -> Logger:
    """``progress.csv`` and TensorBoard events in a run folder.

    :param folder: the run folder
    :param resumed_at: timesteps of the checkpoint that the run goes on from: what was logged after it is dropped
    :raises ValueError: if ``progress.csv`` is damaged, which a line that was cut short at its end is not
    """
    path = folder / "progress.csv"
    rows = _rows(path, resumed_at)
    with replacing(path) as temporary:
        table = CSVOutputFormat(str(temporary))  # its file stays open when it is renamed
        for row in rows:
            table.write(row, {})
    return Logger(str(folder), [table, _Board(folder, resumed_at)])


def _rows(path: Path, last: int) -> list[dict[str, float]]:
    """Those up to a step; the row of the last update, which comes behind the last step, does not name it again."""
    if not path.is_file():
        return []
    text = path.read_text()
    lines = text[: text.rfind("\n") + 1].splitlines()  # without a line that was cut short
    try:
        rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(lines)]
    except (ValueError, TypeError, csv.Error) as error:
        raise ValueError(
            f"resume must be a run with a sound table, but {str(path)!r} is damaged ({error}): mend it, or move it away to go "
            "on without the rows so far"
        ) from error
    return list(takewhile(lambda row: row.get(STEP, 0) <= last, rows))
