"""Token-by-token decoding of a GPT-2: static key and value buffers in which every row has its own length."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import GPT2Model

from policies.cuda_graphs import GraphedStep, Step
from policies.gpt2 import hidden_states
from policies.operators import causal_attention


class KVCache:
    """Keys and values of B texts, and the tokens and weights they were computed from.

    A cache belongs to whoever decodes. It is never silently wrong: :func:`advance` compares every text with the tokens it
    has seen and reads again those that do not simply continue; if the weights have changed, it reads all of them again. Tokens
    and lengths are kept on the host, so that this costs no synchronisation with a GPU.

    :param model: the GPT-2 trunk it serves
    :param n_rows: number of texts B
    :param max_tokens: longest text T
    :param dtype: of keys and values
    """

    def __init__(self, model: GPT2Model, n_rows: int, max_tokens: int, dtype: torch.dtype = torch.float32):
        config, weight = model.config, model.wte.weight
        shape = (config.n_layer, n_rows, config.n_head, max_tokens, config.n_embd // config.n_head)
        self.keys = torch.zeros(shape, dtype=dtype, device=weight.device)  # (L, B, H, T, D/H)
        self.values = torch.zeros_like(self.keys)
        self._tokens = np.zeros((n_rows, max_tokens), dtype=np.int64)  # (B, T)
        self._weights = list(model.parameters())
        self.step: Step = lambda tokens, positions, longest: decode_one_token(
            model, self.keys, self.values, tokens, positions, longest
        )
        if weight.is_cuda:
            self.step = GraphedStep(self.step, n_rows, max_tokens, weight.device)
        self.reset()

    def reset(self) -> None:
        """Forget all texts; the rows that were given up are back."""
        self._weights_version = self._version()
        self.tokens = self._tokens
        self.lengths = np.zeros(len(self.tokens), dtype=np.int64)  # (B,)

    @property
    def capacity(self) -> int:
        """How many texts it holds before any is given up."""
        return len(self._tokens)

    @property
    def shape(self) -> tuple[int, int]:
        """``(n_rows, max_tokens)``"""
        return self.tokens.shape[0], self.tokens.shape[1]

    def drop(self, rows: np.ndarray) -> np.ndarray:
        """Give up some texts. The last of the others take their places, so that the cache stays compact.

        :param rows: which, int ``(k,)``, without repeats
        :return: the former row of each remaining text, int ``(B - k,)``
        """
        n_left = len(self.tokens) - len(rows)
        order = np.arange(n_left)
        holes = rows[rows < n_left]
        order[holes] = np.setdiff1d(np.arange(n_left, len(self.tokens)), rows)
        if len(holes):
            self.keys[:, holes] = self.keys[:, order[holes]]
            self.values[:, holes] = self.values[:, order[holes]]
            self.tokens[holes], self.lengths[holes] = self.tokens[order[holes]], self.lengths[order[holes]]
        self.tokens, self.lengths = self.tokens[:n_left], self.lengths[:n_left]
        return order

    def forget_if_stale(self) -> None:
        """Empty the cache if a weight of the model has changed."""
        if self._weights_version != (version := self._version()):
            self.lengths[:] = 0
            self._weights_version = version

    def _version(self) -> int:
        """Grows whenever PyTorch changes a weight in place."""
        return sum(weight._version for weight in self._weights)


@torch.no_grad()
def advance(model: GPT2Model, cache: KVCache, tokens: np.ndarray, lengths: np.ndarray) -> Tensor:
    """Hidden state of the last token of every text.

    A text that continues what the cache holds by one token costs one token; any other is read from its beginning.

    :param model: GPT-2 trunk
    :param cache: updated in place
    :param tokens: token ids, int64 of shape ``(B, T)``; only the first ``lengths[b]`` of row ``b`` are read
    :param lengths: int64 of shape ``(B,)``, each in 1..T
    :return: hidden states of shape ``(B, D)``
    """
    cache.forget_if_stale()
    longest = int(lengths.max())
    tokens = tokens[:, :longest]
    unseen = np.arange(longest) >= cache.lengths[:, None]
    continues = (lengths == cache.lengths + 1) & ((tokens == cache.tokens[:, :longest]) | unseen).all(axis=1)
    fresh = np.flatnonzero(~continues)
    if len(fresh):
        prefill(model, cache, fresh, tokens[fresh, : int(lengths[fresh].max())])
    last = np.stack([tokens[np.arange(len(tokens)), lengths - 1], lengths - 1])
    device_tokens, positions = torch.as_tensor(last).to(cache.keys.device, non_blocking=True)
    hidden = cache.step(device_tokens, positions, longest)
    cache.tokens[:, :longest] = tokens
    cache.lengths[:] = lengths
    return hidden


def prefill(model: GPT2Model, cache: KVCache, rows: np.ndarray, tokens: np.ndarray) -> None:
    """Write the keys and values of whole texts into rows of the cache.

    :param rows: which rows, int of shape ``(b,)``
    :param tokens: ``(b, T)``, padded right
    """
    length = tokens.shape[1]
    index = torch.as_tensor(rows, device=cache.keys.device)

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        cache.keys[layer, index, :, :length] = k.to(cache.keys.dtype)
        cache.values[layer, index, :, :length] = v.to(cache.values.dtype)
        return causal_attention(q, k, v)

    hidden_states(model, torch.as_tensor(tokens, device=cache.keys.device), attend=attend)


def decode_one_token(model: GPT2Model, keys: Tensor, values: Tensor, tokens: Tensor, positions: Tensor, longest: int) -> Tensor:
    """Write one more token of every text into the cache, and return its hidden state.

    :param keys: of the cache, ``(L, B or more, H, T, D/H)``; and so ``values``
    :param tokens: ``(B,)``
    :param positions: of the tokens, ``(B,)``, each below ``longest``
    :param longest: how much of the cache is looked at
    :return: ``(B, D)``
    """
    n_rows, n_head, max_tokens = len(tokens), keys.shape[2], keys.shape[3]
    rows = torch.arange(n_rows, device=tokens.device)[:, None] * n_head + torch.arange(n_head, device=tokens.device)
    written = (rows * max_tokens + positions[:, None]).flatten()  # where (B, H) vectors go in a layer seen as (B * H * T, D/H)
    visible = torch.arange(longest, device=tokens.device) <= positions[:, None]  # (B, longest)
    seen = (slice(n_rows), slice(None), slice(longest))

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        for cached, new in ((keys[layer], k), (values[layer], v)):
            cached.view(-1, cached.shape[-1]).index_copy_(0, written, new.reshape(-1, new.shape[-1]).to(cached.dtype))
        return F.scaled_dot_product_attention(q, keys[layer][seen], values[layer][seen], visible[:, None, None])

    return hidden_states(model, tokens[:, None], positions[:, None], attend)[:, 0]
