"""``MixedParity-v0``: the parity of a bit string, answered at once or after a chain of thought."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import xor
from typing import Any, ClassVar, Self

import numpy as np

from addition_gym.checks import shown
from addition_gym.tasks.task import Task, departure
from addition_gym.vocabulary import Vocabulary

LETTERS = "abcdefghijklmnop"


@dataclass(frozen=True)
class MixedParity(Task):
    """Whether a bit string has an odd number of ones. One early token decides: answer at once, or reason.

    ## Description
    The prompt numbers the bits with letters, such as ``a0b1c1d0:`` for the string 0110. The model may answer at
    once, ``=0``, which is little better than guessing where strings are long. Or it may write a chain of thought first,
    ``>a0b1c0d0=0``: bit by bit, the parity so far. Each step of it is easy, since a letter says where to look.

    Pre-training shows both. Strings of up to N bits always come with their chain, longer ones only in a share ``chain_share``
    of the examples, and otherwise with nothing but the right answer. So the reference answers long strings at once, and
    ``chain_share`` sets how certain it is of this one token: 0.5 leaves it unsure, 0.001 makes it sure and wrong. Fine-tuning
    has to find that reasoning pays there, too.

    ## Action Space
    ``Discrete(23)``: the next token, one of the letters a to p, ``0``, ``1``, ``:``, ``>``, ``=`` and the line
    break, or padding, which ends the episode. Every token is legal in every state. ``MixedParity.vocabulary`` encodes and
    decodes.

    ## Observation Space
    ``Box(0, 22, (max_tokens,), int64)``: prompt and completion so far, padded on the right with 0.

    ## Starting State
    The prompt of a string whose length is drawn from ``distribution``; all strings of a length are equally
    likely. ``reset(options={"problem": "0110"})`` sets the string instead, and ``{"problem": "0110", "completion": ">a0"}``
    starts in the middle of its chain.

    ## Rewards
    0 until the end. At the end 1 if the answer, what stands between the first ``=`` and the next line break, is
    right, otherwise 0 (``reward="binary"``) or -1 (``reward="signed"``). The chain is not judged.

    ## Episode End
    The episode terminates at the first line break after a ``=``, on padding, or when ``max_tokens`` are written.

    ## Information
    ``reset`` returns ``problem``. The last step of an episode returns what :class:`addition_gym.env.TokenEnv` says, where

    - ``first_error`` compares with the right chain, or with the right answer if the completion begins with ``=``
    - ``critical_tokens`` is the index of the first token of the completion
    - ``problem_class`` is the length of the string

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

    size: int = 12
    pretrained_size: int = 6
    chain_share: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.chain_share <= 1:
            raise ValueError(f"chain_share must lie in [0, 1], but it is {shown(self.chain_share)}: pass a share of examples")

    @property
    def pretraining(self) -> Self:
        return replace(self, distribution="up_to", split="train")

    def demonstration(self, problem: str, rng: np.random.Generator) -> str:
        with_chain = len(problem) <= self.pretrained_size or rng.random() < self.chain_share
        return self.solution(problem) if with_chain else self.at_once(problem)

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
        return ">" + _numbered(accumulate(map(int, problem), xor)) + self.at_once(problem)

    def at_once(self, problem: str) -> str:
        """The completion that answers without a chain."""
        return f"={problem.count('1') % 2}\n"

    @property
    def longest_text(self) -> int:
        return len(self.prompt("0" * self.size) + self.solution("0" * self.size))

    def problem_class(self, problem: str) -> str:
        return str(len(problem))

    def first_error(self, completion: str, problem: str) -> int:
        return departure(completion, self.at_once(problem) if completion.startswith("=") else self.solution(problem))

    def critical_tokens(self, problem: str) -> Sequence[int]:
        return [0]

    def continuation(self, text: str) -> str:
        numbered, colon, completion = text.partition(":")
        bits = numbered[1::2]
        if not colon or set(bits) - set("01") or numbered != _numbered(bits) or self.answer(completion) is not None:
            return ""
        chain, equals, _ = completion.partition("=")
        done = len(chain[1:]) // 2
        last = chain[2 * done : 2 * done + 1]
        parities = list(accumulate(map(int, bits[done:]), xor, initial=int(last == "1")))
        if equals:  # a chain that was closed too early is taken at its word
            likely = f"{chain}={parities[0] if chain else parities[-1]}\n"
        else:
            likely = f">{chain[1 : 2 * done + 1]}{_numbered(parities[1:], done)}={parities[-1]}\n"
        return likely[len(completion) :] or "\n"


def _numbered(bits: Iterable[object], start: int = 0) -> str:
    """Each bit behind its letter. :param start: the place of the first in the string"""
    return "".join(f"{letter}{bit}" for letter, bit in zip(LETTERS[start:], bits, strict=False))
