"""What an agent's zip lacks for an exact continuation: the states of all generators, and what waits to be logged."""

import random
import time
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor


@dataclass(frozen=True)
class TrainingState:
    """Between an update and the next rollout. It is saved within the agent's zip.

    The lanes of the environment must give their generators as ``np_random``, as Gymnasium's environments do, in this process
    (not in a ``SubprocVecEnv``).
    """

    python: Any
    numpy: Any
    torch: Tensor
    cuda: list[Tensor]
    minibatches: dict[str, Any]
    lanes: list[dict[str, Any]]
    logged: tuple[dict[str, Any], dict[str, int], dict[str, Any]]
    """What the logger will write at the end of the next rollout."""
    seconds: float = 0.0
    """How long the agent has learned, interruptions aside."""

    @classmethod
    def of(cls, agent: BaseAlgorithm) -> Self:
        """The state now."""
        assert agent.env is not None
        return cls(
            random.getstate(),
            np.random.get_state(),
            torch.get_rng_state(),
            torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            agent.batch_rng.bit_generator.state,  # type: ignore[attr-defined]
            [generator.bit_generator.state for generator in agent.env.get_attr("np_random")],
            (dict(agent.logger.name_to_value), dict(agent.logger.name_to_count), dict(agent.logger.name_to_excluded)),
            (time.time_ns() - agent.start_time) / 1e9,
        )

    def restore(self, agent: BaseAlgorithm) -> None:
        """Go on from this state; the last thing to do before ``learn``."""
        assert agent.env is not None
        agent.env.reset()  # uses up the seeds that a new environment was given
        values, counts, excluded = self.logged
        agent.logger.name_to_value.update(values)
        agent.logger.name_to_count.update(counts)
        agent.logger.name_to_excluded.update(excluded)
        for generator, state in zip(agent.env.get_attr("np_random"), self.lanes, strict=True):
            generator.bit_generator.state = state
        agent.batch_rng.bit_generator.state = self.minibatches  # type: ignore[attr-defined]
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.torch)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)
