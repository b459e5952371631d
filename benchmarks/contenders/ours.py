"""``PrioritizedKLPPO``, one rollout or one update at a time."""

import sys

import numpy as np
from stable_baselines3.common.logger import configure

from benchmarks.episodes import Episodes
from train.finetuning.arguments import PPOArgs
from train.finetuning.finetune import make_agent


class Ours:
    """The agent of ``python -m train.ppo``, except that its learning rates are 0, so that every repeat does the same work.

    :param lanes: of the environment; a rollout is one episode a lane
    :param digits: N; the problems have N+1
    :param pretrained: the bundled model, or a folder
    :param device: where
    :param batch_size: episodes of a minibatch, at most
    """

    def __init__(self, lanes: int, digits: int, pretrained: str = "tiny", device: str = "cpu", batch_size: int = 8):
        args = PPOArgs(
            pretrained=pretrained,
            pretrained_digits=digits,
            n_envs=lanes,
            n_episodes=lanes,
            batch_size=min(batch_size, lanes),
            learning_rate=0.0,
            value_learning_rate=0.0,
            device=device,
        )
        self.agent = make_agent(args)
        self.agent.set_logger(configure(None, []))
        _, self.callback = self.agent._setup_learn(sys.maxsize)
        self.callback.on_training_start({}, {})

    def rollout(self) -> int:
        """Whole episodes, the same ones every time. :return: completion tokens"""
        assert self.agent.env is not None
        self.agent.set_random_seed(0)
        buffer = self.agent.rollout_buffer
        self.agent.policy.set_training_mode(False)
        buffer.reset()
        self.agent._play_episodes(self.agent.env, self.callback, buffer)
        return int(buffer.mask.sum())

    def update(self) -> int:
        """Learn from the last rollout, reference logits and token weights included. :return: completion tokens"""
        self.agent._finish_rollout(self.agent.rollout_buffer)
        self.agent.train()
        return int(self.agent.rollout_buffer.mask.sum())

    @property
    def episodes(self) -> Episodes:
        """Those of the last rollout."""
        buffer = self.agent.rollout_buffer
        return Episodes(np.array(buffer.tokens), np.array(buffer.mask))
