"""Checks of the arguments of ``PrioritizedKLPPO``."""

import math

from stable_baselines3.common.type_aliases import Schedule

from agents.weighting.token_weights import TokenWeights


def check_arguments(
    at_least_zero: dict[str, float],
    rates: dict[str, float | Schedule | None],
    positive: dict[str, float],
    fractions: dict[str, float],
    counts: dict[str, int],
) -> None:
    """Check numbers, given by name; schedules and None are left to those who call them.

    :raises TypeError: if a count is not an int
    :raises ValueError: if a number is out of its range
    """
    numbers = {name: value for name, value in rates.items() if value is not None and not callable(value)}
    for name, value in {**at_least_zero, **numbers}.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be >= 0 and finite, but it is {value}: 0 switches it off")
    for name, value in positive.items():
        if not value > 0:
            raise ValueError(f"{name} must be > 0, but it is {value}: pass a positive number")
    for name, value in fractions.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in [0, 1], but it is {value}: 1 suits a terminal reward")
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool):
            raise TypeError(f"{name} must be an int, but it is {count!r}: pass a whole number")
        if count < 1:
            raise ValueError(f"{name} must be >= 1, but it is {count}: pass a positive number")


def check_batch_size(batch_size: int, n_episodes: int) -> None:
    """:raises ValueError: if a minibatch is larger than a rollout"""
    if batch_size > n_episodes:
        raise ValueError(
            f"batch_size must be at most n_episodes = {n_episodes}, but it is {batch_size}: it counts whole episodes"
        )


def check_n_episodes(n_episodes: int, n_envs: int) -> None:
    """:raises ValueError: if the lanes cannot share the episodes of a rollout evenly"""
    if n_episodes % n_envs:
        raise ValueError(
            f"n_episodes must be a multiple of the environment's lanes, {n_envs}, but it is {n_episodes}: "
            "change one of them, so that every lane plays the same number of whole episodes"
        )


def check_kl_in(kl_in: str, token_weights: TokenWeights) -> None:
    """:raises ValueError: if there is no such place for the KL, or the weights cannot be known before the reward"""
    if kl_in not in ("loss", "reward"):
        raise ValueError(f"kl_in must be 'loss' or 'reward', but it is {kl_in!r}: choose one of these")
    if kl_in == "reward" and token_weights.kl.action_dependent:
        raise ValueError(
            f"token_weights must weight the KL by the state alone with kl_in='reward', but {token_weights.kl.signal} depends "
            "on the action and perhaps its advantage, which follows from the reward: use kl_in='loss'"
        )
