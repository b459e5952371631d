"""Checkpoints: the files that an unfinished run resumes from."""

import re
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from stable_baselines3.common.callbacks import BaseCallback

from agents import PrioritizedKLPPO
from train.run.files import replacing
from train.run.process import StopSignals

FOLDER = "checkpoints"
"""In a run folder."""
AGENT = "agent.zip"
"""The agent at the end of a fine-tuning run, in its run folder."""

Content = TypeVar("Content")


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run: ``checkpoints/<name>_<number><suffix>`` in its folder. Each is there whole or not at all.

    :param run: the run folder, which must be there; the folder within it is made
    :param suffix: of the files, such as ``".zip"``
    :param keep: how many stay
    """

    run: Path
    suffix: str
    keep: int = 5

    def paths(self) -> list[Path]:
        """The oldest first: by name, then by number."""
        name = re.compile(rf"([a-z]+)_(\d+){re.escape(self.suffix)}")
        found = [
            (match[1], int(match[2]), path) for path in (self.run / FOLDER).glob("*") if (match := name.fullmatch(path.name))
        ]
        return [path for _, _, path in sorted(found)]

    def newest(self) -> Path | None:
        """The last one that was written."""
        return next(reversed(self.paths()), None)

    def save(self, name: str, number: int, write: Callable[[Path], None]) -> None:
        """Write a checkpoint, and remove the oldest beyond ``keep``.

        :param write: writes the file
        :raises CannotWrite: as :func:`train.run.files.replacing`
        """
        path = self._path(name, number)
        with replacing(path) as temporary:
            path.parent.mkdir(exist_ok=True)
            write(temporary)
        for old in self.paths()[: -self.keep]:
            old.unlink()

    def adopt(self, file: Path, name: str, number: int) -> None:
        """Make a file of the run a checkpoint."""
        path = self._path(name, number)
        path.parent.mkdir(exist_ok=True)
        file.replace(path)

    def _path(self, name: str, number: int) -> Path:
        return self.run / FOLDER / f"{name}_{number}{self.suffix}"


def newest_sound(paths: Sequence[Path], load: Callable[[Path], Content]) -> Content | None:
    """The newest checkpoint that can be read. Damaged ones are named in a warning and renamed to ``*.damaged``.

    :param paths: of the checkpoints, the oldest first
    :param load: reads one
    :return: None if there is none
    :raises ValueError: if there are some, and none can be read; nothing is renamed then
    """
    damaged: dict[Path, Exception] = {}
    for path in reversed(paths):
        try:
            content = load(path)
        except Exception as error:  # a damaged pickle raises anything
            damaged[path] = error
            continue
        for bad, reason in damaged.items():
            aside = bad.rename(bad.with_name(f"{bad.name}.damaged"))
            warnings.warn(f"{bad} cannot be read, so it is now {aside.name}, and {path} is taken: {reason!r}", stacklevel=3)
        return content
    if damaged:
        raise ValueError(
            f"resume must be a run with a checkpoint that can be read, but {', '.join(map(str, damaged))} cannot "
            f"({next(iter(damaged.values()))!r}): restore one from a copy, or remove them all to start this run again"
        )
    return None


def agents_of(run: Path) -> list[Path]:
    """The agents in the folder of a fine-tuning run, the oldest first; that of the end is the last."""
    return Checkpoints(run, ".zip").paths() + [path for path in [run / AGENT] if path.is_file()]


def load_newest_agent(run: Path, device: str) -> PrioritizedKLPPO | None:
    """The newest agent of a fine-tuning run that can be read, without an environment.

    :return: None if there is none
    :raises ValueError: as :func:`newest_sound`, which also says what becomes of damaged ones
    """
    return newest_sound(agents_of(run), lambda path: PrioritizedKLPPO.load(path, device=device))


def save_agent(agent: PrioritizedKLPPO, path: Path) -> None:
    """Save an agent with all it needs to resume, whole or not at all.

    :raises CannotWrite: as :func:`train.run.files.replacing`
    """
    with replacing(path) as temporary:
        _write(agent, temporary)


def rescue(agent: PrioritizedKLPPO) -> Path | None:
    """Save an agent in the system's temporary folder. :return: where, None if that failed too"""
    try:
        path = Path(tempfile.mkdtemp(prefix="agent-")) / AGENT
        save_agent(agent, path)
    except OSError:
        return None
    return path


def _write(agent: PrioritizedKLPPO, path: Path) -> None:
    with path.open("wb") as file:
        agent.save_checkpoint(file)


class CheckpointCallback(BaseCallback):
    """Saves the agent between an update and the next rollout, as ``checkpoints/agent_<timesteps>.zip``.

    A signal lets the rollout and the update under way end, then the agent is saved, and training stops
    (:class:`train.run.process.Interrupted`). The last update is saved by whoever calls ``learn``, when it has been logged.

    :param checkpoints: of the run
    :param every: updates between two checkpoints
    :param signals: that stop the run
    """

    def __init__(self, checkpoints: Checkpoints, every: int, signals: StopSignals):
        super().__init__()
        self.checkpoints, self.every, self.signals = checkpoints, every, signals

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        agent = self.model
        assert isinstance(agent, PrioritizedKLPPO)
        if agent.updates_done and (agent.updates_done % self.every == 0 or self.signals.received):
            self.checkpoints.save("agent", agent.num_timesteps, lambda path: _write(agent, path))
        self.signals.check()
