import re
from itertools import islice, pairwise

import numpy as np
import pytest
import torch

from addition_gym import PAD_TOKEN_ID, decode, prompt, solution
from addition_gym.tasks.addition import Addition
from tests.train.helpers import bucket
from train.pretraining.data import packed_blocks

TASK = Addition(2, "up_to", split="train")
N_BLOCKS, BLOCK_SIZE = 3, 400


def batches(count: int = 4, seed: int = 0, block_size: int = BLOCK_SIZE) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(islice(packed_blocks(TASK, np.random.default_rng(seed), N_BLOCKS, block_size), count))


def examples(row: torch.Tensor) -> list[tuple[int, int]]:
    """The problems of a block, read off its text."""
    return [(int(a), int(b)) for a, b in re.findall(r"Input:\n(\d+)\+(\d+)\nTarget:", decode(row.numpy()))]


def text(problem: tuple[int, int]) -> str:
    return prompt(*problem) + solution(*problem)


@pytest.mark.parametrize("block_size", [192, 400, 1000])
def test_whole_examples_one_after_another_then_padding(block_size) -> None:
    for tokens, mask in batches(block_size=block_size):
        assert tokens.shape == mask.shape == (N_BLOCKS, block_size + 1)
        assert (tokens.dtype, mask.dtype) == (torch.int64, torch.bool)
        for row in tokens:
            expected = "".join(map(text, examples(row)))
            assert expected
            assert decode(row[: len(expected)].numpy()) == expected
            assert (row[len(expected) :] == PAD_TOKEN_ID).all()


@pytest.mark.parametrize("count", [1, 2])
def test_a_block_may_be_full_to_the_last_token(count) -> None:
    class Always(Addition):
        def sample(self, rng: np.random.Generator) -> tuple[int, int]:
            return 99, 99

    full = count * text((99, 99))
    tokens, _ = next(packed_blocks(Always(), np.random.default_rng(0), 2, len(full) - 1))
    assert [decode(row.numpy()) for row in tokens] == [full, full]


def test_mask_is_exactly_the_completions() -> None:
    for tokens, mask in batches():
        for row, learnt in zip(tokens, mask, strict=True):
            expected = [
                letter == "s"
                for problem in examples(row)
                for letter in "p" * len(prompt(*problem)) + "s" * len(solution(*problem))
            ]
            assert learnt.tolist() == expected + [False] * (len(row) - len(expected))


def test_nothing_is_lost_between_blocks_and_batches() -> None:
    """The problems are those the sampler draws, in its order, and a block ends only where the next one does not fit."""
    rows = [row for tokens, _ in batches() for row in tokens]
    packed = [examples(row) for row in rows]
    rng = np.random.default_rng(0)
    drawn = [TASK.sample(rng) for _ in range(sum(map(len, packed)))]
    assert [problem for row in packed for problem in row] == drawn
    for row, following in pairwise(packed):
        assert sum(len(text(problem)) for problem in row) + len(text(following[0])) > BLOCK_SIZE + 1


def test_only_training_problems() -> None:
    problems = [problem for tokens, _ in batches(20) for row in tokens for problem in examples(row)]
    assert len(problems) > 100
    assert all(bucket(*problem) > 1 for problem in problems)


def test_same_seed_same_data_other_seed_other() -> None:
    first, again, other = (torch.cat([torch.cat(batch) for batch in batches(seed=seed)]) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_an_example_longer_than_a_block_is_refused() -> None:
    """Otherwise all that follow are empty blocks, whose loss is not a number."""
    stream = packed_blocks(TASK, np.random.default_rng(0), N_BLOCKS, 150)
    with pytest.raises(ValueError, match="block_size"):
        list(islice(stream, 5))
