"""Token-by-token decoding of a GPT-2: static key and value buffers in which every row has its own length."""

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import GPT2Model

from policies.gpt2 import causal_attention, hidden_states


class KVCache:
    """Keys and values of B texts, and the tokens and weights they were computed from.

    A cache belongs to whoever decodes. It is never silently wrong: :func:`advance` compares every text with the tokens it
    has seen and reads afresh those that do not simply continue; if the weights have changed, it reads all afresh.

    :param model: the GPT-2 trunk it serves
    :param n_rows: number of texts B
    :param max_tokens: longest text T
    """

    def __init__(self, model: GPT2Model, n_rows: int, max_tokens: int):
        config, weight = model.config, model.wte.weight
        shape = (config.n_layer, n_rows, config.n_head, max_tokens, config.n_embd // config.n_head)
        self.keys = weight.new_zeros(shape, requires_grad=False)  # (L, B, H, T, D/H)
        self.values = weight.new_zeros(shape, requires_grad=False)
        self.tokens = torch.zeros(n_rows, max_tokens, dtype=torch.long, device=weight.device)  # (B, T)
        self.lengths = torch.zeros(n_rows, dtype=torch.long, device=weight.device)  # (B,)
        self.weights_version = _version(model)

    @property
    def shape(self) -> tuple[int, int]:
        """``(n_rows, max_tokens)``"""
        return self.tokens.shape[0], self.tokens.shape[1]


@torch.no_grad()
def advance(model: GPT2Model, cache: KVCache, tokens: Tensor, lengths: Tensor, active: Tensor | None = None) -> Tensor:
    """Hidden state of the last token of every text.

    A text that continues what the cache holds by one token costs one token; any other is read from its beginning.

    :param model: GPT-2 trunk
    :param cache: updated in place
    :param tokens: token ids, int64 of shape ``(B, T)``; only the first ``lengths[b]`` of row ``b`` are read
    :param lengths: int64 of shape ``(B,)``, each in 1..T
    :param active: bool of shape ``(B,)``; a row where it is False is not read, and its result is meaningless
    :return: hidden states of shape ``(B, D)``
    """
    if cache.weights_version != (version := _version(model)):
        cache.lengths.zero_()
        cache.weights_version = version
    unseen = torch.arange(tokens.shape[1], device=tokens.device) >= cache.lengths[:, None]
    fresh = (lengths != cache.lengths + 1) | ~((tokens == cache.tokens) | unseen).all(dim=1)
    if active is not None:
        fresh &= active
    rows = fresh.nonzero()[:, 0]
    if len(rows):
        prefill(model, cache, rows, tokens[rows], int(lengths[rows].max()))
    hidden = decode_one_token(model, cache, tokens, lengths)
    cache.tokens.copy_(tokens)
    cache.lengths.copy_(lengths)
    if active is not None:
        cache.lengths.masked_fill_(~active, 0)
    return hidden


def prefill(model: GPT2Model, cache: KVCache, rows: Tensor, tokens: Tensor, longest: int) -> None:
    """Write the keys and values of whole texts into rows of the cache.

    :param rows: which rows, int64 of shape ``(b,)``
    :param tokens: ``(b, T)``, padded right
    :param longest: length of the longest of them
    """

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        cache.keys[layer, rows, :, :longest] = k
        cache.values[layer, rows, :, :longest] = v
        return causal_attention(layer, q, k, v)

    hidden_states(model, tokens[:, :longest], attend=attend)


def decode_one_token(model: GPT2Model, cache: KVCache, tokens: Tensor, lengths: Tensor) -> Tensor:
    """Write the last token of every text into the cache, and return its hidden state.

    :param tokens: ``(B, T)``; only ``tokens[b, lengths[b] - 1]`` is read
    :param lengths: ``(B,)``
    :return: ``(B, D)``
    """
    rows = torch.arange(len(tokens), device=tokens.device)
    positions = lengths - 1
    longest = int(lengths.max())
    visible = torch.arange(longest, device=tokens.device) < lengths[:, None]  # (B, longest)

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        cache.keys[layer, rows, :, positions] = k[:, :, 0]
        cache.values[layer, rows, :, positions] = v[:, :, 0]
        keys, values = cache.keys[layer, :, :, :longest], cache.values[layer, :, :, :longest]
        return F.scaled_dot_product_attention(q, keys, values, attn_mask=visible[:, None, None])

    return hidden_states(model, tokens[rows, positions][:, None], positions[:, None], attend)[:, 0]


def _version(model: GPT2Model) -> int:
    """Grows whenever PyTorch changes a weight in place."""
    return sum(parameter._version for parameter in model.parameters())
