"""Whole episodes of a token-level environment, padded right."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class EpisodeBatch(NamedTuple):
    """Some whole episodes. M is the number of actions in them; vectors are in row-major order of ``mask``."""

    tokens: Tensor
    """Prompt and completion, int64 ``(B, T)``, cut to the longest of the batch."""
    mask: Tensor
    """Bool ``(B, T)``: True at the last token of every state in which an action was taken."""
    actions: Tensor
    """The token chosen in each of these states, int64 ``(M,)``."""
    old_log_prob: Tensor
    old_values: Tensor
    advantages: Tensor
    returns: Tensor
    reference_log_probs: Tensor
    """``(M, V)``"""
    weights: Tensor
    """Weight of the KL penalty, ``(M,)``."""


class EpisodeBuffer:
    """Tokens, log-probabilities, values and rewards of E episodes of up to T tokens.

    Position t of a row is the *state* whose last token is ``tokens[:, t]``; ``actions``, ``rewards`` and all else at t belong
    to the action taken in that state. ``mask`` is True where an action was taken.

    :param n_episodes: E
    :param max_tokens: T
    :param vocab_size: V
    :param pad_token_id: fills what is unused
    :param gamma: discount
    :param gae_lambda: lambda of generalised advantage estimation
    :param device: where minibatches are wanted
    """

    def __init__(
        self,
        n_episodes: int,
        max_tokens: int,
        vocab_size: int,
        pad_token_id: int,
        gamma: float,
        gae_lambda: float,
        device: torch.device | str = "cpu",
    ):
        self.n_episodes, self.max_tokens, self.vocab_size = n_episodes, max_tokens, vocab_size
        self.pad_token_id, self.gamma, self.gae_lambda, self.device = pad_token_id, gamma, gae_lambda, device
        self.reset()

    def reset(self) -> None:
        """Empty the buffer."""
        shape = (self.n_episodes, self.max_tokens)
        self.tokens = np.full(shape, self.pad_token_id, dtype=np.int64)
        self.mask = np.zeros(shape, dtype=np.bool_)
        self.actions = np.zeros(shape, dtype=np.int64)
        self.log_probs, self.values, self.rewards, self.advantages, self.returns, self.weights = (
            np.zeros(shape, dtype=np.float32) for _ in range(6)
        )
        self.reference_log_probs = np.zeros((*shape, self.vocab_size), dtype=np.float32)

    def add(
        self,
        episodes: np.ndarray,
        obs: np.ndarray,
        actions: np.ndarray,
        rewards: np.ndarray,
        values: np.ndarray,
        log_probs: np.ndarray,
    ) -> None:
        """Store one step of some episodes.

        :param episodes: which, int ``(b,)``, without repeats
        :param obs: the states, token ids ``(b, T)``
        :param actions: ``(b,)``; likewise ``rewards``, ``values`` and ``log_probs``
        """
        positions = np.maximum((obs != self.pad_token_id).sum(axis=1), 1) - 1
        self.tokens[episodes] = obs
        self.mask[episodes, positions] = True
        self.actions[episodes, positions] = actions
        self.rewards[episodes, positions] = rewards
        self.values[episodes, positions] = values
        self.log_probs[episodes, positions] = log_probs

    def compute_returns_and_advantage(self) -> None:
        """Generalised advantage estimation (Schulman et al. 2016) of every episode; each ends with value 0.

        A truncated episode's last reward must already hold the discounted value of the state it was cut at.
        """
        next_value = np.zeros(self.n_episodes, dtype=np.float32)
        next_advantage = np.zeros(self.n_episodes, dtype=np.float32)
        for t in reversed(range(self.max_tokens)):
            taken = self.mask[:, t]
            delta = self.rewards[:, t] + self.gamma * next_value - self.values[:, t]
            advantage = delta + self.gamma * self.gae_lambda * next_advantage
            self.advantages[taken, t] = advantage[taken]
            next_advantage = np.where(taken, advantage, next_advantage)
            next_value = np.where(taken, self.values[:, t], next_value)
        self.returns[self.mask] = self.advantages[self.mask] + self.values[self.mask]

    def normalize_advantages(self) -> None:
        """Shift and scale the advantages of all actions together to mean 0 and standard deviation 1."""
        advantages = self.advantages[self.mask]
        self.advantages[self.mask] = (advantages - advantages.mean()) / (advantages.std() + 1e-8)

    def batches(self, batch_size: int, rng: np.random.Generator | None = None) -> Iterator[EpisodeBatch]:
        """All episodes once, ``batch_size`` at a time, episodes of similar length together.

        :param batch_size: whole episodes in a minibatch; the last may have fewer
        :param rng: shuffles episodes of equal length, and the order of the minibatches; None keeps the order by length
        """
        lengths = self.mask.shape[1] - self.mask[:, ::-1].argmax(axis=1)
        ties = np.arange(self.n_episodes) if rng is None else rng.permutation(self.n_episodes)
        order = np.lexsort((ties, lengths))
        chunks = [order[start : start + batch_size] for start in range(0, self.n_episodes, batch_size)]
        if rng is not None:
            rng.shuffle(chunks)
        for rows in chunks:
            yield self.batch(rows, int(lengths[rows].max()))

    def batch(self, rows: np.ndarray, length: int) -> EpisodeBatch:
        """Some episodes as tensors. :param rows: which, int ``(B,)``; :param length: T of the batch"""
        mask = self.mask[rows, :length]

        def tensor(array: np.ndarray) -> Tensor:
            return torch.as_tensor(array, device=self.device)

        def taken(array: np.ndarray) -> Tensor:
            return tensor(array[rows, :length][mask])

        return EpisodeBatch(
            tokens=tensor(self.tokens[rows, :length]),
            mask=tensor(mask),
            actions=taken(self.actions),
            old_log_prob=taken(self.log_probs),
            old_values=taken(self.values),
            advantages=taken(self.advantages),
            returns=taken(self.returns),
            reference_log_probs=taken(self.reference_log_probs),
            weights=taken(self.weights),
        )
