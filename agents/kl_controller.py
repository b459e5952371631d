"""A KL coefficient that adapts, so that the KL of an episode stays near a target."""

from dataclasses import dataclass

from policies.checks import above


@dataclass
class AdaptiveKLCoef:
    """The proportional controller in log space of Ziegler et al. 2019 (arXiv:1909.08593, section 2.2).

    ``e = clip(kl / kl_target - 1, -0.2, 0.2)`` and ``kl_coef *= 1 + K * e``. The paper's gain K = 0.1 per batch is
    ``n_episodes / horizon`` here, so that the size of a rollout does not change the pace.

    :param kl_coef: the coefficient, > 0; starts at this value
    :param kl_target: KL(pi || pi_ref) of an episode to hold, in nats, > 0
    :param horizon: episodes in which the coefficient can change by about 20%, > 0
    :raises ValueError: if one of them is not positive
    """

    kl_coef: float
    kl_target: float
    horizon: float = 10_000.0

    def __post_init__(self) -> None:
        for name in ("kl_coef", "kl_target", "horizon"):
            above(name, getattr(self, name))

    def update(self, kl: float, n_episodes: int) -> float:
        """Raise the coefficient if the KL was above its target, lower it if below.

        :param kl: mean KL(pi || pi_ref) of an episode of the rollout, summed over its tokens, in nats
        :param n_episodes: episodes of the rollout
        :return: the new ``kl_coef``
        :raises ValueError: if the rollout is longer than the horizon
        """
        if n_episodes > self.horizon:
            raise ValueError(
                f"horizon must be at least the {n_episodes} episodes of a rollout, but it is {self.horizon}: raise it, since "
                "the controller acts once per rollout"
            )
        error = min(max(kl / self.kl_target - 1, -0.2), 0.2)
        self.kl_coef *= 1 + error * n_episodes / self.horizon
        return self.kl_coef
