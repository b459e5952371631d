"""The graphs' rounding and static buffers, with an eager stand-in for CUDA's capture; on a GPU, the real one."""

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from policies import cuda_graphs
from policies.cuda_graphs import GraphedStep
from policies.kv_cache import KVCache
from tests.policies.helpers import VOCAB_SIZE, random_model

ROWS, MAX_TOKENS = 6, 300


def decode_some(model: GPT2LMHeadModel, cache: KVCache) -> list[torch.Tensor]:
    """Texts grow across a span, one token at a time; some leave, and others take their places."""
    tokens = np.random.default_rng(0).integers(1, VOCAB_SIZE, size=(ROWS, MAX_TOKENS))
    lengths = np.arange(120, 120 + ROWS)
    cache.read(np.arange(ROWS), lengths, np.concatenate([row[:length] for row, length in zip(tokens, lengths, strict=True)]))
    found = []
    for step in range(14):
        rows = np.arange(len(tokens))
        found.append(cache.read(rows, np.ones_like(rows), tokens[rows, cache.lengths[rows]]).clone().cpu())
        if step in (4, 9):
            cache.move(np.array([len(tokens) - 1]), to=np.array([1]))
            tokens[1] = tokens[-1]
            tokens = tokens[:-2]
    return found


def eager_capture(step):
    result = step().clone()
    return lambda: result.copy_(step()), result


def test_rounded_shapes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(MAX_TOKENS)
    plain, graphed = (KVCache(model.transformer, ROWS, MAX_TOKENS) for _ in range(2))
    monkeypatch.setattr(cuda_graphs, "capture", eager_capture)
    graphed._step = step = GraphedStep(graphed._step, ROWS, MAX_TOKENS, torch.device("cpu"))
    for expected, found in zip(decode_some(model, plain), decode_some(model, graphed), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert set(step._graphs) == {(6, 128), (6, 256), (4, 256), (2, 256)}


def test_without_graphs_it_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_step):
        raise RuntimeError("no such thing here")

    model = random_model(MAX_TOKENS)
    plain, graphed = (KVCache(model.transformer, ROWS, MAX_TOKENS) for _ in range(2))
    monkeypatch.setattr(cuda_graphs, "capture", fail)
    graphed._step = GraphedStep(graphed._step, ROWS, MAX_TOKENS, torch.device("cpu"))
    with pytest.warns(UserWarning, match="no such thing here") as warnings:
        found = decode_some(model, graphed)
    assert len(warnings) == 1
    for expected, row in zip(decode_some(model, plain), found, strict=True):
        torch.testing.assert_close(row, expected, atol=0, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu() -> None:
    model = random_model(MAX_TOKENS)
    expected = decode_some(model, KVCache(model.transformer, ROWS, MAX_TOKENS))
    model.to("cuda")
    for plain, found in zip(expected, decode_some(model, KVCache(model.transformer, ROWS, MAX_TOKENS)), strict=True):
        torch.testing.assert_close(found, plain, atol=1e-3, rtol=0)
