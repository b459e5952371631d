"""Checkpoints that an agent resumes from exactly: they also hold what an agent's zip lacks otherwise."""

import io
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import MaybeCallback
from torch import Tensor


class ResumableAlgorithm(OnPolicyAlgorithm):
    """An on-policy algorithm that resumes from its checkpoints as if it had never stopped, bit for bit on one CPU thread.

    ::

        agent.save_checkpoint(path)  # between an update and the next rollout, such as in a callback's _on_rollout_start

        agent = PrioritizedKLPPO.load(path, env=env)  # a new environment like the old one
        agent.resume()
        agent.learn(timesteps_left, reset_num_timesteps=False)
    """

    batch_rng: np.random.Generator
    """Draws the minibatches."""
    training_state: "TrainingState | None" = None
    """What :meth:`save_checkpoint` remembered; None again as soon as a rollout begins."""
    seconds_learned: float = 0.0
    """How long the agent had learned when its last update ended, interruptions aside; reset with the timesteps."""

    def save_checkpoint(self, path: str | Path | io.BufferedIOBase) -> None:
        """Save the agent with everything that :meth:`resume` needs.

        To be called between an update and the next rollout. Unlike ``save`` it needs lanes that give their random generators as
        ``np_random``, as Gymnasium's environments do, in this process (not in a ``SubprocVecEnv``).

        :param path: of the zip file, or an open binary file
        :raises AttributeError: if the lanes have no ``np_random``
        """
        self.training_state = TrainingState.of(self)
        self.save(path)

    def resume(self) -> None:
        """Restore what :meth:`save_checkpoint` remembered; the last thing to do before ``learn``.

        The agent must have its environment, which is reset here.

        :raises ValueError: if the agent was not loaded from such a checkpoint, or has learned since, or if its environment has
            another number of lanes
        """
        if self.training_state is None:
            raise ValueError(
                "training_state must be that of a checkpoint, but it is None: load a file that save_checkpoint wrote, or call "
                "learn without resume"
            )
        self.training_state.restore(self)

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        """As SB3's; if the timesteps continue, so do the clock and the row of the log that was begun."""
        result = super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)
        if reset_num_timesteps:
            self.seconds_learned = 0.0
        elif self.training_state is not None:
            self.training_state.restore_log(self.logger)
        self.start_time -= round(self.seconds_learned * 1e9)
        self._num_timesteps_at_start = 0
        return result


@dataclass(frozen=True)
class TrainingState:
    """Between an update and the next rollout: the states of all generators, and what waits to be logged."""

    python: Any
    numpy: Any
    torch: Tensor
    cuda: list[Tensor]
    minibatches: Mapping[str, Any]
    lanes: list[dict[str, Any]]
    logged: tuple[dict[str, Any], dict[str, int], dict[str, Any]]
    """What the logger will write at the end of the next rollout."""

    @classmethod
    def of(cls, agent: ResumableAlgorithm) -> Self:
        """The state now."""
        assert agent.env is not None
        return cls(
            random.getstate(),
            np.random.get_state(),
            torch.get_rng_state(),
            torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            agent.batch_rng.bit_generator.state,
            [generator.bit_generator.state for generator in agent.env.get_attr("np_random")],
            (dict(agent.logger.name_to_value), dict(agent.logger.name_to_count), dict(agent.logger.name_to_excluded)),
        )

    def restore(self, agent: ResumableAlgorithm) -> None:
        """Reset the environment and put all generators into this state.

        :raises ValueError: if the environment has another number of lanes
        """
        assert agent.env is not None
        if agent.env.num_envs != len(self.lanes):
            raise ValueError(
                f"env must have the checkpoint's number of lanes, {len(self.lanes)}, but it has {agent.env.num_envs}: change it"
            )
        # A new environment uses up its seeds at the first reset; `learn` must not reset it once more.
        agent._last_obs = agent.env.reset()  # type: ignore[assignment]
        for generator, state in zip(agent.env.get_attr("np_random"), self.lanes, strict=True):
            generator.bit_generator.state = state
        agent.batch_rng.bit_generator.state = self.minibatches
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.torch)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)

    def restore_log(self, logger: Logger) -> None:
        """Put back what waits to be logged."""
        values, counts, excluded = self.logged
        logger.name_to_value.update(values)
        logger.name_to_count.update(counts)
        logger.name_to_excluded.update(excluded)
