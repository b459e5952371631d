"""Controls share with a weighting exactly what they promise, and nothing else."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from agents.weighting.controls import Mean, ReverseRanks, Shuffle, constant_mean, inverted, oracle, shuffled
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
    assert Shuffle()(values, mask)[0].sort().values.tolist() == sorted(numbers)
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


def test_shuffled_is_reproducible_and_new_for_every_seed_and_rollout() -> None:
    assert torch.equal(on_tokens(shuffled(PRIORITIZED, 1)), on_tokens(shuffled(PRIORITIZED, 1)))
    assert not torch.equal(on_tokens(shuffled(PRIORITIZED, 1)), on_tokens(shuffled(PRIORITIZED, 2)))
    ranks = [on_tokens(PRIORITIZED, seed).argsort().argsort() for seed in (0, 1)]
    moved = [on_tokens(shuffled(PRIORITIZED), seed).argsort().argsort() for seed in (0, 1)]
    permutations = [[int((r == m).nonzero()[0, 0]) for m in moves] for r, moves in zip(ranks, moved, strict=True)]
    assert permutations[0] != permutations[1]


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
