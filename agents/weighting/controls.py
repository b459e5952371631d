"""Controls: weightings that share something with another one, to find out what its effect is due to.

They are shapes over finished weights: :func:`shuffled` and :func:`inverted` keep the whole distribution and change only where
the weights are, :func:`constant_mean` keeps only how much is left of the term. :func:`oracle` is different: it replaces the
certainty's guess with the truth.
"""

from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from agents.weighting.signals import NotCritical
from agents.weighting.weightings import Weighting


@dataclass(frozen=True)
class Shuffle:
    """The values of the rollout in random order.

    The order is drawn from the seed and a checksum of the values: new in every rollout, yet the same whenever it is computed
    again, with no generator to keep and save.

    :param seed: >= 0
    """

    seed: int = 0

    def __call__(self, values: Tensor, mask: Tensor) -> Tensor:
        flat = values[mask]
        return _scatter(flat[_permutation(flat, self.seed)], values, mask)


@dataclass(frozen=True)
class ReverseRanks:
    """The smallest value goes where the largest was, and so on; equal ones are ranked at random, as in :class:`Shuffle`."""

    def __call__(self, values: Tensor, mask: Tensor) -> Tensor:
        flat = values[mask]
        order = _permutation(flat, seed=0)
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
    """The same weights on random completion tokens of the rollout: does it matter where they are?"""
    return Weighting(weighting, Shuffle(seed))


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


def _permutation(flat: Tensor, seed: int) -> Tensor:
    checksum = crc32(flat.cpu().numpy().tobytes())
    order = np.random.default_rng((seed, checksum)).permutation(len(flat))
    return torch.as_tensor(order, device=flat.device)


def _scatter(flat: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    return torch.zeros_like(values).masked_scatter(mask, flat)
