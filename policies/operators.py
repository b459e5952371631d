"""The two operators of GPT-2 for which PyTorch's own CPU kernels are slow on short texts."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_QUERY_BLOCK = 128
_INNER, _CUBIC = 2 * math.sqrt(2 / math.pi), 0.044715


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Every token attends to itself and to those before it; right padding then needs no mask.

    PyTorch's causal CPU kernel computes the whole square in its backward pass. Here every block of queries sees only the keys
    up to its own end.

    :param q: queries ``(B, H, T, D/H)``, likewise keys ``k`` and values ``v``
    :return: ``(B, H, T, D/H)``
    """
    length = q.shape[2]
    if q.device.type != "cpu" or length <= _QUERY_BLOCK:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    future = torch.full((_QUERY_BLOCK, length), -math.inf, dtype=q.dtype).triu(1)
    attended = []
    for start in range(0, length, _QUERY_BLOCK):
        end = min(start + _QUERY_BLOCK, length)
        mask = F.pad(future[: end - start, : end - start], (start, 0))
        attended.append(F.scaled_dot_product_attention(q[:, :, start:end], k[:, :, :end], v[:, :, :end], attn_mask=mask))
    return torch.cat(attended, dim=2)


def gelu(x: Tensor) -> Tensor:
    """GPT-2's GELU (Hendrycks and Gimpel 2016), ``x (1 + tanh(y / 2)) / 2`` with ``y = sqrt(8 / pi) (x + 0.044715 x**3)``.

    Since ``(1 + tanh(y / 2)) / 2 = sigmoid(y)``, a CPU, on which PyTorch's sigmoid is several times faster than its tanh,
    computes ``x sigmoid(y)``.
    """
    if x.device.type != "cpu":
        return F.gelu(x, approximate="tanh")
    return _SigmoidGelu.apply(x)


class _SigmoidGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        gate = (x * x).mul_(_INNER * _CUBIC).add_(_INNER).mul_(x).sigmoid_()
        ctx.save_for_backward(x, gate)
        return x * gate

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x, gate = ctx.saved_tensors
        slope = (x * x).mul_(3 * _INNER * _CUBIC).add_(_INNER).mul_(x)  # x dy/dx
        return slope.mul_(1 - gate).add_(1).mul_(gate).mul_(grad)
