"""Statistics over runs, as in Agarwal et al. (2021), "Deep RL at the edge of the statistical precipice", arXiv:2108.13264.

A *run* is one number, such as the accuracy that one seed gained. Bootstrap intervals are percentile intervals; with five runs
they are too narrow (``docs/matched_budget.md`` says by how much), with ten nearly right. t intervals are right for any number
of runs that are normal. Fewer than :data:`FEWEST_RUNS` runs have no interval: that of three is the range of the sample.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

RESAMPLES = 10_000
FEWEST_RUNS = 5
"""That have an interval."""
MOST_ENUMERATED = 20
"""Runs whose signs are flipped in all ways."""
SAMPLED_SIGNS = 100_000
"""Ways of flipping the signs of more runs."""

Statistic = Callable[..., NDArray[np.float64]]
"""From arrays of runs to a number, along the keyword argument ``axis``."""


@dataclass(frozen=True)
class Estimate:
    """A statistic of the runs and its 95% interval, NaN where there are too few runs for one."""

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        """The value and its interval; ``spec`` is that of each number. What rounds to zero has no minus sign."""
        return f"{self.value:{spec.replace('.', 'z.')}} {self.interval(spec)}".rstrip()

    def interval(self, spec: str) -> str:
        """The interval alone, empty if there is none."""
        spec = spec.replace(".", "z.")
        return "" if math.isnan(self.low) else f"[{self.low:{spec}}, {self.high:{spec}}]"


def bootstrap(statistic: Statistic, *strata: ArrayLike, seed: int = 0) -> Estimate:
    """Stratified bootstrap: runs are drawn with replacement within each stratum; the interval is the percentile one.

    :param statistic: takes the strata as positional arguments, and ``axis``
    :param strata: one or more tasks (or arms), ``(n_runs,)`` each
    :param seed: of the resampling
    :raises ValueError: if a stratum is not one-dimensional, or is empty
    """
    samples = [np.asarray(stratum, dtype=np.float64) for stratum in strata]
    for sample in samples:
        if sample.ndim != 1 or not len(sample):
            raise ValueError(f"strata must be (n_runs,) with n_runs >= 1, but one is {sample.shape}: pass one array a task")
    value = float(statistic(*samples, axis=-1))
    if any(len(sample) < FEWEST_RUNS for sample in samples):
        return Estimate(value, math.nan, math.nan)
    interval = stats.bootstrap(
        samples, statistic, n_resamples=RESAMPLES, vectorized=True, method="percentile", rng=np.random.default_rng(seed)
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high))


def mean(*strata: ArrayLike, seed: int = 0) -> Estimate:
    """Mean of all runs. Parameters and errors are those of :func:`bootstrap`."""
    return bootstrap(lambda *samples, axis: np.concatenate(samples, axis).mean(axis), *strata, seed=seed)


def t_mean(runs: ArrayLike) -> Estimate:
    """Mean with its 95% t interval, which assumes that runs are normal; of ``x - y`` it is that of the paired t test.

    :param runs: ``(n_runs,)``, n_runs >= 1
    """
    sample = np.asarray(runs, dtype=np.float64)
    value = float(sample.mean())
    if len(sample) < FEWEST_RUNS:
        return Estimate(value, math.nan, math.nan)
    half = float(stats.t.ppf(0.975, len(sample) - 1) * stats.sem(sample))
    return Estimate(value, value - half, value + half)


def detectable(differences: ArrayLike, power: float = 0.8) -> float:
    """The true mean that the two-sided paired t test at 0.05 finds so often, if differences spread as these do.

    By the noncentral t distribution (Cohen 1988, section 2.2); findings of the wrong sign do not count.

    :param differences: of paired runs, ``(n_runs,)``
    :param power: in (0.05, 0.99)
    :return: > 0, in their unit; NaN for fewer than :data:`FEWEST_RUNS`
    """
    sample = np.asarray(differences, dtype=np.float64)
    if len(sample) < FEWEST_RUNS:
        return math.nan
    free = len(sample) - 1
    bound = stats.t.ppf(0.975, free)

    shift = optimize.brentq(lambda shift: stats.nct.sf(bound, free, shift) - power, 0, 10)
    return float(shift * stats.sem(sample))


def sign_flip_p(differences: ArrayLike, seed: int = 0) -> float:
    """Two-sided p of the sign-flip test that differences are symmetric about 0: the share of all ways to choose their signs
    whose mean is at least as far from 0. Exact for up to :data:`MOST_ENUMERATED` runs; for more, signs are sampled.

    With n runs it is at least ``2 / 2**n``: five runs cannot reach 0.05.

    :param differences: of paired runs, ``(n_runs,)``, n_runs >= 1
    :param seed: of the sampling
    :return: in (0, 1]
    """
    flipped = np.abs(np.asarray(differences, dtype=np.float64))
    observed = abs(np.sum(differences))
    if len(flipped) <= MOST_ENUMERATED:
        sums = np.zeros(1)
        for difference in flipped:
            sums = np.concatenate([sums + difference, sums - difference])
    else:
        rng = np.random.default_rng(seed)
        sums = np.array([flipped @ rng.choice([-1, 1], len(flipped)) for _ in range(SAMPLED_SIGNS)])
        sums = np.append(sums, observed)  # the signs that were found are one of the ways
    return float(np.mean(np.abs(sums) >= observed * (1 - 1e-12)))


def paired_p(differences: ArrayLike) -> float:
    """:func:`sign_flip_p` where there is an interval beside it: NaN for fewer than :data:`FEWEST_RUNS`."""
    return sign_flip_p(differences) if len(np.asarray(differences)) >= FEWEST_RUNS else math.nan


def interquartile_mean(*strata: ArrayLike, seed: int = 0) -> Estimate:
    """Mean of the middle half of all runs of all tasks (IQM). Parameters and errors are those of :func:`bootstrap`."""
    return bootstrap(lambda *samples, axis: stats.trim_mean(np.concatenate(samples, axis), 0.25, axis=axis), *strata, seed=seed)


def paired_difference(x: ArrayLike, y: ArrayLike, seed: int = 0) -> Estimate:
    """Mean of ``x - y`` over seeds that both share; a seed is drawn with both of its runs.

    :param x: ``(n_seeds,)``
    :param y: ``(n_seeds,)``, the same seeds in the same order
    :param seed: of the resampling
    :raises ValueError: if the shapes differ, or there is no seed
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.shape != y.shape:
        raise ValueError(f"x and y must hold the same seeds, but they are {x.shape} and {y.shape}: leave out unpaired runs")
    return mean(x - y, seed=seed)


def probability_of_improvement(x: ArrayLike, y: ArrayLike, seed: int = 0) -> Estimate:
    """Probability that a run of X is better than a run of Y, over all pairs, ties counted half (Mann-Whitney's U / nm).

    :param x: ``(n_runs,)``
    :param y: ``(m_runs,)``; the runs of each are drawn separately
    :param seed: of the resampling
    :raises ValueError: as :func:`bootstrap`
    """

    def share_won(x: NDArray[np.float64], y: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return (0.5 + 0.5 * np.sign(x[..., :, None] - y[..., None, :])).mean((-2, -1))

    return bootstrap(share_won, x, y, seed=seed)
