import pickle
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from agents.weighting.controls import shuffled
from agents.weighting.signals import PolicyEntropy
from agents.weighting.token_weights import TokenWeights, WeightingName, dual_token, named_weighting
from agents.weighting.weightings import certainty_power, delight, uniform
from tests.agents.rollouts import random_batch

BATCH = random_batch()


def test_all_slots_are_uniform_by_default() -> None:
    weights = TokenWeights()
    for weighting in (weights.kl, weights.policy, weights.entropy, weights.clip):
        assert torch.equal(weighting(BATCH), BATCH.mask.float())


def test_dual_token() -> None:
    """With clip_range 0.2, Archer's numbers: at the top fifth of an episode's entropies KL 0 and clip 0.5, else 1 and 0.2."""
    weights = dual_token()
    kl, clip, entropy = weights.kl(BATCH), weights.clip(BATCH), PolicyEntropy()(BATCH)
    for row, mask in enumerate(BATCH.mask):
        values = entropy[row][mask].numpy()
        threshold = np.quantile(values, 0.8) * (1 - 1e-6)
        assert kl[row][mask].tolist() == [0.0 if h >= threshold else 1.0 for h in values]
        np.testing.assert_allclose(0.2 * clip[row][mask], [0.5 if h >= threshold else 0.2 for h in values], rtol=1e-6)
    assert weights.policy == weights.entropy == uniform()


def test_the_kl_refuses_weights_of_the_action_unless_told_otherwise() -> None:
    with pytest.raises(ValueError, match=r"kl must depend on the state alone, but Delight.* depends on the sampled action"):
        TokenWeights(kl=delight())
    assert TokenWeights(kl=delight(), allow_action_dependent=True).kl == delight()
    assert TokenWeights(policy=delight()).policy == delight()


def test_only_weightings_fit() -> None:
    with pytest.raises(TypeError, match=r"entropy must be a Weighting, but it is PolicyEntropy\(\): wrap a signal"):
        TokenWeights(entropy=PolicyEntropy())


@pytest.mark.parametrize("name", get_args(WeightingName))
def test_every_name(name: WeightingName) -> None:
    weights = named_weighting(name, 3.0)
    assert pickle.loads(pickle.dumps(weights)) == weights
    for weighting in (weights.kl, weights.policy, weights.entropy, weights.clip):
        values = weighting(BATCH)
        assert values.isfinite().all()
        assert (values >= 0).all()
    assert (weights == TokenWeights()) is (name == "uniform")


def test_names_take_exponent_certainty_and_temperature() -> None:
    prioritized = certainty_power(7.0, "min_entropy", 4.0)
    assert named_weighting("prioritized", 7.0, "min_entropy", 4.0) == TokenWeights(kl=prioritized)
    assert named_weighting("shuffled", 7.0, "min_entropy", 4.0).kl == shuffled(prioritized)
    for control in ("constant", "inverted"):
        assert named_weighting(control, 7.0, "min_entropy", 4.0).kl.signal == prioritized
    assert named_weighting("calibrated", 7.0, "min_entropy", 4.0).kl.signal == prioritized.signal


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match=r"weighting must be one of prioritized, .*, steer, but it is 'priority'"):
        named_weighting("priority")


def test_matched_budget_is_one_line() -> None:
    weights = named_weighting("prioritized", 3.0)
    matched = replace(weights, kl=replace(weights.kl, normalization="match_uniform"))
    kl = BATCH.kl[BATCH.mask]
    torch.testing.assert_close((matched.kl(BATCH)[BATCH.mask] * kl).sum(), kl.sum())
