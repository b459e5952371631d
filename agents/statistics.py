"""Means over completion tokens, gathered minibatch by minibatch."""

import torch
from torch import Tensor


class MaskedStatistics:
    """Token-weighted means of named quantities. Padding never enters: minibatches hold completion tokens only."""

    def __init__(self) -> None:
        self._totals: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, mean: Tensor, n_tokens: int) -> None:
        """Add the mean of a quantity over ``n_tokens`` tokens; nothing is fetched from the device yet."""
        self._totals[name] = self._totals.get(name, torch.zeros_like(mean)) + mean.detach() * n_tokens
        self._counts[name] = self._counts.get(name, 0) + n_tokens

    def total(self, name: str) -> float:
        """Sum over all tokens added so far."""
        return self._totals[name].item()

    def means(self) -> dict[str, float]:
        """Mean over all tokens added so far, by name."""
        return {name: total.item() / self._counts[name] for name, total in self._totals.items()}
