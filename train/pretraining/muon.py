"""Muon in float32.

``torch.optim.Muon`` orthogonalises in bfloat16, which a CPU without bfloat16 instructions emulates: 1.3 s per step against
0.03 s here, for the matrices of the tiny model.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_NEWTON_SCHULZ_STEPS = 5


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by Newton-Schulz iterations, for weight matrices.

    Source: Jordan et al. (2024), https://kellerjordan.github.io/posts/muon

    :param params: two-dimensional weights
    :param lr: learning rate, scaled by ``sqrt(max(1, rows / columns))``
    :param momentum: of Nesterov momentum
    :param weight_decay: decoupled, times the learning rate
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.01):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every weight that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 1 - group["momentum"])
                direction = orthogonalize(weight.grad.lerp(momentum, group["momentum"]))
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(direction, alpha=-group["lr"] * max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5)


def orthogonalize(matrix: Tensor) -> Tensor:
    """Push the singular values of a matrix towards 1: about 0.7 to 1.2 after five Newton-Schulz iterations.

    :param matrix: ``(m, n)``
    :return: ``(m, n)``
    """
    a, b, c = _NEWTON_SCHULZ
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x
