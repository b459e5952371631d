"""What the stages of pre-training show the model, where they start from, and what they end with."""

import numpy as np
import pytest
import torch

from addition_gym.problems import ProblemSampler
from tests.train.helpers import bucket, budget, hugging_face, same_weights, trained_weights, weights
from train.pretraining import pretrain as pretraining


def positions_seen(monkeypatch, tmp_path, **changes) -> list[torch.Tensor]:
    seen = []
    loss = pretraining.next_token_loss

    def spy(model, tokens, mask, positions):
        seen.append(positions)
        return loss(model, tokens, mask, positions)

    monkeypatch.setattr(pretraining, "next_token_loss", spy)
    trained_weights(tmp_path, **changes)
    return seen


def test_blocks_of_the_first_stage_stand_anywhere_in_the_position_table(monkeypatch, tmp_path) -> None:
    positions = torch.cat(positions_seen(monkeypatch, tmp_path, steps=60))
    assert (positions.diff(dim=1) == 1).all()
    assert (positions.min(), positions.max()) == (0, budget(2) - 1)


def test_half_the_blocks_of_the_second_stage_start_at_the_origin(monkeypatch, tmp_path) -> None:
    seen = positions_seen(monkeypatch, tmp_path, steps=1, origin_steps=100)
    assert len(seen) == 101
    starts = torch.cat(seen[1:])[:, 0]
    assert 0.4 < (starts == 0).float().mean() < 0.65
    assert len(starts.unique()) > 10


def test_a_share_of_the_blocks_of_the_first_stage_starts_at_the_origin(monkeypatch, tmp_path) -> None:
    starts = torch.cat(positions_seen(monkeypatch, tmp_path, steps=100, origin_share=0.8))[:, 0]
    assert 0.7 < (starts == 0).float().mean() < 0.9


def test_positions_jump_ahead_in_half_of_the_blocks(monkeypatch, tmp_path) -> None:
    """One token in ten, by 1 to 16, until the position table ends."""
    seen = positions_seen(monkeypatch, tmp_path, steps=200, longest_digits=6, gap_share=0.1, origin_share=1.0)
    positions, last = torch.cat(seen), budget(6) - 1
    jumps = positions.diff(dim=1) - 1
    assert (positions[:, 0] == 0).all()
    assert 0 <= jumps.min() < jumps.max() == 16
    assert positions.max() <= last
    jumping = jumps.any(dim=1)
    assert 0.35 < jumping.float().mean() < 0.65
    room = positions[jumping, 1:] + 16 * 20 < last  # far from the end
    assert (jumps[jumping][room] > 0).float().mean() == pytest.approx(0.1, abs=0.02)


def test_ends_with_the_moving_average_of_the_weights(monkeypatch, tmp_path) -> None:
    """Against a loop over the weights after each step."""
    before = []
    loss = pretraining.next_token_loss

    def spy(model, *inputs):
        before.append(weights(model))
        return loss(model, *inputs)

    monkeypatch.setattr(pretraining, "next_token_loss", spy)
    last = trained_weights(tmp_path / "last", steps=4)
    after = [*before[1:], last]
    found = trained_weights(tmp_path / "average", steps=4, average_decay=0.75)
    for name, average in found.items():
        expected = after[0][name]
        for each in after[1:]:
            expected = 0.75 * expected + 0.25 * each[name]
        np.testing.assert_allclose(average, expected, rtol=1e-5, atol=1e-7)
    assert not same_weights(found, last)


def test_starts_from_the_weights_of_a_model_with_fewer_positions(pretrained, tmp_path) -> None:
    still = dict(learning_rate=0.0, muon_learning_rate=0.0, seed=3, longest_digits=3)
    fresh = trained_weights(tmp_path / "fresh", **still)
    found = trained_weights(tmp_path / "found", **still, pretrained=str(pretrained))
    given, table = weights(hugging_face(pretrained)), "transformer.wpe.weight"
    known = len(given[table])
    assert known == budget(2) < len(found[table]) == budget(3)
    np.testing.assert_array_equal(found[table][known:], fresh[table][known:])
    assert same_weights({**found, table: found[table][:known]}, given)


@pytest.mark.parametrize("distribution", ["up_to", "longer"])
def test_trains_on_problems_of_the_distribution_that_are_not_held_out(distribution, monkeypatch, tmp_path) -> None:
    seen, distributions = [], set()
    sample = ProblemSampler.sample

    def spy(sampler, rng):
        seen.append(sample(sampler, rng))
        distributions.add(sampler.distribution)
        return seen[-1]

    monkeypatch.setattr(ProblemSampler, "sample", spy)
    monkeypatch.setattr(pretraining, "accuracies", lambda *_, **__: [])
    trained_weights(tmp_path, steps=20, distribution=distribution)
    assert distributions == {distribution}
    assert len(set(seen)) > 30
    assert all(bucket(*problem) > 1 for problem in seen)
