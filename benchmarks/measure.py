"""What is measured, with which settings, and how the clock is read."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

Contender = Callable[[], float]
"""Does its work once and says how much it was, such as a number of completion tokens."""

Rates = dict[str, list[float]]
"""Amount of work a second by contender, an entry for each repeat."""


@dataclass(frozen=True)
class Settings:
    """How large everything is that is measured."""

    device: str = "cpu"
    """Where, such as cpu or cuda."""
    repeats: int = 3
    """How often; what is reported is the median."""
    digits: int = 5
    """N: the problems have N+1 digits."""
    lanes: tuple[int, ...] = (1, 16, 64, 256)
    """Of the rollouts."""
    train_lanes: int = 64
    """Of the updates and of whole iterations."""
    env_steps: int = 1000
    """Of the environments."""
    stock_states: int = 6
    """Of each episode that stock SB3 reads in a sampled rollout."""
    stock_transitions: int = 128
    """That stock SB3 learns from in a sampled update."""
    pretraining_steps: int = 5
    """Of pre-training."""
    growth_digits: tuple[int, ...] = (3, 6, 9, 12)
    """Longest operands of the problems by which the cost grows."""
    growth_lanes: tuple[int, ...] = (16, 64, 256)
    """Lanes by which the cost grows."""
    target_accuracy: float = 0.6
    """Where the time to accuracy ends."""
    gemm_size: int = 2048
    """Rows and columns of the matrices whose product shows the peak."""
    read_megabytes: int = 512
    """What is read to measure the bandwidth of the memory."""


QUICK = Settings(
    repeats=2,
    digits=1,
    lanes=(1, 4),
    train_lanes=4,
    env_steps=150,
    stock_states=3,
    stock_transitions=8,
    pretraining_steps=1,
    growth_digits=(2, 3),
    growth_lanes=(2, 4),
    target_accuracy=0.0,
    gemm_size=128,
    read_megabytes=8,
)


@dataclass(frozen=True)
class Row:
    """One contender in one case."""

    case: str
    contender: str
    unit: str
    values: tuple[float, ...]
    """One for each repeat."""
    ratio: float
    """What the part's ratio column says."""
    at_least: float | None = None
    """The bar for the ratio, if there is one."""
    at_most: float | None = None

    @property
    def median(self) -> float:
        """Of the repeats."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the ratio meets its bar; None if there is none."""
        if self.at_least is not None:
            return self.ratio >= self.at_least
        return None if self.at_most is None else self.ratio <= self.at_most


@dataclass(frozen=True)
class Part:
    """A table of measurements."""

    title: str
    note: str
    """What the reader must know to trust it."""
    measure: Callable[[Any], list[Row]]
    """From its settings."""
    ratio: str = "ours / this"
    """What the ratio column says; a ratio is always one of medians."""


def rate(contender: Contender, device: str) -> float:
    """Amount of work a second, by the wall clock; on a GPU until it is really done."""
    synchronize(device)
    start = time.perf_counter()
    amount = contender()
    synchronize(device)
    return amount / (time.perf_counter() - start)


def synchronize(device: str) -> None:
    """Wait for a GPU."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def interleave(contenders: Mapping[str, Contender], repeats: int, device: str) -> Rates:
    """Rates of all contenders. They take turns, so that noise hits all alike."""
    rates: Rates = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, contender in contenders.items():
            rates[name].append(rate(contender, device))
    return rates


def compare(
    case: str,
    unit: str,
    values: Mapping[str, Sequence[float]],
    at_least: Mapping[str, float] | None = None,
    at_most: Mapping[str, float] | None = None,
) -> list[Row]:
    """A row for each contender; ratios are those of the first contender, ours, to it.

    :param case: what was done, such as ``"64 lanes"``
    :param unit: of the values
    :param values: by contender, an entry for each repeat
    :param at_least: bars of the ratios, by contender
    :param at_most: likewise
    """
    ours = statistics.median(next(iter(values.values())))
    return [
        Row(
            case,
            contender,
            unit,
            tuple(repeats),
            ours / statistics.median(repeats),
            (at_least or {}).get(contender),
            (at_most or {}).get(contender),
        )
        for contender, repeats in values.items()
    ]
