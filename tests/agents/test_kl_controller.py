import pickle

import pytest

from agents.kl_controller import AdaptiveKLCoef


@pytest.mark.parametrize(
    ("kl", "error"),
    [(6.0, 0.0), (6.6, 0.1), (5.4, -0.1), (60.0, 0.2), (0.0, -0.2)],
    ids=["on target", "10% above", "10% below", "clipped above", "clipped below"],
)
def test_one_step_by_hand(kl: float, error: float) -> None:
    """With 64 episodes and a horizon of 640 the gain is the paper's, 0.1."""
    controller = AdaptiveKLCoef(kl_coef=2.0, kl_target=6.0, horizon=640)
    assert controller.update(kl, n_episodes=64) == pytest.approx(2.0 * (1 + 0.1 * error))


def test_reaches_the_target() -> None:
    """Where the KL is inversely proportional to the coefficient, 12 / kl_coef, the target 6 needs a coefficient of 2."""
    controller = AdaptiveKLCoef(kl_coef=0.1, kl_target=6.0, horizon=640)
    for _ in range(1000):
        controller.update(12 / controller.kl_coef, n_episodes=64)
    assert controller.kl_coef == pytest.approx(2.0, rel=1e-3)


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


def test_horizon_shorter_than_a_rollout() -> None:
    with pytest.raises(ValueError, match="horizon must be at least the 64 episodes of a rollout, but it is 32"):
        AdaptiveKLCoef(2.0, 6.0, horizon=32).update(6.0, 64)
