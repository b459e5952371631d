"""How fast runs learn: measures of the curve of their sampled success, in training, over episodes."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from train.run.log import EPISODES

SAMPLED = "rollout/success_rate"
THRESHOLD = 0.4
"""Success that a run has learned something from."""


class LearningSpeed(NamedTuple):
    """Of one run; both are NaN if it logged no success."""

    success_area: float
    """Area under the curve of sampled success, divided by its length in episodes: the mean success, 0 to 1."""
    episodes_to_threshold: float
    """Episodes until sampled success first reached :data:`THRESHOLD`; infinity if it never did."""


def learning_speed(rollouts: Sequence[Mapping[str, float]]) -> LearningSpeed:
    """Both measures of a run.

    :param rollouts: what it logged, :attr:`train.run.log.Progress.rollouts`
    """
    logged = [row for row in rollouts if SAMPLED in row]
    if not logged:
        return LearningSpeed(math.nan, math.nan)
    episodes, success = ([row[name] for row in logged] for name in (EPISODES, SAMPLED))
    return LearningSpeed(area_under_curve(episodes, success), episodes_to(episodes, success, THRESHOLD))


def area_under_curve(episodes: ArrayLike, values: ArrayLike) -> float:
    """Area under the line through the points, divided by its length.

    :param episodes: increasing, ``(n,)``
    :param values: ``(n,)``
    """
    episodes, values = np.asarray(episodes, dtype=np.float64), np.asarray(values, dtype=np.float64)
    length = episodes[-1] - episodes[0]
    return float(np.trapezoid(values, episodes) / length) if length else float(values[-1])


def episodes_to(episodes: ArrayLike, values: ArrayLike, threshold: float) -> float:
    """Episodes at the first value that reaches the threshold; infinity if none does.

    :param episodes: increasing, ``(n,)``
    :param values: ``(n,)``
    """
    reached = np.flatnonzero(np.asarray(values) >= threshold)
    return float(np.asarray(episodes)[reached[0]]) if len(reached) else math.inf


def median_episodes(values: ArrayLike) -> str:
    """Of several runs: the median, and how many have reached the threshold.

    :param values: their :attr:`LearningSpeed.episodes_to_threshold`, none of them NaN, at least one
    """
    runs = np.sort(np.asarray(values, dtype=np.float64))
    middle = runs[(len(runs) - 1) // 2 : len(runs) // 2 + 1].mean()
    return f"{f'{middle:.0f}' if math.isfinite(middle) else 'never'} ({np.isfinite(runs).sum()} of {len(runs)})"
