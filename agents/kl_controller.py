"""A KL coefficient that adapts, so that the KL of an episode reaches a target and stays near it."""

import math
from dataclasses import dataclass

from stable_baselines3.common.type_aliases import Schedule

from policies.checks import above, at_least


@dataclass
class AdaptiveKLCoef:
    """An integral controller in log space, after Ziegler et al. 2019 (arXiv:1909.08593, section 2.2).

    ``kl_coef *= clip(kl / kl_target, 1/e, e) ** (n_episodes / horizon)``. Their factor ``1 + 0.1 * clip(kl / kl_target - 1,
    -0.2, 0.2)`` moves the coefficient by 2% a batch at most, however far the KL is away. Here a KL near its target moves it by
    a share ``n_episodes / horizon`` of what would correct a KL that is inversely proportional to it.

    :param kl_coef: the coefficient, > 0; starts at this value
    :param kl_target: KL(pi || pi_ref) of an episode to hold, in nats, > 0
    :param horizon: episodes in which the coefficient can change by a factor e, > 0
    :raises ValueError: if one of them is not positive
    """

    kl_coef: float
    kl_target: float
    horizon: float = 100.0

    def __post_init__(self) -> None:
        for name in ("kl_coef", "kl_target", "horizon"):
            above(name, getattr(self, name))

    def update(self, kl: float, n_episodes: int) -> float:
        """Raise the coefficient if the KL was above its target, lower it if below.

        :param kl: mean KL(pi || pi_ref) of an episode of the rollout, summed over its tokens, in nats
        :param n_episodes: episodes of the rollout
        :return: the new ``kl_coef``
        """
        ratio = min(max(kl / self.kl_target, 1 / math.e), math.e)
        self.kl_coef *= ratio ** (n_episodes / self.horizon)
        return self.kl_coef


def make_kl_controller(
    kl_coef: float | Schedule, kl_target: float | None, horizon: float, n_episodes: int
) -> AdaptiveKLCoef | None:
    """The controller of an agent's arguments; None if there is no target.

    :raises ValueError: if the coefficient is a schedule, or the horizon is shorter than a rollout
    """
    if kl_target is None:
        return None
    if callable(kl_coef):
        raise ValueError(
            f"kl_coef must be a number with kl_target, which adapts it, but it is {kl_coef!r}: leave out one of them"
        )
    at_least("kl_horizon", horizon, n_episodes, "the coefficient changes once per rollout of n_episodes")
    return AdaptiveKLCoef(kl_coef, kl_target, horizon)
