"""Token-by-token decoding of a GPT-2: static key and value buffers in which every row has its own length."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import GPT2Model

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


class KVCache:
    """Keys and values of ``n_rows`` texts, row by row, and the tokens they were computed from.

    The cache belongs to whoever decodes. It is never silently wrong: :func:`advance` compares every observation with the
    tokens it has seen, and computes afresh the rows that do not simply continue.

    :param model: the GPT-2 trunk it serves; its weights must not change while the cache is in use
    :param n_rows: number of texts B
    :param max_tokens: longest text T
    """

    def __init__(self, model: GPT2Model, n_rows: int, max_tokens: int):
        config, weight = model.config, model.wte.weight
        shape = (config.n_layer, n_rows, config.n_head, max_tokens, config.n_embd // config.n_head)
        self.keys = weight.new_zeros(shape)  # (L, B, H, T, D/H)
        self.values = weight.new_zeros(shape)
        self.tokens = torch.full((n_rows, max_tokens), -1, dtype=torch.long, device=weight.device)  # (B, T)
        self.lengths = torch.zeros(n_rows, dtype=torch.long, device=weight.device)  # (B,)

    def clear(self) -> None:
        """Forget everything, for example because the weights have changed."""
        self.lengths.zero_()


@torch.no_grad()
def advance(model: GPT2Model, cache: KVCache, tokens: Tensor, lengths: Tensor) -> Tensor:
    """Hidden state of the last token of every row.

    A row that continues what the cache holds by one token costs one token; any other row is read from its beginning.

    :param model: GPT-2 trunk
    :param cache: updated in place
    :param tokens: token ids, int64 of shape ``(B, T)``; only the first ``lengths[b]`` of row ``b`` are read
    :param lengths: int64 of shape ``(B,)``, each in 1..T
    :return: hidden states of shape ``(B, D)``
    """
    continues = lengths == cache.lengths + 1
    if continues.any():
        seen = torch.arange(tokens.shape[1], device=tokens.device) < cache.lengths[:, None]
        continues &= ((tokens == cache.tokens) | ~seen).all(dim=1)
    rows = torch.arange(len(tokens), device=tokens.device)
    last_tokens = tokens[rows, lengths - 1]
    if continues.all():
        hidden = decode_one_token(model, cache, rows, last_tokens)
    else:
        hidden = cache.keys.new_empty(len(tokens), model.config.n_embd)
        fresh, continued = rows[~continues], rows[continues]
        hidden[fresh] = prefill(model, cache, fresh, tokens[fresh], lengths[fresh])
        if len(continued):
            hidden[continued] = decode_one_token(model, cache, continued, last_tokens[continued])
    return hidden


def prefill(model: GPT2Model, cache: KVCache, rows: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
    """Read whole texts into the cache, and return the hidden state of the last token of each.

    :param rows: which rows of the cache, int64 of shape ``(b,)``
    :param tokens: ``(b, T)``, padded right; :param lengths: ``(b,)``
    :return: ``(b, D)``
    """
    longest = int(lengths.max())
    tokens = tokens[:, :longest]

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        cache.keys[layer, rows, :, :longest] = k
        cache.values[layer, rows, :, :longest] = v
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    positions = torch.arange(longest, device=tokens.device)[None]
    hidden = _hidden_states(model, tokens, positions, attend)  # (b, longest, D)
    cache.tokens[rows, :longest] = tokens
    cache.lengths[rows] = lengths
    return hidden[torch.arange(len(rows), device=rows.device), lengths - 1]


def decode_one_token(model: GPT2Model, cache: KVCache, rows: Tensor, tokens: Tensor) -> Tensor:
    """Append one token to each of the given rows, and return its hidden state.

    :param rows: which rows of the cache, int64 of shape ``(b,)``, without repeats
    :param tokens: the token that each row gains, ``(b,)``
    :return: ``(b, D)``
    """
    positions = cache.lengths[rows]  # (b,)
    longest = int(positions.max()) + 1
    visible = torch.arange(longest, device=rows.device) <= positions[:, None]  # (b, longest)
    everyone = len(rows) == len(cache.lengths)

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        cache.keys[layer, rows, :, positions] = k[:, :, 0]
        cache.values[layer, rows, :, positions] = v[:, :, 0]
        keys, values = cache.keys[layer, :, :, :longest], cache.values[layer, :, :, :longest]
        if not everyone:
            keys, values = keys[rows], values[rows]
        return F.scaled_dot_product_attention(q, keys, values, attn_mask=visible[:, None, None])

    hidden = _hidden_states(model, tokens[:, None], positions[:, None], attend)
    cache.tokens[rows, positions] = tokens
    cache.lengths[rows] += 1
    return hidden[:, 0]


def _hidden_states(model: GPT2Model, tokens: Tensor, positions: Tensor, attend: Attend) -> Tensor:
    """The GPT-2 trunk with the attention left open. :param tokens: ``(b, t)`` :return: ``(b, t, D)``"""
    hidden = model.wte(tokens) + model.wpe(positions)
    b, t, width = hidden.shape
    for layer, block in enumerate(model.h):
        qkv = block.attn.c_attn(block.ln_1(hidden)).view(b, t, 3, model.config.n_head, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (b, H, t, D/H)
        attended = attend(layer, q, k, v).transpose(1, 2).reshape(b, t, width)
        hidden = hidden + block.attn.c_proj(attended)
        hidden = hidden + block.mlp(block.ln_2(hidden))
    return model.ln_f(hidden)
