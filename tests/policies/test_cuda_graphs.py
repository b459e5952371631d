"""The graphs' rounding and static buffers, with an eager stand-in for CUDA's capture; on a GPU, the real one."""

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from policies import cuda_graphs
from policies.cuda_graphs import GraphedStep
from policies.gpt2 import build_gpt2, gpt2_config
from policies.kv_cache import KVCache, advance

ROWS, MAX_TOKENS, VOCAB_SIZE = 6, 300, 7


def make_model() -> GPT2LMHeadModel:
    torch.manual_seed(1)
    model = build_gpt2(gpt2_config(VOCAB_SIZE, MAX_TOKENS, n_layer=2, n_head=2, n_embd=8, pad_token_id=0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def decode_some(model: GPT2LMHeadModel, cache: KVCache) -> list[torch.Tensor]:
    """Texts grow across a span, leave and are replaced."""
    rng = np.random.default_rng(0)
    tokens, lengths = rng.integers(1, VOCAB_SIZE, size=(ROWS, MAX_TOKENS)), np.arange(120, 120 + ROWS)
    found = []
    for step in range(14):
        found.append(advance(model.transformer, cache, tokens, lengths).clone().cpu())
        lengths = lengths + 1
        if step in (4, 9):
            order = cache.drop(np.array([1, 2]))
            tokens, lengths = tokens[order], lengths[order]
    return found


def eager_capture(step):
    result = step().clone()
    return lambda: result.copy_(step()), result


def test_rounded_shapes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    plain, graphed = (KVCache(model.transformer, ROWS, MAX_TOKENS) for _ in range(2))
    monkeypatch.setattr(cuda_graphs, "capture", eager_capture)
    graphed.step = step = GraphedStep(graphed.step, ROWS, MAX_TOKENS, torch.device("cpu"))
    for expected, found in zip(decode_some(model, plain), decode_some(model, graphed), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert set(step._graphs) == {(6, 128), (6, 256), (4, 256), (2, 256)}


def test_without_graphs_it_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_step):
        raise RuntimeError("no such thing here")

    model = make_model()
    plain, graphed = (KVCache(model.transformer, ROWS, MAX_TOKENS) for _ in range(2))
    monkeypatch.setattr(cuda_graphs, "capture", fail)
    graphed.step = GraphedStep(graphed.step, ROWS, MAX_TOKENS, torch.device("cpu"))
    with pytest.warns(UserWarning, match="no such thing here") as warnings:
        found = decode_some(model, graphed)
    assert len(warnings) == 1
    for expected, row in zip(decode_some(model, plain), found, strict=True):
        torch.testing.assert_close(row, expected, atol=0, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu() -> None:
    model = make_model()
    expected = decode_some(model, KVCache(model.transformer, ROWS, MAX_TOKENS))
    model.to("cuda")
    for plain, found in zip(expected, decode_some(model, KVCache(model.transformer, ROWS, MAX_TOKENS)), strict=True):
        torch.testing.assert_close(found, plain, atol=1e-3, rtol=0)
