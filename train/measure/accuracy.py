"""Accuracy and pass@k on held-out problems, with confidence intervals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from rich.table import Table
from scipy.special import comb
from scipy.stats import binomtest

from addition_gym.checks import check_digits
from addition_gym.problems import ProblemSampler
from policies import GPT2Policy
from train.measure.solve import Problem, solve
from train.measure.statistics import mean
from train.run.models import longest_digits

EXTRA_DIGITS = range(4)
"""Accuracy is measured on up to N digits and on N+1, N+2 and N+3."""

Distribution = Literal["mixture", "identical", "varying"]
"""Kinds of held-out problems.

- ``"mixture"``: up to N digits, and the RL problems of N+k digits, as in training
- ``"identical"``: both operands have exactly N+k digits (arXiv:2502.06533, Table 4)
- ``"varying"``: one operand has N+k digits, the other at most N+k (Table 5)
"""

_STREAM: dict[Distribution, tuple[int, ...]] = {"mixture": (), "identical": (1,), "varying": (2,)}
"""Keeps the problems of the distributions independent of each other."""


@dataclass(frozen=True)
class Accuracy:
    """Solved problems of one kind."""

    problems: str
    """Which kind, such as ``"N+1"``."""
    solved: int
    total: int

    @property
    def value(self) -> float:
        """Share solved, 0 to 1."""
        return self.solved / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95% Wilson score interval."""
        bounds = binomtest(self.solved, self.total).proportion_ci(0.95, method="wilson")
        return float(bounds.low), float(bounds.high)

    def __str__(self) -> str:
        return _percent(self.value, self.interval)

    def as_dict(self) -> dict[str, Any]:
        """For ``results.json``."""
        return {"solved": self.solved, "total": self.total, "accuracy": self.value, "interval": self.interval}


@dataclass(frozen=True)
class PassAtK:
    """The probability that at least one of k sampled completions of a problem is right."""

    problems: str
    """Which kind, such as ``"N+1"``."""
    k: int
    value: float
    """The unbiased estimate, 0 to 1."""
    interval: tuple[float, float]
    """Ends of the 95% percentile bootstrap interval over problems; NaN for a single problem."""

    def __str__(self) -> str:
        return _percent(self.value, self.interval)


def pass_at_k(problems: str, right: npt.ArrayLike, n: int, k: int) -> PassAtK:
    """Unbiased estimate of pass@k, Chen et al. (2021), arXiv:2107.03374, Eq. 1: the mean over problems of
    ``1 - C(n - c, k) / C(n, k)``.

    :param problems: which kind
    :param right: c, how many of the ``n`` completions of each problem are right, ``(n_problems,)``
    :param n: completions of each problem
    :param k: 1 <= k <= n
    :raises ValueError: if ``k`` or an entry of ``right`` is out of range, or there is no problem
    """
    c = np.asarray(right)
    check_count(len(c))
    if not 1 <= k <= n:
        raise ValueError(f"k must lie in 1..n = {n}, the samples of each problem, but it is {k}: draw more samples")
    if c.min() < 0 or c.max() > n:
        raise ValueError(f"right must lie in 0..n = {n}, but it spans [{c.min()}, {c.max()}]: count each sample once")
    estimate = mean(1 - comb(n - c, k) / comb(n, k))
    return PassAtK(problems, k, estimate.value, (estimate.low, estimate.high))


def held_out_problems(digits: int, extra: int, count: int, seed: int, distribution: Distribution = "mixture") -> list[Problem]:
    """Problems that no training run has seen: the test split.

    :param digits: N
    :param extra: k; the mixture of k = 0 is operands of up to N digits
    :param count: how many
    :param seed: the same seed gives the same problems
    :param distribution: how long the operands are
    """
    rng = np.random.default_rng([seed, digits, extra, *_STREAM[distribution]])
    if distribution != "mixture":
        sampler = ProblemSampler(digits + extra, distribution, split="test")
    elif extra == 0:
        sampler = ProblemSampler(digits, "up_to", split="test")
    else:
        sampler = ProblemSampler(digits + extra, "mixture", pretrained_digits=digits, split="test")
    return [sampler.sample(rng) for _ in range(count)]


def problems_name(extra: int, distribution: Distribution = "mixture") -> str:
    """``"<=N"``, ``"N+1"``, ...; ``"identical N"``, ``"identical N+1"``, ..."""
    if distribution == "mixture":
        return f"N+{extra}" if extra else "<=N"
    return f"{distribution} N+{extra}" if extra else f"{distribution} N"


def fitting_extras(policy: GPT2Policy, digits: int, extras: Iterable[int] = EXTRA_DIGITS) -> list[int]:
    """Those k whose problems of N+k digits fit into the model's position table.

    :param policy: its model's table counts
    :param digits: N
    :param extras: which k
    :raises TypeError, ValueError: if N is not a number of digits, or does not fit itself
    """
    check_digits("pretrained_digits", digits)
    longest = longest_digits(int(policy.language_model.config.n_positions))
    if digits > longest:
        raise ValueError(
            f"pretrained_digits must be at most {longest}, the digits that fit into the model's position table, "
            f"but it is {digits}: lower it"
        )
    return [extra for extra in extras if digits + extra <= longest]


def evaluate(
    policy: GPT2Policy,
    digits: int,
    count: int,
    seed: int = 0,
    deterministic: bool = True,
    extras: Iterable[int] = EXTRA_DIGITS,
) -> list[Accuracy]:
    """Accuracy on up to N digits and on those N+k mixtures that fit into the model's position table.

    :param policy: what is measured
    :param digits: N
    :param count: problems of each kind
    :param seed: of the problems
    :param deterministic: the most probable token (greedy), or a sample
    :param extras: which k
    :raises ValueError: if a number is out of range, or the position table is too short for N digits
    """
    check_count(count)
    accuracies = []
    for extra in fitting_extras(policy, digits, extras):
        infos = solve(policy, held_out_problems(digits, extra, count, seed), deterministic)
        accuracies.append(Accuracy(problems_name(extra), sum(bool(info["is_success"]) for info in infos), count))
    return accuracies


def check_count(count: int) -> None:
    """Refuse what is not a number of problems.

    :raises ValueError: if it is less than 1
    """
    if count < 1:
        raise ValueError(f"problems must be >= 1, but it is {count}: pass a number of problems")


def table(title: str, columns: Mapping[str, Sequence[Accuracy | PassAtK]], caption: str = "95% Wilson intervals") -> Table:
    """One row a kind of problem, one column a policy or a measure."""
    result = Table(title=title, caption=caption)
    result.add_column("digits")
    for name in columns:
        result.add_column(name, justify="right")
    for row in zip(*columns.values(), strict=True):
        result.add_row(row[0].problems, *(str(accuracy) for accuracy in row))
    return result


def _percent(value: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{100 * value:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"
