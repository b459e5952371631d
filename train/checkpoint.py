"""Checkpoints of pre-training: written atomically, read without running any code."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from train.files import replacing

CHECKPOINT = "checkpoint.pt"
"""Name of the file in a run folder."""


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
        """Put model and optimizers where they were."""
        model.load_state_dict(self.model)
        for optimizer, state in zip(optimizers, self.optimizers, strict=True):
            optimizer.load_state_dict(state)

    def save(self, path: Path) -> None:
        """Write the file; whoever reads it meanwhile, or after a crash, finds the old one or the new one, whole.

        :raises OSError: as :func:`train.files.replacing`
        """
        with replacing(path) as temporary:
            torch.save(asdict(self), temporary)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file."""
        return cls(**torch.load(path, map_location="cpu", weights_only=True))
