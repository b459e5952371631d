"""Stock Stable-Baselines3 ``PPO`` with the same GPT-2: it reads the whole text for every token."""

from typing import Any

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper

from addition_gym import PAD_TOKEN_ID, ScratchpadAddEnv
from benchmarks.episodes import Episodes
from policies import GPT2Policy

BATCH_SIZE = 64
"""Transitions of a minibatch, SB3's default."""


class SampledStates(VecEnvWrapper):
    """An environment that does its own work but shows given states one after another, so that a few steps stand for all.

    :param venv: does its work
    :param states: observations ``(steps, lanes, T)``
    """

    def __init__(self, venv: VecEnv, states: np.ndarray):
        super().__init__(venv)
        self.states, self.shown = states, 0

    def reset(self) -> np.ndarray:
        self.venv.reset()
        self.shown = 0
        return self.states[0]

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        _, rewards, dones, infos = self.venv.step_wait()
        self.shown = (self.shown + 1) % len(self.states)
        return self.states[self.shown], rewards, dones, infos


class Stock:
    """A few steps of a rollout, and a few minibatches of an update.

    A whole rollout would take minutes, so only some states of each episode are read. SB3 reads the last of them for its value
    alone, which hardly weighs in a whole rollout; here it counts as a token, and no lane ever idles: both favour stock SB3.

    :param episodes: whose states are shown
    :param progress: how far each episode is at each state, in [0, 1), ``(steps + 1, lanes)``
    :param batch_size: transitions of a minibatch
    :param digits: N
    :param device: where
    """

    def __init__(self, episodes: Episodes, progress: np.ndarray, batch_size: int, digits: int, device: str = "cpu"):
        self.lanes = len(episodes.tokens)
        self.steps = len(progress) - 1

        def make_env() -> ScratchpadAddEnv:
            return ScratchpadAddEnv(digits=digits + 1, pretrained_digits=digits, split="train")

        self.ppo = PPO(
            GPT2Policy,
            SampledStates(DummyVecEnv([make_env] * self.lanes), episodes.states(progress)),
            learning_rate=0.0,
            n_steps=self.steps,
            batch_size=batch_size,
            n_epochs=1,
            policy_kwargs={"pretrained": "tiny", "pad_token_id": PAD_TOKEN_ID},
            seed=0,
            device=device,
        )
        self.ppo.set_logger(configure(None, []))
        self.callback: BaseCallback
        _, self.callback = self.ppo._setup_learn(1)

    def rollout(self) -> int:
        """Read every sampled state once. :return: completion tokens"""
        assert self.ppo.env is not None
        self.ppo.collect_rollouts(self.ppo.env, self.callback, self.ppo.rollout_buffer, self.steps)
        return (self.steps + 1) * self.lanes

    def update(self) -> int:
        """One epoch over the sampled transitions. :return: completion tokens"""
        self.ppo.train()
        return self.steps * self.lanes


def stock_rollout(episodes: Episodes, states: int, digits: int, device: str) -> Stock:
    """Ready for a rollout: states evenly spread over the episodes, all lanes in step."""
    lanes = len(episodes.tokens)
    progress = np.repeat((np.arange(states)[:, None] + 0.5) / states, lanes, axis=1)
    return Stock(episodes, progress, (states - 1) * lanes, digits, device)


def stock_update(episodes: Episodes, transitions: int, digits: int, device: str) -> Stock:
    """Ready for an update: transitions from anywhere in the episodes, as in SB3's shuffled buffer."""
    lanes = len(episodes.tokens)
    progress = np.random.default_rng(0).random((-(-transitions // lanes) + 1, lanes))
    stock = Stock(episodes, progress, min(BATCH_SIZE, transitions), digits, device)
    stock.rollout()
    return stock
