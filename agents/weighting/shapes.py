"""Shapes: how a signal becomes a weight.

A shape maps values ``(B, T)`` and the mask of completion tokens ``(B, T)`` to weights ``(B, T)``. Values outside the mask do
not enter; what is returned there does not matter.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from policies.checks import above, at_least, between


class Shape(Protocol):
    """A map from values to weights."""

    def __call__(self, values: Tensor, mask: Tensor) -> Tensor:
        """:param values: ``(B, T)`` :param mask: bool ``(B, T)`` :return: ``(B, T)``"""


@dataclass(frozen=True)
class Identity:
    """The values as they are."""

    def __call__(self, values: Tensor, mask: Tensor) -> Tensor:
        return values


@dataclass(frozen=True)
class Power:
    """``values ** exponent``, for values in [0, 1]. Exponent 0 gives exactly 1.

    :param exponent: beta >= 0
    :raises ValueError: if it is negative
    """

    exponent: float

    def __post_init__(self) -> None:
        at_least("exponent", self.exponent, 0, "0 weights all tokens alike")

    def __call__(self, values: Tensor, mask: Tensor) -> Tensor:
        return values**self.exponent


def calibrate_exponent(certainties: Tensor, quantile: float, weight: float) -> float:
    """The exponent beta with which the least certain tokens keep at most a given weight, ``log(weight) / log(J_q)``.

    J_q is the quantile of the certainties, so a share ``quantile`` of all tokens has ``J <= J_q`` and
    ``J**beta <= J_q**beta = weight``. Unlike a fixed beta it means the same for every certainty, vocabulary and temperature.

    J_q is kept within ``[1e-6, 1 - 1e-6]``, so beta is at most about a million. Where J_q is higher even the least certain
    tokens are certain, none is critical, and they keep more than ``weight``.

    :param certainties: J of all completion tokens of a rollout, ``(M,)``
    :param quantile: share of tokens to be released, in (0, 1)
    :param weight: what they may keep, in (0, 1)
    :return: beta > 0
    """
    j_q = min(max(float(certainties.quantile(quantile)), 1e-6), 1 - 1e-6)
    return math.log(weight) / math.log(j_q)


@dataclass(frozen=True)
class CalibratedPower:
    """``values ** beta`` with the beta of :func:`calibrate_exponent` for every rollout.

    :param quantile: share of tokens to be released, in (0, 1)
    :param weight: what they may keep, in (0, 1)
    :raises ValueError: if one of them is not
    """

    quantile: float = 0.05
    weight: float = 0.1

    def __post_init__(self) -> None:
        _check_quantile(self.quantile)
        between("weight", self.weight, 0, 1, "pass what the least certain tokens keep", ends="()")

    def __call__(self, values: Tensor, mask: Tensor) -> Tensor:
        return values ** calibrate_exponent(values[mask], self.quantile, self.weight)


@dataclass(frozen=True)
class QuantileMask:
    """One weight for values at or above a quantile, another for those below.

    :param quantile: in (0, 1); interpolated linearly
    :param below: weight of the tokens below it
    :param above: weight of the tokens at or above it, hence of all if all values are equal
    :param per_episode: whether every episode has a quantile of its own, instead of one for the rollout
    :raises ValueError: if the quantile is not in (0, 1)
    """

    quantile: float
    below: float = 0.0
    above: float = 1.0
    per_episode: bool = False

    def __post_init__(self) -> None:
        _check_quantile(self.quantile)

    def __call__(self, values: Tensor, mask: Tensor) -> Tensor:
        masked = values.masked_fill(~mask, math.nan)
        threshold = (
            masked.nanquantile(self.quantile, dim=1, keepdim=True) if self.per_episode else masked.nanquantile(self.quantile)
        )
        return torch.where(values >= threshold, self.above, self.below).to(values.dtype)


@dataclass(frozen=True)
class Sigmoid:
    """``sigmoid(values / scale)``.

    :param scale: > 0; the smaller, the closer to a step at 0
    :raises ValueError: if it is not positive
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        above("scale", self.scale)

    def __call__(self, values: Tensor, mask: Tensor) -> Tensor:
        return torch.sigmoid(values / self.scale)


@dataclass(frozen=True)
class Gaussian:
    """``exp(-values**2 / (2 sigma**2))``, sigma the standard deviation of the values of the rollout: extremes count less."""

    def __call__(self, values: Tensor, mask: Tensor) -> Tensor:
        sigma = values[mask].std(correction=0).clamp_min(torch.finfo(values.dtype).tiny)
        return torch.exp(-((values / sigma) ** 2) / 2)


@dataclass(frozen=True)
class Decay:
    """``exp(-k |values|)``, with the k for which the largest ``|value|`` of the rollout has the least weight; one below
    ``smallest`` counts as that, so that nothing is turned down where all values are small.

    :param least: in (0, 1)
    :param smallest: > 0
    :raises ValueError: if one of them is not
    """

    least: float
    smallest: float = 0.02

    def __post_init__(self) -> None:
        between("least", self.least, 0, 1, "pass the weight of the largest value", ends="()")
        above("smallest", self.smallest)

    def __call__(self, values: Tensor, mask: Tensor) -> Tensor:
        sizes = values.abs()
        return self.least ** (sizes / sizes[mask].max().clamp_min(self.smallest))


@dataclass(frozen=True)
class Linear:
    """``intercept + slope * values``."""

    slope: float
    intercept: float

    def __call__(self, values: Tensor, mask: Tensor) -> Tensor:
        return self.intercept + self.slope * values


def _check_quantile(quantile: float) -> None:
    between("quantile", quantile, 0, 1, "0.8 separates the highest fifth", ends="()")
