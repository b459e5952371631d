"""Cached reading against a plain forward of every text, over everything that may happen to a row."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2LMHeadModel

from policies.kv_cache import KVCache
from tests.policies.helpers import VOCAB_SIZE, random_model

ROWS, MAX_TOKENS = 11, 16


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    return random_model(MAX_TOKENS)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_reading_in_pieces_equals_reading_at_once(model: GPT2LMHeadModel, seed: int) -> None:
    """Rows read some tokens or none, forget their last tokens and read others, or are copied over other rows."""
    rng = np.random.default_rng(seed)
    cache = KVCache(model.transformer, ROWS, MAX_TOKENS)
    texts: list[list[int]] = [[] for _ in range(ROWS)]
    for _ in range(12):
        event = rng.choice(["read", "one token each", "forget", "move"], p=[0.5, 0.2, 0.2, 0.1])
        room = [row for row in range(ROWS) if len(texts[row]) < MAX_TOKENS]
        if event == "forget":
            for row in range(ROWS):
                cache.lengths[row] = rng.integers(0, len(texts[row]) + 1)
                texts[row] = texts[row][: cache.lengths[row]]
        elif event == "move":
            one, other = rng.choice(ROWS, size=2, replace=False)
            cache.move(np.array([one]), to=np.array([other]))
            texts[other] = list(texts[one])
        elif room:
            if event == "one token each":
                rows = np.arange(len(room) if room == list(range(len(room))) else 0)
                counts = np.ones(len(rows), dtype=np.int64)
            else:
                rows = np.sort(rng.choice(room, size=rng.integers(1, len(room) + 1), replace=False))
                counts = np.array([rng.integers(1, MAX_TOKENS - len(texts[row]) + 1) for row in rows])
            if not len(rows):
                continue
            new = [rng.integers(1, VOCAB_SIZE, size=count).tolist() for count in counts]
            hidden = cache.read(rows, counts, np.concatenate(new).astype(np.int64)).split(counts.tolist())
            for row, tokens, found in zip(rows, new, hidden, strict=True):
                texts[row] += tokens
                with torch.no_grad():
                    plain = model.transformer(torch.tensor([texts[row]])).last_hidden_state[0, -len(tokens) :]
                torch.testing.assert_close(found, plain, atol=3e-5, rtol=0)


def test_it_counts_what_it_reads(model: GPT2LMHeadModel) -> None:
    cache = KVCache(model.transformer, 2, MAX_TOKENS)
    cache.read(np.array([0, 1]), np.array([3, 1]), np.array([1, 2, 3, 4]))
    cache.read(np.array([1]), np.array([1]), np.array([5]))
    assert (cache.n_reads, cache.n_tokens_read, cache.lengths.tolist()) == (2, 5, [3, 2])
