"""Whole episodes of a token-level environment, padded right."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.health import check_finite
from agents.weighting.token_batch import TokenBatch
from agents.weighting.token_weights import SLOTS


class EpisodeBatch(NamedTuple):
    """Some whole episodes. M is the number of actions in them; vectors are in row-major order of ``mask``."""

    rows: np.ndarray
    """Which episodes of the buffer, int ``(B,)``."""
    tokens: Tensor
    """Prompt and completion, int64 ``(B, T)``, cut to the longest of the batch."""
    mask: Tensor
    """Bool ``(B, T)``: True at the last token of every state in which an action was taken."""
    actions: Tensor
    """The token chosen in each of these states, int64 ``(M,)``."""
    old_log_prob: Tensor
    advantages: Tensor
    returns: Tensor
    reference_logits: Tensor
    """Of the reference, before the softmax temperature, ``(M, V)``."""
    old_logits: Tensor | None
    """Of the policy that sampled the actions, likewise; None if they were not kept."""
    weights: dict[str, Tensor]
    """Weights of the terms of the loss, each ``(M,)``, by the slots of :class:`agents.weighting.TokenWeights`."""


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
    :param device: where batches are wanted
    :param keep_old_logits: whether the policy's logits stay; they take as much memory as the reference's
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
        keep_old_logits: bool = True,
    ):
        self.n_episodes, self.max_tokens, self.vocab_size = n_episodes, max_tokens, vocab_size
        self.pad_token_id, self.gamma, self.gae_lambda, self.device = pad_token_id, gamma, gae_lambda, device
        self.keep_old_logits = keep_old_logits
        self.reset()

    def reset(self) -> None:
        """Empty the buffer."""
        shape = (self.n_episodes, self.max_tokens)
        self.tokens = np.full(shape, self.pad_token_id, dtype=np.int64)
        self.mask = np.zeros(shape, dtype=np.bool_)
        self.actions = np.zeros(shape, dtype=np.int64)
        self.log_probs, self.values, self.rewards, self.advantages, self.returns = (
            np.zeros(shape, dtype=np.float32) for _ in range(5)
        )
        self.weights = {slot: np.ones(shape, dtype=np.float32) for slot in SLOTS}
        self.critical_tokens: np.ndarray | None = None
        self.problem_classes: list[str | None] = [None] * self.n_episodes
        self.reference_logits = np.zeros((*shape, self.vocab_size), dtype=np.float32)
        self.old_logits = np.zeros((*shape, self.vocab_size), dtype=np.float32) if self.keep_old_logits else None

    def add(
        self,
        episodes: np.ndarray,
        obs: np.ndarray,
        actions: np.ndarray,
        rewards: np.ndarray,
        values: np.ndarray,
        log_probs: np.ndarray,
        logits: np.ndarray | None,
    ) -> None:
        """Store one step of some episodes.

        :param episodes: which, int ``(b,)``, without repeats
        :param obs: the states, token ids ``(b, T)``
        :param actions: ``(b,)``; likewise ``rewards``
        :param values: of the states, ``(b,)``
        :param log_probs: of the actions, ``(b,)``
        :param logits: of the policy, before the softmax temperature, ``(b, V)``; only read if they are kept
        """
        positions = np.maximum((obs != self.pad_token_id).sum(axis=1), 1) - 1
        self.tokens[episodes] = obs
        self.mask[episodes, positions] = True
        self.actions[episodes, positions] = actions
        self.rewards[episodes, positions] = rewards
        self.values[episodes, positions] = values
        self.log_probs[episodes, positions] = log_probs
        if self.old_logits is not None:
            self.old_logits[episodes, positions] = logits

    def mark_critical(self, episode: int, indices: Sequence[int]) -> None:
        """Store which tokens of an episode's text the environment says are critical.

        :param indices: of these tokens in the text, prompt included
        """
        if self.critical_tokens is None:
            self.critical_tokens = np.zeros_like(self.mask)
        self.critical_tokens[episode, np.asarray(indices, dtype=np.int64) - 1] = True

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

    def check_finite(self) -> None:
        """:raises FloatingPointError: if anything that an update reads is NaN or infinite"""
        names = ("rewards", "values", "old_logits", "log_probs", "reference_logits", "returns", "advantages")
        check_finite({name: values for name in names if (values := getattr(self, name)) is not None})

    def minibatches(self, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """All episodes once, shuffled. :return: rows, ``batch_size`` at a time; the last may be fewer"""
        order = rng.permutation(self.n_episodes)
        for start in range(0, self.n_episodes, batch_size):
            yield order[start : start + batch_size]

    def batches(self, rows: np.ndarray, max_batch_tokens: int) -> Iterator[EpisodeBatch]:
        """Some episodes in pieces that fit into memory, episodes of similar length together.

        :param rows: which, int ``(B,)``
        :param max_batch_tokens: most tokens of a piece, padding included; a longer episode is a piece of its own
        """
        lengths = self.lengths()[rows]
        order = np.argsort(lengths, kind="stable")
        start = 0
        for end in range(1, len(rows) + 1):
            if end == len(rows) or (end + 1 - start) * lengths[order[end]] > max_batch_tokens:
                yield self.batch(rows[order[start:end]], int(lengths[order[end - 1]]))
                start = end

    def lengths(self) -> np.ndarray:
        """How many positions of each episode are needed, up to the last state in which an action was taken, ``(E,)``."""
        return self.max_tokens - self.mask[:, ::-1].argmax(axis=1)

    def batch(self, rows: np.ndarray, length: int) -> EpisodeBatch:
        """Some episodes as tensors. :param rows: which, int ``(B,)``; :param length: T of the batch"""
        mask = self.mask[rows, :length]

        def taken(array: np.ndarray) -> Tensor:
            return self._tensor(array[rows, :length][mask])

        return EpisodeBatch(
            rows=rows,
            tokens=self._tensor(self.tokens[rows, :length]),
            mask=self._tensor(mask),
            actions=taken(self.actions),
            old_log_prob=taken(self.log_probs),
            advantages=taken(self.advantages),
            returns=taken(self.returns),
            reference_logits=taken(self.reference_logits),
            old_logits=None if self.old_logits is None else taken(self.old_logits),
            weights={slot: taken(weights) for slot, weights in self.weights.items()},
        )

    def token_batch(self, temperature: float) -> TokenBatch:
        """The whole rollout, as token weights see it. :param temperature: softmax temperature of policy and reference"""
        return TokenBatch(
            old_logits=None if self.old_logits is None else self._tensor(self.old_logits),
            reference_logits=self._tensor(self.reference_logits),
            actions=self._tensor(self.actions),
            old_log_prob=self._tensor(self.log_probs),
            advantages=self._tensor(self.advantages),
            mask=self._tensor(self.mask),
            critical_tokens=None if self.critical_tokens is None else self._tensor(self.critical_tokens),
            temperature=temperature,
        )

    def put(self, array: np.ndarray, batch: EpisodeBatch, values: Tensor) -> None:
        """Write what was computed for a batch into one of the buffer's arrays.

        :param array: ``(E, T)`` or ``(E, T, V)``
        :param values: ``(M,)`` or ``(M, V)``, in row-major order of ``batch.mask``
        """
        episodes, positions = np.nonzero(self.mask[batch.rows])
        array[batch.rows[episodes], positions] = values.cpu().numpy()

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, device=self.device)
