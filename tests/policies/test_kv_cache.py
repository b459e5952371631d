"""Cached decoding against a plain forward of every text, over everything that may happen to a row."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import GPT2LMHeadModel

from policies.gpt2 import build_gpt2, gpt2_config
from policies.kv_cache import KVCache, advance

ROWS, MAX_TOKENS, VOCAB_SIZE = 4, 16, 7


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    torch.manual_seed(1)
    model = build_gpt2(gpt2_config(VOCAB_SIZE, MAX_TOKENS, n_layer=2, n_head=2, n_embd=8, pad_token_id=0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))  # far from the near-uniform start
    return model


def plain(model: GPT2LMHeadModel, texts: list[list[int]]) -> Tensor:
    """Hidden state of each text's last token, one Hugging Face forward a text."""
    with torch.no_grad():
        return torch.stack([model.transformer(torch.tensor([text])).last_hidden_state[0, -1] for text in texts])


def padded(texts: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    tokens = np.zeros((len(texts), MAX_TOKENS), dtype=np.int64)
    for row, text in enumerate(texts):
        tokens[row, : len(text)] = text
    return tokens, np.array([len(text) for text in texts])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_cached_equals_plain_whatever_happens_to_the_rows(model: GPT2LMHeadModel, seed: int) -> None:
    """Rows continue, start again, jump ahead, step back, stay, change an early token, or leave; each has its own length."""
    rng = np.random.default_rng(seed)
    cache = KVCache(model.transformer, ROWS, MAX_TOKENS)

    def fresh() -> list[int]:
        return rng.integers(1, VOCAB_SIZE, size=rng.integers(1, 6)).tolist()

    texts = [fresh() for _ in range(ROWS)]
    for _ in range(14):
        hidden = advance(model.transformer, cache, *padded(texts))
        torch.testing.assert_close(hidden, plain(model, texts), atol=1e-5, rtol=0)
        for row, text in enumerate(texts):
            event = rng.choice(["continue", "again", "jump", "back", "stay", "edit"], p=[0.7, 0.06, 0.06, 0.06, 0.06, 0.06])
            if event == "again" or len(text) >= MAX_TOKENS - 2:
                texts[row] = fresh()
            elif event in ("continue", "jump"):
                texts[row] = text + rng.integers(1, VOCAB_SIZE, size=1 if event == "continue" else 2).tolist()
            elif event == "back":
                texts[row] = text[: rng.integers(1, len(text) + 1)]
            elif event == "edit":
                position = rng.integers(0, len(text))
                texts[row] = [*text[:position], text[position] % (VOCAB_SIZE - 1) + 1, *text[position + 1 :], 1]
        if rng.random() < 0.2 and len(texts) > 1:
            gone = rng.choice(len(texts), size=rng.integers(1, len(texts)), replace=False)
            texts = [texts[row] for row in cache.drop(gone)]
        elif rng.random() < 0.1:
            cache.reset()
            texts = [fresh() for _ in range(ROWS)]


@given(n_rows=st.integers(1, 9), data=st.data())
def test_drop_keeps_the_others_and_says_where(model: GPT2LMHeadModel, n_rows: int, data: st.DataObject) -> None:
    gone = data.draw(st.lists(st.integers(0, n_rows - 1), unique=True))
    cache = KVCache(model.transformer, n_rows, MAX_TOKENS)
    order = cache.drop(np.array(gone, dtype=np.int64))
    assert sorted(order) == sorted(set(range(n_rows)) - set(gone))
    assert cache.shape == (n_rows - len(gone), MAX_TOKENS)


def test_rows_that_stay_are_not_read_again_after_a_drop(model: GPT2LMHeadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [[1, 2], [3], [2, 2, 1], [1]]
    cache = KVCache(model.transformer, 4, MAX_TOKENS)
    advance(model.transformer, cache, *padded(texts))
    monkeypatch.setattr("policies.kv_cache.prefill", None)
    texts = [[*texts[row], 1] for row in cache.drop(np.array([0, 2]))]
    torch.testing.assert_close(advance(model.transformer, cache, *padded(texts)), plain(model, texts), atol=1e-5, rtol=0)


def test_changed_weights_are_noticed(model: GPT2LMHeadModel) -> None:
    cache = KVCache(model.transformer, 1, MAX_TOKENS)
    advance(model.transformer, cache, *padded([[1, 2, 3]]))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    model.lm_head(model.transformer(torch.tensor([[1, 2]])).last_hidden_state)[..., 0].sum().backward()
    optimizer.step()
    hidden = advance(model.transformer, cache, *padded([[1, 2, 3, 4]]))
    torch.testing.assert_close(hidden, plain(model, [[1, 2, 3, 4]]), atol=1e-5, rtol=0)


def test_continuing_rows_read_one_token_only(model: GPT2LMHeadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = KVCache(model.transformer, 2, MAX_TOKENS)
    advance(model.transformer, cache, *padded([[1, 2], [3]]))

    def fail(*_args: object) -> None:
        raise AssertionError("prefill of rows that continue")

    monkeypatch.setattr("policies.kv_cache.prefill", fail)
    advance(model.transformer, cache, *padded([[1, 2, 3], [3, 1]]))
    with pytest.raises(AssertionError, match="prefill"):
        advance(model.transformer, cache, *padded([[1, 2, 3, 4], [2, 1, 1]]))
