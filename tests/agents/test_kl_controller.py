import math
import pickle

import numpy as np
import pytest

from agents.kl_controller import AdaptiveKLCoef


@pytest.mark.parametrize(
    ("kl", "ratio"),
    [(6.0, 1.0), (6.6, 1.1), (3.0, 0.5), (60.0, math.e), (0.0, 1 / math.e), (-1e-9, 1 / math.e)],
    ids=["on target", "10% above", "half", "clipped above", "clipped below", "rounded to below 0"],
)
def test_one_step_by_hand(kl: float, ratio: float) -> None:
    """With 64 episodes and a horizon of 128 the coefficient goes half of the way, on a logarithmic scale."""
    controller = AdaptiveKLCoef(kl_coef=2.0, kl_target=6.0, horizon=128)
    assert controller.update(kl, n_episodes=64) == pytest.approx(2.0 * math.sqrt(ratio))


def test_the_size_of_a_rollout_does_not_change_the_pace() -> None:
    often, seldom = (AdaptiveKLCoef(2.0, 6.0) for _ in range(2))
    for _ in range(4):
        often.update(9.0, n_episodes=16)
    assert seldom.update(9.0, n_episodes=64) == pytest.approx(often.kl_coef)


@pytest.mark.parametrize("kl_coef", [0.02, 0.1, 2.0, 40.0])
@pytest.mark.parametrize("seed", range(3))
def test_reaches_and_holds_the_target_within_20_rollouts(kl_coef: float, seed: int) -> None:
    """A KL that is inversely proportional to the coefficient, goes half of the way in a rollout, and is noisy by 30%."""
    rng = np.random.default_rng(seed)
    controller, kl, seen = AdaptiveKLCoef(kl_coef, kl_target=4.0), 0.0, []
    for _ in range(40):
        kl += 0.5 * (min(0.4 / controller.kl_coef, 30.0) - kl)
        seen.append(kl)
        controller.update(kl * math.exp(rng.normal(0, 0.3)), n_episodes=64)
    assert np.mean(seen[20:]) == pytest.approx(4.0, rel=0.25)
    assert 2.0 < min(seen[20:]) < max(seen[20:]) < 8.0
    assert min(abs(kl / 4.0 - 1) for kl in seen[:20]) < 0.2


def test_continues_after_a_pickle() -> None:
    controller = AdaptiveKLCoef(kl_coef=2.0, kl_target=6.0)
    controller.update(60.0, 64)
    copy = pickle.loads(pickle.dumps(controller))
    assert copy == controller
    assert copy.update(7.0, 64) == controller.update(7.0, 64)


@pytest.mark.parametrize("name", ["kl_coef", "kl_target", "horizon"])
def test_arguments(name: str) -> None:
    arguments = {"kl_coef": 2.0, "kl_target": 6.0, "horizon": 640.0, name: 0.0}
    with pytest.raises(ValueError, match=f"{name} must be > 0, but it is 0.0"):
        AdaptiveKLCoef(**arguments)
