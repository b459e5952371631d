"""The fast CPU operators against PyTorch's own, in value and gradient."""

import pytest
import torch
import torch.nn.functional as F

from policies.operators import causal_attention, gelu


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_gelu(scale: float) -> None:
    x = (scale * torch.randn(1000, dtype=torch.float64)).requires_grad_()
    grad = torch.randn_like(x)
    expected = F.gelu(x, approximate="tanh")
    torch.testing.assert_close(gelu(x), expected)
    (wanted,) = torch.autograd.grad(expected, x, grad)
    (found,) = torch.autograd.grad(gelu(x), x, grad)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("length", [1, 5, 127, 128, 129, 300])
def test_causal_attention(length: int) -> None:
    """Against a softmax over explicitly masked scores."""
    torch.manual_seed(length)
    q, k, v = (torch.randn(2, 3, length, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    grad = torch.randn(2, 3, length, 4, dtype=torch.float64)
    scores = (q @ k.transpose(-1, -2) / 2).masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf)
    expected = scores.softmax(-1) @ v
    attended = causal_attention(q, k, v)
    torch.testing.assert_close(attended, expected)
    for found, wanted in zip(
        torch.autograd.grad(attended, (q, k, v), grad), torch.autograd.grad(expected, (q, k, v), grad), strict=True
    ):
        torch.testing.assert_close(found, wanted)
