"""Checkpoints of pre-training: written atomically, read without running any code."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from policies.safe_files import read_torch
from train.run.files import newest_sound, replacing

KEPT = 2
"""How many checkpoints stay."""
_NAME = re.compile(r"([a-z]+)_(\d+)\.pt")


@dataclass(frozen=True)
class Checkpoint:
    """All that goes on after a step; the data are drawn anew from their seed."""

    stage: str
    """Name of the stage."""
    steps_done: int
    """Optimizer steps of that stage."""
    model: dict[str, Any]
    optimizers: list[dict[str, Any]]

    @classmethod
    def of(cls, stage: str, steps_done: int, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> Self:
        """What there is now."""
        return cls(stage, steps_done, model.state_dict(), [optimizer.state_dict() for optimizer in optimizers])

    def restore(self, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> None:
        """Put model and optimizers where they were.

        :raises ValueError: if the checkpoint is that of another model or of other optimizers
        """
        try:
            model.load_state_dict(self.model)
            for optimizer, state in zip(optimizers, self.optimizers, strict=True):
                optimizer.load_state_dict(state)
        except Exception as error:  # torch raises anything on a state that is not its own
            raise ValueError(
                f"checkpoint must be one of this model and these optimizers, but it is not: start the run anew ({error})"
            ) from error

    def save(self, folder: Path) -> Path:
        """Write ``<stage>_<steps>.pt``, whole or not at all, and remove the oldest beyond :data:`KEPT`.

        :param folder: is made within the run folder, which must be there
        :return: the file
        :raises OSError: as :func:`train.run.files.replacing`
        """
        path = folder / f"{self.stage}_{self.steps_done}.pt"
        with replacing(path) as temporary:
            folder.mkdir(exist_ok=True)
            torch.save(asdict(self), temporary)
        for old in checkpoints(folder)[:-KEPT]:
            old.unlink()
        return path

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file.

        :raises ValueError: if it is damaged, or no checkpoint of pre-training
        """
        content = read_torch(path, "checkpoint")
        types = {"stage": str, "steps_done": int, "model": dict, "optimizers": list}
        if content.keys() != types.keys() or not all(isinstance(content[name], kind) for name, kind in types.items()):
            raise ValueError(
                f"checkpoint must hold {', '.join(types)}, but {str(path)!r} does not: remove it to start the run anew"
            )
        return cls(**content)


def checkpoints(folder: Path) -> list[Path]:
    """Those of a folder, the oldest first: the first stage comes before the second."""
    found = [(match[1], int(match[2]), path) for path in folder.glob("*.pt") if (match := _NAME.fullmatch(path.name))]
    return [path for _, _, path in sorted(found)]


def load_newest(folder: Path) -> Checkpoint | None:
    """The newest one that can be read.

    :param folder: of the checkpoints
    :return: None if there is none
    :raises ValueError: as :func:`train.run.files.newest_sound`, which also says what becomes of damaged ones
    """
    return newest_sound(checkpoints(folder), Checkpoint.load)
