"""Statistics over runs, as in Agarwal et al. (2021), "Deep RL at the edge of the statistical precipice", arXiv:2108.13264.

A *run* is one number, such as the accuracy that one seed gained. Intervals are percentile bootstrap intervals; with five runs
they are too narrow (``docs/matched_budget.md`` says by how much), with ten nearly right.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

RESAMPLES = 10_000

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
        spec = spec.replace(".", "z.")
        interval = "" if math.isnan(self.low) else f" [{self.low:{spec}}, {self.high:{spec}}]"
        return f"{self.value:{spec}}{interval}"


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
    if any(len(sample) < 2 for sample in samples):
        return Estimate(value, math.nan, math.nan)
    interval = stats.bootstrap(
        samples, statistic, n_resamples=RESAMPLES, vectorized=True, method="percentile", rng=np.random.default_rng(seed)
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high))


def mean(*strata: ArrayLike, seed: int = 0) -> Estimate:
    """Mean of all runs. Parameters and errors are those of :func:`bootstrap`."""
    return bootstrap(lambda *samples, axis: np.concatenate(samples, axis).mean(axis), *strata, seed=seed)


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
