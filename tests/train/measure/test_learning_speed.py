"""How fast runs learn, by hand."""

import math

import numpy as np
import pytest

from train.measure.learning_speed import SAMPLED, area_under_curve, episodes_to, learning_speed, median_episodes


def test_area_against_a_fine_sum() -> None:
    episodes, values = [64, 128, 320, 384], [0.2, 0.4, 0.1, 0.9]
    fine = np.linspace(64, 384, 100_001)
    assert area_under_curve(episodes, values) == pytest.approx(np.interp(fine, episodes, values).mean(), abs=1e-5)
    assert area_under_curve([64], [0.3]) == 0.3
    assert area_under_curve(episodes, [0.25] * 4) == pytest.approx(0.25)


def test_episodes_to_a_threshold() -> None:
    episodes, values = [64, 128, 192, 256], [0.1, 0.4, 0.2, 0.8]
    assert [episodes_to(episodes, values, threshold) for threshold in (0.1, 0.4, 0.41, 0.9)] == [64, 128, 256, math.inf]


def test_of_a_run() -> None:
    rollouts = [{"time/episodes": 64.0}, {"time/episodes": 128.0, SAMPLED: 0.1}, {"time/episodes": 192.0, SAMPLED: 0.5}]
    assert learning_speed(rollouts) == pytest.approx((0.3, 192))
    assert np.isnan(learning_speed(rollouts[:1])).all()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([64], "64 (1 of 1)"),
        ([64, 192], "128 (2 of 2)"),
        ([math.inf, 64, 128], "128 (2 of 3)"),
        ([64, math.inf], "never (1 of 2)"),
        ([math.inf] * 4, "never (0 of 4)"),
    ],
)
def test_the_median_counts_those_that_never_did(values, text) -> None:
    assert median_episodes(values) == text
