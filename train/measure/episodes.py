"""Success in episodes of any token-level environment."""

from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.evaluation import evaluate_policy

from agents import PrioritizedKLPPO, VectorEnvAdapter
from train.measure.accuracy import Accuracy
from train.run.meter import Advance, unseen

SUCCESS = "success"
"""The kind of such an accuracy."""


def play(
    agent: PrioritizedKLPPO, env: gym.vector.VectorEnv, n_episodes: int, seed: int = 0, advance: Advance = unseen
) -> Accuracy:
    """Let an agent play episodes greedily.

    An episode succeeds if its last ``info`` says ``is_success``, or, where it does not say, if its return is positive.

    :param agent: what is measured
    :param env: in which; resets in the same step
    :param n_episodes: how many
    :param seed: of the environment
    :param advance: is told how many more are played
    """
    lanes = VectorEnvAdapter(env)
    lanes.seed(seed)
    said: list[bool] = []

    def ended(variables: dict[str, Any], _: dict[str, Any]) -> None:
        if variables["done"]:
            advance(1)
            if "is_success" in variables["info"]:
                said.append(bool(variables["info"]["is_success"]))

    returns, _ = evaluate_policy(agent, lanes, n_episodes, callback=ended, return_episode_rewards=True, warn=False)
    successes = said or list(np.asarray(returns) > 0)
    return Accuracy(SUCCESS, int(np.sum(successes[:n_episodes])), n_episodes)
