"""Checkpoints of pre-training, read without running any code."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from policies.safe_files import read_torch


@dataclass(frozen=True)
class Checkpoint:
    """All that lasts beyond a step; the data are drawn again from their seed."""

    stage: str
    """Name of the stage."""
    steps_done: int
    """Optimizer steps of that stage."""
    model: dict[str, Any]
    optimizers: list[dict[str, Any]]
    average: dict[str, Any]
    """Of the weights."""

    @classmethod
    def of(
        cls, stage: str, steps_done: int, model: nn.Module, optimizers: list[torch.optim.Optimizer], average: nn.Module
    ) -> Self:
        """What there is now."""
        states = [optimizer.state_dict() for optimizer in optimizers]
        return cls(stage, steps_done, model.state_dict(), states, average.state_dict())

    def restore(self, model: nn.Module, optimizers: list[torch.optim.Optimizer], average: nn.Module) -> None:
        """Put model, optimizers and average where they were.

        :raises ValueError: if the checkpoint is that of another model or of other optimizers
        """
        try:
            model.load_state_dict(self.model)
            average.load_state_dict(self.average)
            for optimizer, state in zip(optimizers, self.optimizers, strict=True):
                optimizer.load_state_dict(state)
        except Exception as error:  # torch raises anything on a state that is not its own
            raise ValueError(
                f"checkpoint must be one of this model and these optimizers, but it is not: start the run again ({error})"
            ) from error

    def save(self, path: Path) -> None:
        """Write the file."""
        torch.save(asdict(self), path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file.

        :raises ValueError: if it is damaged, or no checkpoint of pre-training
        """
        content = read_torch(path, "checkpoint")
        types = {"stage": str, "steps_done": int, "model": dict, "optimizers": list, "average": dict}
        if content.keys() != types.keys() or not all(isinstance(content[name], kind) for name, kind in types.items()):
            raise ValueError(
                f"checkpoint must hold {', '.join(types)}, but {str(path)!r} does not: remove it to start the run again"
            )
        return cls(**content)
