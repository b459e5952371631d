"""Accuracy on held-out problems, with confidence intervals."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table
from scipy.stats import binomtest

from addition_gym.problems import ProblemSampler
from addition_gym.scratchpad import check_digits
from policies import GPT2Policy
from train.model_folder import longest_digits
from train.solve import Problem, solve

EXTRA_DIGITS = range(4)
"""Accuracy is measured on up to N digits and on N+1, N+2 and N+3."""


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
        low, high = self.interval
        return f"{100 * self.value:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"

    def as_dict(self) -> dict[str, Any]:
        """For ``results.json``."""
        return {"solved": self.solved, "total": self.total, "accuracy": self.value, "interval": self.interval}


def held_out_problems(digits: int, extra: int, count: int, seed: int) -> list[Problem]:
    """Problems that no training run has seen: the test split.

    :param digits: N
    :param extra: 0 for operands of up to N digits; k > 0 for the RL mixture of N+k digits
    :param count: how many
    :param seed: the same seed gives the same problems
    """
    rng = np.random.default_rng([seed, digits, extra])
    if extra == 0:
        sampler = ProblemSampler(digits, "up_to", split="test")
    else:
        sampler = ProblemSampler(digits + extra, "mixture", pretrained_digits=digits, split="test")
    return [sampler.sample(rng) for _ in range(count)]


def problems_name(extra: int) -> str:
    """``"<=N"``, ``"N+1"``, ..."""
    return f"N+{extra}" if extra else "<=N"


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
    check_digits("pretrained_digits", digits)
    if count < 1:
        raise ValueError(f"problems must be >= 1, but it is {count}: pass a number of problems")
    longest = longest_digits(int(policy.language_model.config.n_positions))
    if digits > longest:
        raise ValueError(
            f"pretrained_digits must be at most {longest}, the digits that fit into the model's position table, "
            f"but it is {digits}: lower it"
        )
    accuracies = []
    for extra in extras:
        if digits + extra <= longest:
            infos = solve(policy, held_out_problems(digits, extra, count, seed), deterministic)
            accuracies.append(Accuracy(problems_name(extra), sum(bool(info["is_success"]) for info in infos), count))
    return accuracies


def table(title: str, columns: dict[str, list[Accuracy]]) -> Table:
    """One row a kind of problem, one column a policy."""
    result = Table(title=title, caption="95% Wilson intervals")
    result.add_column("digits")
    for name in columns:
        result.add_column(name, justify="right")
    for row in zip(*columns.values(), strict=True):
        result.add_row(row[0].problems, *(str(accuracy) for accuracy in row))
    return result
