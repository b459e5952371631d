"""Which problems are asked: distributions over pairs of operands, and the splits that hold problems out of training."""

import zlib
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from addition_gym.checks import check_digits, one_of

Distribution = Literal["identical", "varying", "up_to", "longer", "mixture"]
Split = Literal["all", "train", "validation", "test"]

_HELD_OUT: dict[int, Split] = {0: "test", 1: "validation"}


def split_of_text(problem: str) -> Split:
    """The split that a problem belongs to, by a fixed hash of its text, so that every program agrees.

    One problem in ten is for testing, and is left for final numbers; another one in ten for validation: for tuning, and for
    whatever is measured while a model learns. All others are for training.
    """
    return _HELD_OUT.get(zlib.crc32(problem.encode()) % 10, "train")


def split_of(a: int, b: int) -> Split:
    """The split of an addition, as :func:`split_of_text` has it."""
    return split_of_text(f"{a}+{b}")


def problem_class(operands: tuple[int, int], pretrained_digits: int) -> str:
    """Which operands are longer than N digits, such as ``"long+short"``."""
    return "+".join("long" if len(str(operand)) > pretrained_digits else "short" for operand in operands)


@dataclass(frozen=True)
class ProblemSampler:
    """A distribution over pairs of operands.

    :param digits: the longest operand, in digits, >= 1
    :param distribution: how long the two operands are

        - ``"identical"``: both have exactly ``digits`` digits
        - ``"varying"``: one has ``digits`` digits, the other a length uniform in 1..``digits``; a coin toss says which
        - ``"up_to"``: each has a length uniform in 1..``digits`` (pre-training: "balanced over 1..N")
        - ``"longer"``: the length of each is the larger of two that are uniform in 1..``digits``
        - ``"mixture"``: the RL problems of arXiv:2502.06533. One operand has ``digits`` = N+k digits; the other, with
          probability 1/2, a length uniform in 1..N, otherwise uniform in N+1..N+k; a coin toss says which is the long one
    :param pretrained_digits: N, only read by ``"mixture"``: 1 <= N < ``digits``
    :param split: ``"train"``, ``"validation"`` and ``"test"`` are disjoint (:func:`split_of`); ``"all"`` is all three
    :raises TypeError, ValueError: if an argument breaks its constraint
    """

    digits: int
    distribution: Distribution = "mixture"
    pretrained_digits: int = 1
    split: Split = "all"

    def __post_init__(self) -> None:
        check_digits("digits", self.digits)
        check_digits("pretrained_digits", self.pretrained_digits)
        one_of("distribution", self.distribution, get_args(Distribution))
        one_of("split", self.split, get_args(Split))
        if self.distribution == "mixture" and self.digits < 2:
            raise ValueError(
                f"digits must be >= 2 for the mixture, which needs shorter numbers too, but it is {self.digits}: "
                "raise it, or choose distribution='varying'"
            )
        if self.distribution == "mixture" and self.pretrained_digits >= self.digits:
            raise ValueError(
                f"pretrained_digits must be < digits = {self.digits} for the mixture, but it is {self.pretrained_digits}: "
                "lower it, or choose distribution='varying'"
            )

    def sample(self, rng: np.random.Generator) -> tuple[int, int]:
        """Draw one problem.

        :param rng: the only source of randomness
        :return: the operands ``(a, b)`` as Python ints
        """
        while True:
            a, b = (_sample_operand(rng, length) for length in self._sample_lengths(rng))
            if self.split in ("all", split_of(a, b)):
                return a, b

    def _sample_lengths(self, rng: np.random.Generator) -> tuple[int, int]:
        def uniform(low: int, high: int) -> int:
            return int(rng.integers(low, high, endpoint=True))

        match self.distribution:
            case "identical":
                return self.digits, self.digits
            case "up_to":
                return uniform(1, self.digits), uniform(1, self.digits)
            case "longer":
                return (
                    max(uniform(1, self.digits), uniform(1, self.digits)),
                    max(uniform(1, self.digits), uniform(1, self.digits)),
                )
            case "varying":
                other = uniform(1, self.digits)
            case "mixture":
                if rng.random() < 0.5:
                    other = uniform(1, self.pretrained_digits)
                else:
                    other = uniform(self.pretrained_digits + 1, self.digits)
        return (self.digits, other) if rng.random() < 0.5 else (other, self.digits)


def _sample_operand(rng: np.random.Generator, length: int) -> int:
    """A number of exactly ``length`` digits, uniform among them (one digit: 0..9)."""
    digits = rng.integers(0, 10, size=length)
    if length > 1:
        digits[0] = rng.integers(1, 10)
    return int("".join(map(str, digits)))
