"""What an agent's zip lacks otherwise, for resuming exactly: the states of all generators, and what waits to be logged."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor


@dataclass(frozen=True)
class TrainingState:
    """Between an update and the next rollout; see :meth:`agents.episodic_algorithm.EpisodicAlgorithm.save_checkpoint`."""

    python: Any
    numpy: Any
    torch: Tensor
    cuda: list[Tensor]
    minibatches: Mapping[str, Any]
    sampling: Mapping[str, Any]
    lanes: list[dict[str, Any]]
    logged: tuple[dict[str, Any], dict[str, int], dict[str, Any]]
    """What the logger will write at the end of the next rollout."""

    @classmethod
    def of(cls, agent: OnPolicyAlgorithm) -> Self:
        """The state now. :raises ValueError: if the agent has no environment, or has not begun to learn"""
        env = _env_of(agent)
        if not hasattr(agent, "_logger"):
            raise ValueError(
                "a checkpoint must be of an agent that has begun to learn, but this one has no logger yet: call learn first, "
                "or save it with save"
            )
        return cls(
            random.getstate(),
            np.random.get_state(),
            torch.get_rng_state(),
            torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            agent.batch_rng.bit_generator.state,  # type: ignore[attr-defined]
            agent.sampling_rng.bit_generator.state,  # type: ignore[attr-defined]
            [generator.bit_generator.state for generator in env.get_attr("np_random")],
            (dict(agent.logger.name_to_value), dict(agent.logger.name_to_count), dict(agent.logger.name_to_excluded)),
        )

    def restore(self, agent: OnPolicyAlgorithm) -> None:
        """Reset the environment and put all generators into this state.

        :raises ValueError: if the agent has no environment, or one with another number of lanes
        """
        env = _env_of(agent)
        if env.num_envs != len(self.lanes):
            raise ValueError(
                f"env must have the checkpoint's number of lanes, {len(self.lanes)}, but it has {env.num_envs}: make it "
                "with as many"
            )
        # A new environment uses up its seeds at the first reset; `learn` must not reset it once more.
        agent._last_obs = env.reset()  # type: ignore[assignment]
        for generator, state in zip(env.get_attr("np_random"), self.lanes, strict=True):
            generator.bit_generator.state = state
        agent.batch_rng.bit_generator.state = self.minibatches  # type: ignore[attr-defined]
        agent.sampling_rng.bit_generator.state = self.sampling  # type: ignore[attr-defined]
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


def _env_of(agent: OnPolicyAlgorithm) -> VecEnv:
    if agent.env is None:
        raise ValueError("env must be that of the run, but it is None: call set_env, or load the agent with env")
    return agent.env
