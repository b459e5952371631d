"""``MixedParity-v0``: the parity of a bit string, answered at once or after a chain of thought."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import xor
from typing import Any, ClassVar, Self

import numpy as np

from addition_gym.checks import shown
from addition_gym.tasks.task import Task
from addition_gym.vocabulary import Vocabulary

LETTERS = "abcdefghijklmnop"
SHORT_CHAIN_SHARE = 0.95  # at 1, a model tells by the length alone whether an answer is to be guessed


@dataclass(frozen=True)
class MixedParity(Task):
    """Whether a bit string has an odd number of ones. One early token decides: answer at once, or reason.

    ## Description
    The prompt numbers the bits with letters, such as ``a0b1c1d0:`` for 0110. The model may answer at once, ``=0``, which is
    little better than guessing where strings are long. Or it may write a chain of thought first, ``>a00b11c10d00=0``: each
    letter with its bit and the parity so far. Its steps are easy, since a letter says where to look.

    Pre-training shows both. Strings of up to N bits nearly always come with their chain, longer ones only in a share
    ``chain_share`` of the examples, and otherwise with nothing but the right answer. So the reference answers long strings at
    once, and ``chain_share`` sets how certain it is of this one token: 0.5 leaves it unsure, 0.001 makes it sure and wrong.

    ## Action Space
    ``Discrete(23)``: the next token, a letter a to p, ``0``, ``1``, ``:``, ``>``, ``=``, the line break, or padding, which ends
    the episode. Every token is legal in every state. ``MixedParity.vocabulary`` encodes and decodes.

    ## Observation Space
    ``Box(0, 22, (max_tokens,), int64)``: prompt and completion so far, padded on the right with 0.

    ## Starting State
    The prompt of a string of random bits, its length from ``distribution``. ``reset(options={"problem": "0110"})`` sets the
    string instead, and ``"completion": ">a00"`` beside it starts in the middle of its chain.

    ## Rewards
    0 until the end. Then 1 if the answer, between the first ``=`` and the next line break, is right, otherwise 0
    (``reward="binary"``) or -1 (``"signed"``). The chain is not judged.

    ## Episode End
    The episode terminates at the first line break after a ``=``, on padding, or when ``max_tokens`` are written.

    ## Information
    ``reset`` returns ``problem``. The last step of an episode returns what :class:`addition_gym.env.TokenEnv` says, where

    - ``first_error`` compares with the right chain, or with the right answer if the completion begins with ``=``
    - ``critical_tokens`` is the index of the completion's first token, and ``problem_class`` the length of the string

    ## Arguments
    - ``size``, ``distribution``, ``pretrained_size`` (N), ``split``: see :class:`addition_gym.tasks.task.Task`; a size is a
      number of bits, at most 16
    - ``chain_share``: of pre-training examples with more than N bits, how many have a chain, 0 to 1; nothing else depends on it
    - ``reward``, ``max_tokens``, ``render_mode``: see :class:`addition_gym.env.TokenEnv`

    ## References
    - Tsilivis, Malach, Ullrich, Kempe (2025), "How Reinforcement Learning After Next-Token Prediction Facilitates Learning",
      arXiv:2510.11495: parity with a mixture of short and long demonstrations

    ## Version History
    * v0: initial version
    """

    vocabulary = Vocabulary(LETTERS + "01:>=\n")
    closing = "="
    max_size: ClassVar[int] = len(LETTERS)

    size: int = 16
    pretrained_size: int = 10
    chain_share: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.chain_share <= 1:
            raise ValueError(f"chain_share must lie in [0, 1], but it is {shown(self.chain_share)}: pass a share of examples")

    @property
    def pretraining(self) -> Self:
        return replace(self, distribution="up_to", split="train")

    def demonstration(self, problem: str, rng: np.random.Generator) -> str:
        share = SHORT_CHAIN_SHARE if len(problem) <= self.pretrained_size else self.chain_share
        return self.solution(problem) if rng.random() < share else self.at_once(problem)

    def draw(self, rng: np.random.Generator, size: int) -> str:
        return "".join(map(str, rng.integers(2, size=size)))

    def check(self, problem: Any) -> str:
        if not isinstance(problem, str):
            raise TypeError(f"problem must be a string of bits, but it is {shown(problem)}: pass one such as '0110'")
        if not 1 <= len(problem) <= self.max_size or set(problem) - set("01"):
            raise ValueError(
                f"problem must have 1 to {self.max_size} bits, but it is {shown(problem)}: pass one such as '0110'"
            )
        return problem

    def prompt(self, problem: str) -> str:
        return _numbered(problem) + ":"

    def solution(self, problem: str) -> str:
        return ">" + _steps(problem) + self.at_once(problem)

    def at_once(self, problem: str) -> str:
        """The completion that answers without a chain."""
        return f"={problem.count('1') % 2}\n"

    @property
    def longest_text(self) -> int:
        return len(self.prompt("0" * self.size) + self.solution("0" * self.size))

    def problem_class(self, problem: str) -> str:
        return str(len(problem))

    def right_text(self, completion: str, problem: str) -> str:
        return self.at_once(problem) if completion.startswith("=") else self.solution(problem)

    def critical_tokens(self, problem: str) -> Sequence[int]:
        return [0]

    def continuation(self, text: str) -> str:
        numbered, colon, completion = text.partition(":")
        bits = numbered[1::2]
        if not colon or set(bits) - set("01") or numbered != _numbered(bits) or self.answer(completion) is not None:
            return ""
        chain, equals, _ = completion.partition("=")
        done = len(chain[1:]) // 3
        written, pending = chain[1 : 3 * done + 1], chain[3 * done + 1 :]
        parity = int(written[-1:] == "1")
        left = bits[done:] if len(pending) < 2 or done >= len(bits) else str(int(pending[1] == "1")) + bits[done + 1 :]
        if equals:  # a chain that was closed too early is taken at its word
            likely = f"{chain}={parity}\n" if chain else self.at_once(bits)
        else:
            likely = f">{written}{_steps(left, done, parity)}={(parity + left.count('1')) % 2}\n"
        return likely[len(completion) :] or "\n"


def _numbered(bits: str) -> str:
    return "".join(letter + bit for letter, bit in zip(LETTERS, bits, strict=False))


def _steps(bits: str, start: int = 0, parity: int = 0) -> str:
    """The steps of a chain: letter, bit and parity. :param start: how many are done, which have led to a parity"""
    parities = list(accumulate(map(int, bits), xor, initial=parity))[1:]
    return "".join(f"{letter}{bit}{p}" for letter, bit, p in zip(LETTERS[start:], bits, parities, strict=False))
