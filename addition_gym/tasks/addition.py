"""Scratchpad addition as a :class:`addition_gym.tasks.task.Task`; its rules are in :mod:`addition_gym.scratchpad`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, get_args

import numpy as np

from addition_gym import drafts, scratchpad
from addition_gym.checks import check_operands, shown
from addition_gym.problems import Distribution, ProblemSampler, Split, problem_class
from addition_gym.tasks.task import Task
from addition_gym.vocabulary import ADDITION

DEFAULT_DIGITS = 6


@dataclass(frozen=True)
class Addition(Task):
    """The task of ``ScratchpadAdd-v0``; a size is a number of digits. :class:`addition_gym.env.ScratchpadAddEnv` is the manual.

    :param distribution: as for :class:`addition_gym.problems.ProblemSampler`, which names what is wrong with an argument
    """

    vocabulary = ADDITION
    closing = scratchpad.CLOSING
    problem_key = "operands"
    distributions: ClassVar[tuple[str, ...]] = get_args(Distribution)

    size: int = DEFAULT_DIGITS
    pretrained_size: int = DEFAULT_DIGITS - 1

    def __post_init__(self) -> None:
        self.sampler  # noqa: B018  checks the arguments

    @cached_property
    def sampler(self) -> ProblemSampler:
        """Draws the problems."""
        return ProblemSampler(self.size, self.distribution, self.pretrained_size, self.split)  # type: ignore[arg-type]

    def sample(self, rng: np.random.Generator) -> tuple[int, int]:
        return self.sampler.sample(rng)

    def draw(self, rng: np.random.Generator, size: int) -> tuple[int, int]:
        return ProblemSampler(size, "up_to").sample(rng)

    def check(self, problem: Any) -> tuple[int, int]:
        try:
            a, b = (int(x) if isinstance(x, np.integer) else x for x in problem)
        except (TypeError, ValueError):
            raise TypeError(f"operands must be a pair of ints, but it is {shown(problem)}: pass (a, b)") from None
        check_operands(a, b)
        return a, b

    def prompt(self, problem: tuple[int, int]) -> str:
        return scratchpad.prompt(*problem)

    def solution(self, problem: tuple[int, int]) -> str:
        return scratchpad.solution(*problem)

    @property
    def longest_text(self) -> int:
        return scratchpad.longest_text(self.size)

    def key(self, problem: tuple[int, int]) -> str:
        return "{}+{}".format(*problem)

    def problem_class(self, problem: tuple[int, int]) -> str:
        return problem_class(problem, self.pretrained_size)

    def expected(self, problem: tuple[int, int]) -> str:
        return scratchpad.result_line(*problem)

    def critical_tokens(self, problem: tuple[int, int]) -> Sequence[int]:
        return [token.position for token in scratchpad.critical_tokens(*problem, self.pretrained_size)]

    def continuation(self, text: str) -> str:
        return drafts.continuation(text)


def addition(digits: int, distribution: Distribution, pretrained_digits: int | None, split: Split) -> Addition:
    """Addition in the terms of its environments; N is ``digits - 1`` if it is not given.

    :raises TypeError, ValueError: see :class:`addition_gym.problems.ProblemSampler`
    """
    if pretrained_digits is None:
        pretrained_digits = digits - 1 if isinstance(digits, int) and digits > 1 else 1
    return Addition(digits, distribution, pretrained_digits, split)


def default_max_tokens(digits: int) -> int:
    """The token budget of prompt and completion for operands of so many digits."""
    return Addition(digits, "up_to").default_max_tokens
