"""Controls share with a weighting exactly what they promise, and nothing else."""

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from agents.weighting.controls import CONTEXT, Mean, ReverseRanks, constant_mean, inverted, oracle, shuffled
from agents.weighting.token_batch import TokenBatch
from agents.weighting.weightings import Weighting, certainty_power, covariance_mask, top_entropy
from tests.agents.rollouts import random_batch

BATCH = random_batch(lengths=(20, 13, 28, 5), max_tokens=30)
PRIORITIZED = certainty_power(3.0)


def on_tokens(weighting: Weighting, seed: int = 0) -> Tensor:
    batch = random_batch(lengths=(20, 13, 28, 5), max_tokens=30, seed=seed)
    weights = weighting(batch)
    assert (weights[~batch.mask] == 0).all()
    return weights[batch.mask]


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=12))
def test_any_values_with_ties(numbers: list[float]) -> None:
    values = torch.tensor([numbers])
    mask = torch.ones_like(values, dtype=torch.bool)
    assert torch.allclose(Mean()(values, mask), values.mean())
    reversed_values = ReverseRanks()(values, mask)[0].tolist()
    assert sorted(reversed_values) == sorted(numbers)
    for i in range(len(numbers)):
        for j in range(len(numbers)):
            if numbers[i] < numbers[j]:
                assert reversed_values[i] >= reversed_values[j]


def test_shuffled_keeps_the_weights_and_moves_them_between_episodes() -> None:
    weights, shuffled_weights = on_tokens(PRIORITIZED), on_tokens(shuffled(PRIORITIZED))
    assert torch.equal(weights.sort().values, shuffled_weights.sort().values)
    assert (weights != shuffled_weights).float().mean() > 0.9
    first_episode = BATCH.mask[:1].sum()
    assert not torch.equal(weights[:first_episode].sort().values, shuffled_weights[:first_episode].sort().values)


def places(batch: TokenBatch) -> list[tuple[int, ...]]:
    """What stands before every token of the completions, by a slow loop."""
    found = []
    for actions, mask in zip(batch.actions.tolist(), batch.mask.tolist(), strict=True):
        written = [action for action, taken in zip(actions, mask, strict=True) if taken]
        found += [tuple(written[max(t - CONTEXT, 0) : t]) for t in range(len(written))]
    return found


def weights_by_place(seed: int, shuffle_seed: int = 0) -> dict[tuple[int, ...], list[float]]:
    """The shuffled weights of a rollout; two rollouts share many places, but no weight."""
    batch = random_batch(lengths=(50,) * 20, max_tokens=60, seed=seed)
    batch = replace(batch, actions=batch.actions % 2)
    found = defaultdict(list)
    for place, weight in zip(places(batch), shuffled(PRIORITIZED, shuffle_seed)(batch)[batch.mask].tolist(), strict=True):
        found[place].append(weight)
    return found


def test_shuffled_frees_the_same_places_in_every_rollout() -> None:
    first, second = weights_by_place(0), weights_by_place(1)
    shared = first.keys() & second.keys()
    assert len(shared) > 2**CONTEXT
    orders = [sorted(shared, key=lambda place: np.mean(found[place])) for found in (first, second)]
    assert orders[0] == orders[1]
    for found, order in zip((first, second), orders, strict=True):
        for lower, higher in pairwise(order):
            assert max(found[lower]) <= min(found[higher])


def test_another_seed_frees_other_places() -> None:
    orders = [sorted(found, key=lambda place: np.mean(found[place])) for found in map(weights_by_place, (0, 0), (1, 2))]
    assert orders[0] != orders[1]
    assert torch.equal(on_tokens(shuffled(PRIORITIZED, 1)), on_tokens(shuffled(PRIORITIZED, 1)))


def test_inverted_reverses_the_order_and_keeps_the_weights() -> None:
    weights, inverted_weights = on_tokens(PRIORITIZED), on_tokens(inverted(PRIORITIZED))
    assert torch.equal(weights.sort().values, inverted_weights.sort().values)
    assert torch.equal(weights.argsort(), inverted_weights.argsort(descending=True))


def test_inverted_spreads_tied_weights_over_all_episodes() -> None:
    """A fifth of the weights is 1; inverted, they are spread over the four fifths that were 0, not piled up at their start."""
    positions = on_tokens(inverted(top_entropy(0.8))).nonzero().double()
    assert float(positions.mean()) == pytest.approx(int(BATCH.mask.sum()) / 2, rel=0.3)


def test_constant_mean() -> None:
    weights, constant = on_tokens(PRIORITIZED), on_tokens(constant_mean(PRIORITIZED))
    assert constant.unique().numel() == 1
    torch.testing.assert_close(constant.mean(), weights.mean())


def test_oracle() -> None:
    assert torch.equal(oracle()(BATCH), (BATCH.mask & ~BATCH.critical_tokens).float())
    with pytest.raises(ValueError, match=r"critical_tokens must be known .* but they are None: use an environment"):
        oracle()(replace(BATCH, critical_tokens=None))


@pytest.mark.parametrize("control", [shuffled, inverted, constant_mean])
def test_controls_are_weightings_of_the_same_kind(control: object) -> None:
    assert control(PRIORITIZED).action_dependent is False
    assert control(covariance_mask()).action_dependent is True
    assert torch.equal(control(PRIORITIZED)(BATCH)[:, :30], control(PRIORITIZED)(random_batch((20, 13, 28, 5), 60))[:, :30])
