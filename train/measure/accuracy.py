"""Accuracy and pass@k of a policy on held-out problems, with confidence intervals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console, RenderableType
from scipy.special import comb
from scipy.stats import binomtest

from addition_gym import prompt
from addition_gym.checks import check_digits
from addition_gym.episode import longest_digits
from addition_gym.errors import CompletionError, completion_error
from addition_gym.problems import ProblemSampler
from policies import GPT2Policy
from policies.checks import at_least, between
from train.measure.choices import Distribution, HeldOut
from train.measure.solve import Problem, budget, solve
from train.measure.statistics import mean
from train.measure.tables import rich_table
from train.run.meter import SILENT, Advance, meter, unseen

EXTRA_DIGITS = range(4)
"""Accuracy is measured on up to N digits and on N+1, N+2 and N+3."""

_STREAM: dict[Distribution, tuple[int, ...]] = {"mixture": (), "identical": (1,), "varying": (2,)}
"""Keeps the problems of the distributions independent of each other."""


@dataclass(frozen=True)
class Kind:
    """A kind of held-out problem.

    :param extra: k of N+k digits; the mixture of k = 0 is operands of up to N digits
    :param distribution: how long the operands are
    """

    extra: int
    distribution: Distribution = "mixture"

    @property
    def name(self) -> str:
        """``"<=N"``, ``"N+1"``, ...; ``"identical N"``, ``"identical N+1"``, ..."""
        if self.distribution == "mixture":
            return f"N+{self.extra}" if self.extra else "<=N"
        return f"{self.distribution} N+{self.extra}" if self.extra else f"{self.distribution} N"

    def problems(self, pretrained_digits: int, n_problems: int, seed: int, split: HeldOut = "test") -> list[Problem]:
        """Problems that no training run has seen.

        :param pretrained_digits: N
        :param n_problems: how many
        :param seed: the same seed gives the same problems
        :param split: ``"test"`` is for final numbers only
        """
        rng = np.random.default_rng([seed, pretrained_digits, self.extra, *_STREAM[self.distribution]])
        longest = pretrained_digits + self.extra
        if self.distribution != "mixture":
            sampler = ProblemSampler(longest, self.distribution, split=split)
        elif self.extra == 0:
            sampler = ProblemSampler(longest, "up_to", split=split)
        else:
            sampler = ProblemSampler(longest, "mixture", pretrained_digits=pretrained_digits, split=split)
        return [sampler.sample(rng) for _ in range(n_problems)]


@dataclass(frozen=True)
class Accuracy:
    """Solved problems of one kind."""

    kind: str
    """The name of the kind, such as ``"N+1"``."""
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

    kind: str
    """The name of the kind, such as ``"N+1"``."""
    k: int
    value: float
    """The unbiased estimate, 0 to 1."""
    interval: tuple[float, float]
    """Ends of the 95% percentile bootstrap interval over problems; NaN for fewer than five."""

    def __str__(self) -> str:
        return _percent(self.value, self.interval)


def pass_at_k(kind: str, right: npt.ArrayLike, n: int, k: int) -> PassAtK:
    """Unbiased estimate of pass@k, Chen et al. (2021), arXiv:2107.03374, Eq. 1: the mean over problems of
    ``1 - C(n - c, k) / C(n, k)``.

    :param kind: the name of the kind of problem
    :param right: c, how many of the ``n`` completions of each problem are right, ``(n_problems,)``
    :param n: completions of each problem
    :param k: 1 <= k <= n
    :raises ValueError: if ``k`` or an entry of ``right`` is out of range, or there is no problem
    """
    c = np.asarray(right)
    check_n_problems(len(c))
    between("k", k, 1, n, "draw more samples")
    if c.min() < 0 or c.max() > n:
        raise ValueError(f"right must lie in 0..n = {n}, but it spans [{c.min()}, {c.max()}]: count each sample once")
    estimate = mean(1 - comb(n - c, k) / comb(n, k))
    return PassAtK(kind, k, estimate.value, (estimate.low, estimate.high))


@dataclass(frozen=True)
class Attempt:
    """One completion of one problem."""

    problem: Problem
    completion: str
    is_success: bool
    """Whether the result line is right."""
    max_tokens: int
    """The budget, prompt and completion together."""

    @property
    def error(self) -> CompletionError | None:
        """What is wrong; None if the result line is right."""
        return completion_error(self.completion, *self.problem, self.max_tokens)


@dataclass(frozen=True)
class Evaluation:
    """The completions of a policy for problems of one kind."""

    kind: Kind
    n_samples: int
    attempts: Sequence[Attempt]
    """The samples of the first problem, then those of the second, ..."""
    split: HeldOut = "test"
    """Of the problems."""

    @property
    def n_problems(self) -> int:
        """How many problems there are."""
        return len(self.attempts) // self.n_samples

    @property
    def accuracy(self) -> Accuracy:
        """Of single completions."""
        return Accuracy(self.kind.name, sum(attempt.is_success for attempt in self.attempts), len(self.attempts))

    def measures(self) -> dict[str, Accuracy | PassAtK]:
        """Accuracy of single completions; pass@k, for powers of two and for all samples, of several."""
        return measures(self.kind.name, [attempt.is_success for attempt in self.attempts], self.n_samples)


def measures(kind: str, successes: Sequence[bool], n_samples: int) -> dict[str, Accuracy | PassAtK]:
    """Accuracy of single completions; pass@k, for powers of two and for all samples, of several.

    :param kind: the name of the kind of problem
    :param successes: of the samples of the first problem, then of those of the second, ...
    :param n_samples: of each problem
    """
    if n_samples == 1:
        return {"accuracy": Accuracy(kind, sum(successes), len(successes))}
    right = np.reshape(successes, (-1, n_samples)).sum(axis=1)
    ks = sorted({2**power for power in range(n_samples.bit_length())} | {n_samples})
    return {f"pass@{k}": pass_at_k(kind, right, n_samples, k) for k in ks}


def evaluate(
    policy: GPT2Policy,
    kind: Kind,
    pretrained_digits: int,
    n_problems: int,
    seed: int = 0,
    n_samples: int = 1,
    deterministic: bool = True,
    advance: Advance = unseen,
    split: HeldOut = "test",
) -> Evaluation:
    """Let a policy complete held-out problems.

    :param policy: what is measured
    :param kind: of problems
    :param pretrained_digits: N
    :param n_problems: how many
    :param seed: of the problems
    :param n_samples: completions of each problem
    :param deterministic: the most probable token (greedy), or a sample
    :param advance: is told how many more completions are done
    :param split: of the problems
    :raises ValueError: if a number is out of range
    """
    check_n_problems(n_problems)
    drawn = kind.problems(pretrained_digits, n_problems, seed, split)
    problems = [problem for problem in drawn for _ in range(n_samples)]
    max_tokens = budget(problems)
    attempts = [
        Attempt(problem, info["text"][len(prompt(*problem)) :], bool(info["is_success"]), max_tokens)
        for problem, info in zip(problems, solve(policy, problems, deterministic, advance=advance), strict=True)
    ]
    return Evaluation(kind, n_samples, attempts, split)


def accuracies(
    policy: GPT2Policy,
    pretrained_digits: int,
    n_problems: int,
    seed: int = 0,
    extras: Iterable[int] = EXTRA_DIGITS,
    distribution: Distribution = "mixture",
    console: Console = SILENT,
    split: HeldOut = "test",
) -> list[Accuracy]:
    """Greedy accuracy on those kinds of problems that fit into the model's position table.

    :param policy: what is measured
    :param pretrained_digits: N
    :param n_problems: of each kind
    :param seed: of the problems
    :param extras: which k
    :param distribution: how long the operands are
    :param console: where to show progress
    :param split: of the problems
    :raises ValueError: if a number is out of range, or the position table is too short for N digits
    """
    kinds = [Kind(extra, distribution) for extra in fitting_extras(policy, pretrained_digits, extras)]
    with meter(console, "Evaluating", len(kinds) * n_problems) as advance:
        return [
            evaluate(policy, kind, pretrained_digits, n_problems, seed, advance=advance, split=split).accuracy for kind in kinds
        ]


def fitting_extras(policy: GPT2Policy, pretrained_digits: int, extras: Iterable[int] = EXTRA_DIGITS) -> list[int]:
    """Those k whose problems of N+k digits fit into the model's position table.

    :param policy: its model's table counts
    :param pretrained_digits: N
    :param extras: which k
    :raises TypeError, ValueError: if N is not a number of digits, or does not fit itself
    """
    check_digits("pretrained_digits", pretrained_digits)
    longest = longest_digits(int(policy.language_model.config.n_positions))
    if pretrained_digits > longest:
        raise ValueError(
            f"pretrained_digits must be at most {longest}, the digits that fit into the model's position table, "
            f"but it is {pretrained_digits}: lower it"
        )
    return [extra for extra in extras if pretrained_digits + extra <= longest]


def check_n_problems(n_problems: int) -> None:
    """Refuse what is not a number of problems.

    :raises ValueError: if it is less than 1
    """
    at_least("n_problems", n_problems, 1, "pass a number of problems")


def accuracy_table(
    title: str, columns: Mapping[str, Sequence[Accuracy | PassAtK]], caption: str = "95% Wilson intervals"
) -> RenderableType:
    """One row per kind of problem, one column per policy or measure."""
    rows = [[row[0].kind, *map(str, row)] for row in zip(*columns.values(), strict=True)]
    return rich_table(title, ["problems", *columns], rows, caption)


def _percent(value: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{100 * value:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"
