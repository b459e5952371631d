"""Controls: weightings that share something with another one, to find out what its effect is due to.

They work on finished weights: :func:`shuffled` and :func:`inverted` keep the whole distribution and change only where the
weights are, :func:`constant_mean` keeps only how much is left of the term. :func:`oracle` is different: it replaces the
certainty's guess with the truth.
"""

from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from agents.weighting.signals import NotCritical
from agents.weighting.token_batch import TokenBatch
from agents.weighting.weightings import Weighting

CONTEXT = 4
"""So many tokens before a token say where it is."""


@dataclass(frozen=True)
class Shuffle:
    """The weights of the rollout at other places, which are the same ones in every rollout: a signal.

    A place is the last :data:`CONTEXT` tokens before a token, as far as the completion has so many. Every place has a random
    number, drawn from it and the seed; the token whose place has the smallest gets the smallest weight of the rollout, and so
    on. So the same places stay free of the term, as far as rollouts have the same weights, in all runs.

    :param weighting: whose weights
    :param seed: >= 0; another one frees other places
    """

    weighting: Weighting
    seed: int = 0

    @property
    def action_dependent(self) -> bool:
        """Whether the weights, apart from their places, depend on the sampled actions."""
        return self.weighting.action_dependent

    @property
    def reads_old_logits(self) -> bool:
        """Whether the weighting does."""
        return self.weighting.reads_old_logits

    def __call__(self, batch: TokenBatch) -> Tensor:
        weights = self.weighting(batch)
        flat = weights[batch.mask]
        shuffled = torch.empty_like(flat)
        shuffled[self._numbers(batch).argsort(stable=True)] = flat.sort().values
        return _scatter(shuffled, weights, batch.mask)

    def _numbers(self, batch: TokenBatch) -> Tensor:
        """The random number of every completion token's place, ``(M,)``."""
        written = (batch.actions + 1).masked_fill(~batch.mask, 0)  # 0 where there is no token of the completion
        before = pad(written, (CONTEXT, 0)).unfold(1, CONTEXT, 1)[:, :-1]  # (B, T, CONTEXT)
        places, of_token = before[batch.mask].unique(dim=0, return_inverse=True)
        numbers = [np.random.default_rng([self.seed, *place]).random() for place in places.tolist()]
        return torch.tensor(numbers, device=batch.mask.device)[of_token]


@dataclass(frozen=True)
class ReverseRanks:
    """The smallest value goes where the largest was, and so on; equal ones are ranked at random."""

    def __call__(self, values: Tensor, mask: Tensor) -> Tensor:
        flat = values[mask]
        order = _permutation(flat)
        order = order[flat[order].argsort(stable=True)]
        reversed_ranks = torch.empty_like(flat)
        reversed_ranks[order] = flat[order].flip(0)
        return _scatter(reversed_ranks, values, mask)


@dataclass(frozen=True)
class Mean:
    """The mean of the values of the rollout, everywhere."""

    def __call__(self, values: Tensor, mask: Tensor) -> Tensor:
        return values[mask].mean().expand_as(values)


def shuffled(weighting: Weighting, seed: int = 0) -> Weighting:
    """The same weights at random places, the same ones in every rollout: does it matter where they are?"""
    return Weighting(Shuffle(weighting, seed))


def constant_mean(weighting: Weighting) -> Weighting:
    """Their mean everywhere: is it only that there is less penalty?"""
    return Weighting(weighting, Mean())


def inverted(weighting: Weighting) -> Weighting:
    """The same weights with their ranks reversed: does the opposite hurt?

    ``1 - w`` would change the mean and the distribution too, and could not be told from a change of ``kl_coef``.
    """
    return Weighting(weighting, ReverseRanks())


def oracle() -> Weighting:
    """0 on the environment's critical tokens, 1 elsewhere: how well could any signal do?

    It raises ValueError on a rollout whose environment does not report its critical tokens.
    """
    return Weighting(NotCritical())


def _permutation(flat: Tensor) -> Tensor:
    """Random, from a checksum of the values: the same whenever it is computed again, with no generator to keep and save."""
    order = np.random.default_rng(crc32(flat.cpu().numpy().tobytes())).permutation(len(flat))
    return torch.as_tensor(order, device=flat.device)


def _scatter(flat: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    return torch.zeros_like(values).masked_scatter(mask, flat)
