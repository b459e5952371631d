"""The bare limit: a GPT-2's products of matrices at the shapes of the real work, into buffers that are already there."""

import numpy as np
import torch
from torch import Tensor
from transformers import GPT2Config

from benchmarks.episodes import Episodes

QUERY_BLOCK = 64
"""Queries of whole texts that are multiplied at a time, with no key beyond the last of them."""


class MatrixProducts:
    """No embedding, layer norm, softmax, activation, sampling, loss or optimizer: only what multiplies matrices.

    :param config: of the GPT-2
    :param device: where
    :param dtype: of all numbers
    """

    def __init__(self, config: GPT2Config, device: str = "cpu", dtype: torch.dtype = torch.float32):
        self.device, self.dtype = device, dtype
        self.n_layer, self.n_head, width = config.n_layer, config.n_head, config.n_embd
        self.head_width = width // self.n_head
        shapes = [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)]
        self.blocks = [[self._random(*shape) for shape in shapes] for _ in range(self.n_layer)]
        self.lm_head = self._random(width, config.vocab_size)
        self.buffers: dict[str, Tensor] = {}
        self.flops = 0
        """Floating-point operations so far."""

    def rollout(self, episodes: Episodes) -> int:
        """Prompts, then step by step the lanes still running, at their mean context. :return: completion tokens"""
        lanes, longest = len(episodes.tokens), int(episodes.text_lengths.max())
        shape = (self.n_layer, lanes * self.n_head, longest, self.head_width)
        keys, values = self._buffer("keys", shape), self._buffer("values", shape)
        self._texts(episodes.prompt_lengths, n_outputs=lanes, backward=False)
        lengths = episodes.completion_lengths
        for step in range(1, int(lengths.max())):
            running = lengths > step
            context = round(float(episodes.prompt_lengths[running].mean())) + step
            n_running = int(running.sum())
            for weights, k, v in zip(self.blocks, keys, values, strict=True):
                self._linear(n_running, weights, backward=False)
                n = n_running * self.n_head
                self._attend(self._buffer("q", (n, 1, self.head_width)), k[:n, :context], v[:n, :context], backward=False)
            self._linear(n_running, [self.lm_head], backward=False)
        return episodes.n_tokens

    def update(self, episodes: Episodes, batch_size: int) -> int:
        """The forward pass of the reference, and forward and backward of the model, nothing padded.

        :param batch_size: episodes of a minibatch; they are sorted by length
        :return: completion tokens
        """
        order = np.argsort(episodes.text_lengths)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            n_outputs = int(episodes.completion_lengths[rows].sum())
            for backward in (False, True):
                self._texts(episodes.text_lengths[rows], n_outputs, backward)
        return episodes.n_tokens

    def _texts(self, lengths: np.ndarray, n_outputs: int, backward: bool) -> None:
        batch, longest = len(lengths) * self.n_head, round(float(lengths.mean()))
        q, k, v = (self._buffer(name, (batch, longest, self.head_width)) for name in "qkv")
        for weights in self.blocks:
            self._linear(int(lengths.sum()), weights, backward)
            for start in range(0, longest, QUERY_BLOCK):
                end = min(start + QUERY_BLOCK, longest)
                self._attend(q[:, start:end], k[:, :end], v[:, :end], backward)
        self._linear(n_outputs, [self.lm_head], backward)

    def _linear(self, rows: int, weights: list[Tensor], backward: bool) -> None:
        for weight in weights:
            n_in, n_out = weight.shape
            x, y = self._buffer("x", (rows, n_in)), self._buffer("y", (rows, n_out))
            torch.mm(x, weight, out=y)
            if backward:
                torch.mm(y, weight.T, out=self._buffer("dx", (rows, n_in)))
                torch.mm(x.T, y, out=self._buffer("dw", (n_in, n_out)))
            self.flops += 2 * rows * n_in * n_out * (3 if backward else 1)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, backward: bool) -> None:
        """``q (B, Q, d)``, ``k`` and ``v (B, K, d)``: scores, then the sum of values."""
        batch, n_queries, width = q.shape
        n_keys = k.shape[1]
        scores = self._buffer("scores", (batch, n_queries, n_keys))
        attended = self._buffer("attended", (batch, n_queries, width))
        torch.bmm(q, k.mT, out=scores)
        torch.bmm(scores, v, out=attended)
        if backward:
            torch.bmm(attended, v.mT, out=self._buffer("dscores", (batch, n_queries, n_keys)))
            torch.bmm(scores.mT, attended, out=self._buffer("dv", (batch, n_keys, width)))
            torch.bmm(scores, k, out=attended)
            torch.bmm(scores.mT, q, out=self._buffer("dk", (batch, n_keys, width)))
        self.flops += 4 * batch * n_queries * n_keys * width * (3 if backward else 1)

    def _buffer(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """A view of memory that grows only when it must."""
        size = int(np.prod(shape))
        if name not in self.buffers or self.buffers[name].numel() < size:
            self.buffers[name] = self._random(size)
        return self.buffers[name][:size].view(shape)

    def _random(self, *shape: int) -> Tensor:
        return torch.randn(shape, device=self.device, dtype=self.dtype)


def operations(config: GPT2Config, episodes: Episodes, batch_size: int) -> tuple[int, int]:
    """Floating-point operations of a rollout and of an update: counted, not done."""
    rollout, update = MatrixProducts(config, device="meta"), MatrixProducts(config, device="meta")
    rollout.rollout(episodes)
    update.update(episodes, batch_size)
    return rollout.flops, update.flops
