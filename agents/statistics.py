"""Means over completion tokens, gathered minibatch by minibatch."""

from collections import defaultdict

from torch import Tensor


class MaskedStatistics:
    """Token-weighted means of named quantities. Padding never enters: minibatches hold completion tokens only."""

    def __init__(self) -> None:
        self._totals: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, name: str, mean: Tensor, n_tokens: int) -> None:
        """Add the mean of a quantity over ``n_tokens`` tokens."""
        self._totals[name] += mean.item() * n_tokens
        self._counts[name] += n_tokens

    def total(self, name: str) -> float:
        """Sum over all tokens added so far."""
        return self._totals[name]

    def means(self) -> dict[str, float]:
        """Mean over all tokens added so far, by name."""
        return {name: total / self._counts[name] for name, total in self._totals.items()}
