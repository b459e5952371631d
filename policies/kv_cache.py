"""Keys and values of a GPT-2 for many texts: static buffers in which every row has its own length."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import GPT2Model

from policies.cuda_graphs import GraphedStep, Step
from policies.gpt2 import hidden_states

_ROWS_TOGETHER = 8
"""So many texts share one call of the attention, which is padded to the longest of them."""


class KVCache:
    """Keys and values of B texts, as far as these have been read.

    :param model: the GPT-2 trunk it serves
    :param n_rows: number of texts B
    :param max_tokens: longest text T
    :param dtype: of keys and values; with bfloat16 the matrix products run in it, too
    """

    def __init__(self, model: GPT2Model, n_rows: int, max_tokens: int, dtype: torch.dtype = torch.float32):
        config, self.device = model.config, model.wte.weight.device
        shape = (config.n_layer, n_rows, config.n_head, max_tokens + 1, config.n_embd // config.n_head)
        self.model, self.max_tokens = model, max_tokens
        self.keys = torch.zeros(shape, dtype=dtype, device=self.device)  # (L, B, H, T + 1, D/H)
        self.values = torch.zeros_like(self.keys)
        self.lengths = np.zeros(n_rows, dtype=np.int64)
        """How many tokens of each text have been read, ``(B,)``; to lower one forgets the tokens beyond it."""
        self.n_reads = 0
        """How many forward passes there have been."""
        self.n_tokens_read = 0
        """How many tokens they had."""
        self._step: Step = lambda tokens, positions, longest: read_one_token(
            model, self.keys, self.values, tokens, positions, longest
        )
        if self.device.type == "cuda":
            self._step = GraphedStep(self._step, n_rows, max_tokens, self.device)

    def clear(self) -> None:
        """Forget all texts, and every number that was computed for them."""
        self.keys.zero_()
        self.values.zero_()
        self.lengths[:] = 0

    def move(self, rows: np.ndarray, to: np.ndarray) -> None:
        """Copy some rows over others. :param rows: int ``(k,)``; :param to: likewise"""
        self.keys[:, to], self.values[:, to] = self.keys[:, rows], self.values[:, rows]
        self.lengths[to] = self.lengths[rows]

    @torch.no_grad()
    def read(self, rows: np.ndarray, counts: np.ndarray, tokens: np.ndarray) -> Tensor:
        """Read more tokens of some texts, each behind what has been read of it, in one forward pass.

        :param rows: which texts, int ``(b,)``, ascending
        :param counts: how many tokens of each, >= 1, int ``(b,)``
        :param tokens: those of the first text, then those of the second, ..., int64 ``(M,)``
        :return: hidden states ``(M, D)``
        """
        starts = self.lengths[rows]
        self.lengths[rows] += counts
        self.n_reads += 1
        self.n_tokens_read += len(tokens)
        within = np.arange(len(tokens)) - np.repeat(np.cumsum(counts) - counts, counts)
        positions = np.repeat(starts, counts) + within
        device_tokens, device_positions = torch.as_tensor(np.stack([tokens, positions])).to(self.device, non_blocking=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.keys.dtype == torch.bfloat16, cache_enabled=False):
            if len(tokens) == len(rows) == rows[-1] + 1:
                return self._step(device_tokens, device_positions, int(self.lengths[rows].max()))
            of_tokens = torch.as_tensor(np.repeat(rows, counts)).to(self.device)
            groups = list(self._groups(rows, starts, counts))
            return read_tokens(self.model, self.keys, self.values, of_tokens, device_tokens, device_positions, groups)

    def _groups(self, rows: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> Iterator["Group"]:
        """Texts of similar length, which share a call of the attention; arguments as for :meth:`read`."""
        order = np.argsort(starts + counts)
        firsts = np.cumsum(counts) - counts
        for begin in range(0, len(rows), _ROWS_TOGETHER):
            some = order[begin : begin + _ROWS_TOGETHER]
            columns = np.arange(counts[some].max())
            real = columns < counts[some, None]  # (b, L)
            longest = int((starts + counts)[some[-1]])
            visible = np.arange(longest) <= (starts[some, None] + columns)[..., None]  # (b, L, longest)
            where = np.where(real, firsts[some, None] + columns, 0)
            mask = np.where(visible, 0, -np.inf)[:, None]
            arrays = rows[some], where, real, mask
            index, where_, real_, mask_ = (torch.as_tensor(array).to(self.device) for array in arrays)
            yield Group(index, where_, real_, mask_.to(self.keys.dtype))


class Group(NamedTuple):
    """Texts whose attention is computed together: b texts, of which at most L tokens are read at once."""

    rows: Tensor
    """Which texts, ``(b,)``."""
    where: Tensor
    """Their tokens among all M that are read, ``(b, L)``; anywhere where there are fewer than L."""
    real: Tensor
    """Where there is a token, bool ``(b, L)``."""
    mask: Tensor
    """Added to the attention's scores, ``(b, 1, L, S)``; S is how much of the cache is looked at."""


def read_one_token(model: GPT2Model, keys: Tensor, values: Tensor, tokens: Tensor, positions: Tensor, longest: int) -> Tensor:
    """Write one more token of every text into the cache, and return its hidden state.

    :param keys: of the cache, ``(L, B or more, H, T + 1, D/H)``; and so ``values``
    :param tokens: ``(B,)``
    :param positions: of the tokens, ``(B,)``, each below ``longest``; T for a row that is none
    :param longest: how much of the cache is looked at
    :return: ``(B, D)``
    """
    n_rows = len(tokens)
    written = _slots(keys, torch.arange(n_rows, device=tokens.device), positions).T  # (B, H)
    visible = torch.arange(longest, device=tokens.device) <= positions[:, None]  # (B, longest)
    seen = (slice(n_rows), slice(None), slice(longest))

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        _write(keys[layer], k, written)
        _write(values[layer], v, written)
        return F.scaled_dot_product_attention(q, keys[layer][seen], values[layer][seen], visible[:, None, None])

    return hidden_states(model, tokens[:, None], positions[:, None].clamp(max=keys.shape[3] - 2), attend)[:, 0]


def read_tokens(
    model: GPT2Model, keys: Tensor, values: Tensor, rows: Tensor, tokens: Tensor, positions: Tensor, groups: Sequence[Group]
) -> Tensor:
    """Write M tokens of some texts into the cache, and return their hidden states.

    :param keys: of the cache, ``(L, B, H, T + 1, D/H)``; and so ``values``
    :param rows: of the tokens, ``(M,)``
    :param tokens: ``(M,)``
    :param positions: of the tokens, ``(M,)``
    :param groups: all the texts
    :return: ``(M, D)``
    """
    written = _slots(keys, rows, positions)  # (H, M)

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        _write(keys[layer], k, written)
        _write(values[layer], v, written)
        q = q[0].transpose(0, 1)  # (M, H, D/H)
        attended = torch.empty_like(q)
        for texts, where, real, mask in groups:
            seen = (keys[layer, texts, :, : mask.shape[-1]], values[layer, texts, :, : mask.shape[-1]])
            found = F.scaled_dot_product_attention(q[where].transpose(1, 2), *seen, mask).transpose(1, 2)  # (b, L, H, D/H)
            attended[where[real]] = found[real]
        return attended.transpose(0, 1)[None]

    return hidden_states(model, tokens[None], positions[None], attend)[0]


def _slots(keys: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
    """Where the heads of tokens go in a layer of the cache seen as ``(B * H * (T + 1), D/H)``. :return: ``(H, M)``"""
    n_head, n_slots = keys.shape[2], keys.shape[3]
    heads = rows * n_head + torch.arange(n_head, device=rows.device)[:, None]
    return heads * n_slots + positions


def _write(cached: Tensor, new: Tensor, slots: Tensor) -> None:
    """Write vectors into a layer. :param cached: ``(B, H, T + 1, D/H)``; :param new: ``(..., D/H)``; :param slots: ``(...)``"""
    cached.view(-1, cached.shape[-1]).index_copy_(0, slots.flatten(), new.reshape(-1, new.shape[-1]).to(cached.dtype))
