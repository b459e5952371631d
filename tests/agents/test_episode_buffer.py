import numpy as np
import pytest
import torch

from agents.baselines import normalize_advantages
from agents.episode_buffer import EpisodeBuffer

V, PAD = 5, 0


def filled(
    lengths: list[int], gamma: float = 0.9, gae_lambda: float = 0.8, max_tokens: int = 12, seed: int = 0
) -> EpisodeBuffer:
    """Episodes with a prompt of 2 tokens and the given numbers of actions; all numbers random, but the same for a seed."""
    rng = np.random.default_rng(seed)
    buffer = EpisodeBuffer(len(lengths), max_tokens, V, PAD, gamma, gae_lambda)
    for episode, length in enumerate(lengths):
        text = rng.integers(1, V, size=2 + length)
        rewards, values, log_probs = rng.normal(size=(3, length))
        for step in range(length):
            obs = np.full((1, max_tokens), PAD)
            obs[0, : 2 + step] = text[: 2 + step]
            buffer.add(
                np.array([episode]),
                obs,
                text[2 + step : 3 + step],
                rewards[step : step + 1],
                values[step : step + 1],
                log_probs[step : step + 1],
                rng.normal(size=(1, V)),
            )
    return buffer


@pytest.mark.parametrize(("gamma", "gae_lambda"), [(0.9, 0.8), (1.0, 1.0), (1.0, 0.95), (0.5, 0.0)])
def test_advantages_against_a_loop(gamma: float, gae_lambda: float) -> None:
    lengths = [1, 5, 9, 3]
    buffer = filled(lengths, gamma, gae_lambda)
    buffer.compute_returns_and_advantage()
    for episode, length in enumerate(lengths):
        rewards = buffer.rewards[episode, 1 : 1 + length]
        values = [*buffer.values[episode, 1 : 1 + length], 0.0]
        deltas = [rewards[t] + gamma * values[t + 1] - values[t] for t in range(length)]
        for t in range(length):
            expected = sum((gamma * gae_lambda) ** (k - t) * deltas[k] for k in range(t, length))
            assert buffer.advantages[episode, 1 + t] == pytest.approx(expected, abs=1e-5)
            assert buffer.returns[episode, 1 + t] == pytest.approx(expected + values[t], abs=1e-5)
    assert not buffer.advantages[~buffer.mask].any()


def test_terminal_reward_with_lambda_one_is_the_return_everywhere() -> None:
    buffer = filled([4, 6], gamma=1.0, gae_lambda=1.0)
    buffer.rewards[:] = 0
    buffer.rewards[0, 4] = 1.0
    buffer.compute_returns_and_advantage()
    assert buffer.returns[buffer.mask] == pytest.approx([1.0] * 4 + [0.0] * 6, abs=1e-6)


@pytest.mark.parametrize("max_batch_tokens", [1, 15, 25, 1000])
def test_batches_hold_every_action_once_next_to_its_state(max_batch_tokens: int) -> None:
    lengths = [3, 9, 1, 4, 4, 7, 2]
    buffer = filled(lengths)
    buffer.compute_returns_and_advantage()
    batches = list(buffer.batches(np.arange(7), max_batch_tokens))
    assert sorted(row for batch in batches for row in batch.rows) == list(range(7))
    gathered = torch.cat([batch.old_log_prob for batch in batches])
    np.testing.assert_array_equal(np.sort(gathered.numpy()), np.sort(buffer.log_probs[buffer.mask]))
    for batch in batches:
        assert batch.tokens.shape == batch.mask.shape
        assert batch.tokens.numel() <= max_batch_tokens or len(batch.tokens) == 1
        assert len(batch.actions) == batch.mask.sum()
        rows, positions = batch.mask.nonzero(as_tuple=True)
        for row, position, action in zip(rows, positions, batch.actions, strict=True):
            if position + 1 < batch.tokens.shape[1] and batch.mask[row, position + 1]:
                assert batch.tokens[row, position + 1] == action


def test_batches_put_similar_lengths_together_and_cut_the_padding() -> None:
    buffer = filled([3, 9, 1, 8])
    shapes = [tuple(batch.tokens.shape) for batch in buffer.batches(np.arange(4), max_batch_tokens=20)]
    assert shapes == [(2, 2 + 3 - 1), (2, 2 + 9 - 1)]


def test_minibatches_hold_every_episode_once() -> None:
    buffer = filled([3, 9, 1, 8, 2])
    minibatches = list(buffer.minibatches(2, np.random.default_rng(0)))
    assert [len(rows) for rows in minibatches] == [2, 2, 1]
    assert sorted(np.concatenate(minibatches)) == list(range(5))


def test_what_is_put_for_a_batch_comes_back_with_it() -> None:
    buffer = filled([3, 9, 1, 8, 2])
    for batch in buffer.batches(np.arange(5), 20):
        buffer.put(buffer.weights["kl"], batch, batch.old_log_prob * 2)
    for batch in buffer.batches(np.array([4, 1, 0]), 1000):
        torch.testing.assert_close(batch.weights["kl"], batch.old_log_prob * 2)


def test_padding_action_is_kept() -> None:
    buffer = EpisodeBuffer(1, 4, V, PAD, 1.0, 1.0)
    obs = np.array([[3, 2, PAD, PAD]])
    buffer.add(np.array([0]), obs, np.array([PAD]), np.zeros(1), np.zeros(1), np.array([-1.0]), np.zeros((1, V)))
    batch = next(buffer.batches(np.array([0]), 10))
    assert batch.actions.tolist() == [PAD]
    assert batch.mask.tolist() == [[False, True]]


def test_more_padding_changes_nothing() -> None:
    """The same episodes in wider rows give the same minibatches."""
    narrow, wide = filled([3, 9, 5], max_tokens=12), filled([3, 9, 5], max_tokens=40)
    for buffer in (narrow, wide):
        buffer.compute_returns_and_advantage()
        normalize_advantages(buffer, "critic")
    rows = np.arange(3)
    for left, right in zip(narrow.batches(rows, 20), wide.batches(rows, 20), strict=True):
        for a, b in zip(left[:-1], right[:-1], strict=True):
            np.testing.assert_array_equal(a, b)
        assert all(torch.equal(left.weights[slot], right.weights[slot]) for slot in left.weights)
