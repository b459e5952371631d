"""GPT-2: its configuration, its initial weights, and the trunk that training, scoring and cached decoding share."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model
from transformers.pytorch_utils import Conv1D

from policies.checks import whole
from policies.operators import causal_attention, gelu

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""Attention of one block: block index, queries, keys and values, each ``(B, H, T, D/H)``, to ``(B, H, T, D/H)``."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu_new": gelu, "gelu_pytorch_tanh": gelu, "gelu": F.gelu}
"""By their names in a ``GPT2Config``."""


def gpt2_config(
    vocab_size: int,
    n_positions: int,
    n_layer: int,
    n_head: int,
    n_embd: int,
    pad_token_id: int | None,
    activation_function: str = "gelu_pytorch_tanh",
    **others: Any,
) -> GPT2Config:
    """A GPT-2 of a given size, without dropout, so that sampling and training see the same distribution.

    :param vocab_size: V, number of tokens
    :param n_positions: longest text, in tokens
    :param n_layer: number of transformer blocks
    :param n_head: attention heads per block
    :param n_embd: width D, a multiple of ``n_head``
    :param pad_token_id: the padding token
    :param activation_function: a key of :data:`ACTIVATIONS`
    :param others: further entries of the configuration
    :raises TypeError: if a size is not an int
    :raises ValueError: if ``n_embd`` is not a multiple of ``n_head`` or a size is not positive
    """
    sizes = dict(vocab_size=vocab_size, n_positions=n_positions, n_layer=n_layer, n_head=n_head, n_embd=n_embd)
    for name, value in sizes.items():
        whole(name, value, 1, "pass a positive size")
    if n_embd % n_head:
        raise ValueError(f"n_embd must be a multiple of n_head = {n_head}, but it is {n_embd}: change one of them")
    return GPT2Config(
        **sizes,
        activation_function=activation_function,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=pad_token_id,
        **others,
    )


def build_gpt2(config: GPT2Config) -> GPT2LMHeadModel:
    """A GPT-2 with random weights, except the position table, which starts as sinusoids: they learn to copy far sooner.

    :return: the model in float32, in eval mode
    """
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        model.transformer.wpe.weight.copy_(sinusoids(config.n_positions, config.n_embd) * config.initializer_range)
    return model.eval()


def sinusoids(n_positions: int, n_embd: int) -> Tensor:
    """The fixed position table of Vaswani et al. (2017), section 3.5, scaled to mean square 1.

    :return: float32 of shape ``(n_positions, n_embd)``
    """
    position = torch.arange(n_positions, dtype=torch.float32)[:, None]
    frequency = torch.exp(torch.arange(0, n_embd, 2) * (-math.log(10_000.0) / n_embd))
    table = torch.zeros(n_positions, n_embd)
    table[:, 0::2] = torch.sin(position * frequency)
    table[:, 1::2] = torch.cos(position * frequency[: n_embd // 2])
    return table * math.sqrt(2)


def hidden_states(model: GPT2Model, tokens: Tensor, positions: Tensor | None = None, attend: Attend | None = None) -> Tensor:
    """The GPT-2 trunk with its attention left open, so that whole texts and cached decoding run the same code.

    :param model: the trunk; its dropout is not applied
    :param tokens: token ids, int64 of shape ``(B, T)``
    :param positions: int64 of shape ``(B, T)`` or ``(1, T)``; ``0..T-1`` by default
    :param attend: the attention; by default every token attends to itself and to those before it
    :return: final hidden states, ``(B, T, D)``; those of padding are meaningless
    """
    batch, length = tokens.shape
    activation = ACTIVATIONS[model.config.activation_function]
    if positions is None:
        positions = torch.arange(length, device=tokens.device)[None]
    hidden = (F.embedding(tokens, model.wte.weight) + F.embedding(positions, model.wpe.weight)).flatten(0, 1)  # (B * T, D)
    for layer, block in enumerate(model.h):
        qkv = _linear(block.attn.c_attn, _layer_norm(block.ln_1, hidden)).view(batch, length, 3, model.config.n_head, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, T, D/H)
        attended = causal_attention(q, k, v) if attend is None else attend(layer, q, k, v)
        hidden = hidden + _linear(block.attn.c_proj, attended.transpose(1, 2).reshape(batch * length, -1))
        hidden = hidden + _linear(block.mlp.c_proj, activation(_linear(block.mlp.c_fc, _layer_norm(block.ln_2, hidden))))
    return _layer_norm(model.ln_f, hidden).view(batch, length, -1)


def _linear(layer: Conv1D, x: Tensor) -> Tensor:
    """The layer without its module call, which costs as much as a small matrix product. :param x: ``(M, D)``"""
    return torch.addmm(layer.bias, x, layer.weight)


def _layer_norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    return F.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)
