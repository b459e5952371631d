"""What a task is: problems of some size, the text of each and of its solution, and what is read from a completion."""

from abc import ABC, abstractmethod
from ast import literal_eval
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from addition_gym.checks import one_of, shown, whole
from addition_gym.problems import Split, split_of_text
from addition_gym.texts import departure, line_after
from addition_gym.vocabulary import Vocabulary

Sizes = Literal["identical", "up_to", "mixture"]

MAX_TOKENS_MARGIN = 16
"""How many tokens the default budget leaves beyond the longest solution."""

MAX_TRIES = 10_000
"""So many problems are drawn in search of one of a split."""


@dataclass(frozen=True)
class Task(ABC):
    """A distribution over problems, and all that an environment must know of them.

    A subclass is a frozen dataclass with a default for ``size``, and for ``pretrained_size`` if need be. It has
    ``vocabulary`` and :meth:`draw`, :meth:`check`, :meth:`prompt`, :meth:`solution` and :attr:`longest_text`; the rest follows
    from these unless the task knows better. Fields that it adds are arguments of its environment, too. ``Problem`` is
    whatever the task likes, but immutable.

    A *completion* is what is written after the prompt. It answers with one line, which begins after the first ``closing`` in
    it, or at its beginning if ``closing`` is empty; the line break after it ends the episode.

    :param size: of the largest problems, >= 1
    :param distribution: which sizes problems have, uniformly

        - ``"identical"``: exactly ``size``
        - ``"up_to"``: 1 to ``size`` (pre-training)
        - ``"mixture"``: N + 1 to ``size`` (fine-tuning)
    :param pretrained_size: N, the largest problems of pre-training, >= 1; below ``size`` for the mixture
    :param split: ``"train"``, ``"validation"`` and ``"test"`` are disjoint (:func:`addition_gym.problems.split_of_text`);
        ``"all"`` is all three
    :raises TypeError, ValueError: if an argument breaks its constraint
    """

    vocabulary: ClassVar[Vocabulary]
    closing: ClassVar[str] = ""
    """What stands before the answer."""
    problem_key: ClassVar[str] = "problem"
    """What a problem is called in ``reset(options=...)`` and in ``info``."""
    distributions: ClassVar[tuple[str, ...]] = get_args(Sizes)
    max_size: ClassVar[int] = 1000
    """The largest problems that there are."""

    size: int
    distribution: str = "mixture"
    pretrained_size: int = 1
    split: Split = "all"

    def __post_init__(self) -> None:
        whole("size", self.size, 1, f"pass a size of problems, up to {self.max_size}")
        whole("pretrained_size", self.pretrained_size, 1, "pass the largest size of pre-training")
        if self.size > self.max_size:
            raise ValueError(f"size must be at most {self.max_size}, but it is {shown(self.size)}: lower it")
        one_of("distribution", self.distribution, self.distributions)
        one_of("split", self.split, get_args(Split))
        if self.distribution == "mixture" and self.pretrained_size >= self.size:
            raise ValueError(
                f"pretrained_size must be < size = {self.size} for the mixture, but it is {self.pretrained_size}: "
                "lower it, or choose distribution='up_to'"
            )

    @abstractmethod
    def draw(self, rng: np.random.Generator, size: int) -> Any:
        """A problem of a size. :param rng: the only source of randomness"""

    @abstractmethod
    def check(self, problem: Any) -> Any:
        """A problem that a user gave, in the form that :meth:`draw` returns.

        :raises TypeError, ValueError: if it is none; the message begins with ``problem_key``
        """

    @abstractmethod
    def prompt(self, problem: Any) -> str:
        """The text that the model is given."""

    @abstractmethod
    def solution(self, problem: Any) -> str:
        """The completion that the model should write, line break at its end included."""

    @property
    @abstractmethod
    def longest_text(self) -> int:
        """Length in tokens of the longest prompt and solution up to ``size``."""

    def parse(self, problem: str) -> Any:
        """A problem as a command line writes it: itself, or as a Python literal.

        :raises TypeError, ValueError: if it is none of the task
        """
        try:
            return self.check(problem)
        except (TypeError, ValueError):
            try:
                literal = literal_eval(problem)
            except (SyntaxError, ValueError):
                literal = problem
            return self.check(literal)

    @property
    def default_max_tokens(self) -> int:
        """The token budget of an environment that is not told another: the longest text and a margin."""
        return self.longest_text + MAX_TOKENS_MARGIN

    def sample(self, rng: np.random.Generator) -> Any:
        """Draw a problem of the distribution and the split.

        :param rng: the only source of randomness
        :raises ValueError: if none is found, since there are few problems of that size
        """
        smallest = {"identical": self.size, "up_to": 1, "mixture": self.pretrained_size + 1}[self.distribution]
        for _ in range(MAX_TRIES):
            problem = self.draw(rng, int(rng.integers(smallest, self.size, endpoint=True)))
            if self.split in ("all", split_of_text(self.key(problem))):
                return problem
        raise ValueError(f"split must have a problem of size {self.size}, but {self.split!r} seems to have none: raise size")

    @property
    def pretraining(self) -> Self:
        """What pre-training draws its examples from: by default the problems up to N."""
        return replace(self, size=self.pretrained_size, distribution="up_to", split="train")

    def demonstration(self, problem: Any, rng: np.random.Generator) -> str:
        """A completion to learn from in pre-training; the solution, unless the task shows other ones too."""
        return self.solution(problem)

    def example(self, problem: Any, rng: np.random.Generator) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Tokens of the prompt and of a demonstration."""
        return self.vocabulary.encode(self.prompt(problem)), self.vocabulary.encode(self.demonstration(problem, rng))

    def key(self, problem: Any) -> str:
        """The text that decides about the split."""
        return self.prompt(problem)

    def problem_class(self, problem: Any) -> str:
        """A name for all problems that are about as hard."""
        return "all"

    def answer(self, completion: str) -> str | None:
        """The line that answers, without its line break, or None if the completion does not reach the end of one."""
        return line_after(self.closing, completion)

    def expected(self, problem: Any) -> str:
        """The right answer."""
        answer = self.answer(self.solution(problem))
        assert answer is not None
        return answer

    def is_correct(self, completion: str, problem: Any) -> bool:
        """Whether a completion is rewarded: whether it has the right answer. What is above the answer is not judged."""
        return self.answer(completion) == self.expected(problem)

    def right_text(self, completion: str, problem: Any) -> str:
        """The completion that another one is compared with; the solution, unless the task knows several right ones."""
        return self.solution(problem)

    def first_error(self, completion: str, problem: Any) -> int:
        """Index of the first token that departs from the right text, or -1; see
        :func:`addition_gym.texts.departure`."""
        return departure(completion, self.right_text(completion, problem))

    def critical_tokens(self, problem: Any) -> Sequence[int]:
        """Where in the solution it is decided, in order, whether a problem beyond pre-training is solved."""
        return ()

    continuation: ClassVar[Any] = None
    """A method ``(text) -> str``, if the task can guess: how a text, prompt included, right or wrong so far, is likely to go on
    to its end; empty if it is complete or no text of the task."""

    def draft(self, observation: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The likely continuation of texts, to decode faster.

        :param observation: token ids padded right, int64 ``(T,)``, or of several texts ``(B, T)``; any text will do
        :return: token ids padded right, int64 ``(K,)`` or ``(B, K)``; nothing but padding for a text that is complete, or that
            is none of the task
        """
        return self.vocabulary.continue_rows(observation, self.continuation)
