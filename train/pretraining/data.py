"""Pre-training data: whole examples packed into blocks, one after another."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from addition_gym import PAD_TOKEN_ID
from addition_gym.tasks import Task


def packed_blocks(task: Task, rng: np.random.Generator, n_blocks: int, block_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of blocks. A block starts at the start of an example and holds as many whole examples as fit.

    :param task: whose problems and demonstrations
    :param rng: the only source of randomness
    :param n_blocks: B, blocks of a batch
    :param block_size: T, tokens that the model reads; at least the longest example
    :return: tokens, int64 ``(B, T + 1)``, padded right, and a mask ``(B, T + 1)`` that is True on completion tokens, the only
        ones to be learnt
    :raises ValueError: if an example does not fit into a block
    """
    waiting: tuple[np.ndarray, np.ndarray] | None = None
    while True:
        tokens = np.full((n_blocks, block_size + 1), PAD_TOKEN_ID, dtype=np.int64)
        mask = np.zeros((n_blocks, block_size + 1), dtype=np.bool_)
        for row in range(n_blocks):
            used = 0
            while True:
                question, worked = waiting or task.example(task.sample(rng), rng)
                end = used + len(question) + len(worked)
                if used == 0 and end > block_size + 1:
                    raise ValueError(
                        f"block_size must hold the longest example, but it is {block_size} and an example has {end} tokens: "
                        "raise it, or lower digits"
                    )
                if end > block_size + 1:
                    waiting = question, worked
                    break
                waiting = None
                tokens[row, used:end] = np.concatenate([question, worked])
                mask[row, used + len(question) : end] = True
                used = end
        yield torch.from_numpy(tokens), torch.from_numpy(mask)
