"""``PermutationTrack-v0``: a list of swaps is applied to five objects, one line a swap, and the last line says who is where."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from addition_gym.checks import shown
from addition_gym.tasks.task import Task
from addition_gym.vocabulary import Vocabulary

PLACES, OBJECTS = "12345", "abcde"
SWAPS = tuple(first + second for index, first in enumerate(PLACES) for second in PLACES[index + 1 :])
_SWAPS = r"(?:[1-5]{2},)*[1-5]{2}"
_PROMPT, _LINE = re.compile(rf"({_SWAPS}):"), re.compile(rf"({_SWAPS})\|([a-e]{{5}})")


@dataclass(frozen=True)
class PermutationTrack(Task):
    """Who is where after a list of swaps. Addition's question, whether a list goes on, without carries.

    ## Description
    Five objects, a to e, stand at the places 1 to 5. The prompt is a list of swaps, each two places: ``12,35,24:``. The
    completion tracks the objects, one line a swap: the swaps that are still to come, and who is where before them. When none
    is left, a last line answers::

        12,35,24|abcde
        35,24|bacde
        24|baedc
        =bdeac

    Each line copies a list that is one swap shorter than the one above, and swaps two letters. A model that was pre-trained on
    up to N swaps has never seen line i with more than N - i + 1 of them, so it is expected to close longer lists there, which
    loses the swaps at their end: like addition's, its *critical tokens* decide whether a list goes on.

    ## Action Space
    ``Discrete(16)``: the next token, one of 1 to 5, a to e, ``,``, ``:``, ``|``, ``=`` and the line break, or padding, which
    ends the episode. Every token is legal in every state. ``PermutationTrack.vocabulary`` encodes and decodes.

    ## Observation Space
    ``Box(0, 15, (max_tokens,), int64)``: prompt and completion so far, padded on the right with 0.

    ## Starting State
    The prompt of a list whose length is drawn from ``distribution``; each swap is one of the ten, all equally likely.
    ``reset(options={"problem": "12,35"})`` sets the list instead, and ``"completion": "12,35|abcde\\n"`` beside it starts after
    the first line.

    ## Rewards
    0 until the end. At the end 1 if the answer, what stands between the first ``=`` and the next line break, is right,
    otherwise 0 (``reward="binary"``) or -1 (``reward="signed"``). The lines above are not judged.

    ## Episode End
    The episode terminates at the first line break after a ``=``, on padding, or when ``max_tokens`` are written.

    ## Information
    ``reset`` returns ``problem``. The last step of an episode returns what :class:`addition_gym.env.TokenEnv` says, where

    - ``critical_tokens`` are one a line, up to the first error: what stands after as many swaps as pre-training has seen in
      that line, a comma, or from line N + 1 on the first token, a swap rather than ``=``; none if there are at most N swaps
    - ``problem_class`` is the number of swaps

    ## Arguments
    - ``size``, ``distribution``, ``pretrained_size`` (N), ``split``: see :class:`addition_gym.tasks.task.Task`; a size is a
      number of swaps, at most 12
    - ``reward``, ``max_tokens``, ``render_mode``: see :class:`addition_gym.env.TokenEnv`

    ## References
    - arXiv:2511.07378 and arXiv:2606.18164: models that track permutations, without writing the state down

    ## Version History
    * v0: initial version
    """

    vocabulary = Vocabulary(PLACES + OBJECTS + ",:|=\n")
    closing = "="
    max_size: ClassVar[int] = 12

    size: int = 7
    pretrained_size: int = 5

    def draw(self, rng: np.random.Generator, size: int) -> str:
        return ",".join(SWAPS[index] for index in rng.integers(len(SWAPS), size=size))

    def check(self, problem: Any) -> str:
        if not isinstance(problem, str):
            raise TypeError(f"problem must be a list of swaps, but it is {shown(problem)}: pass one such as '12,35'")
        swaps = problem.split(",")
        if len(swaps) > self.max_size or set(swaps) - set(SWAPS):
            raise ValueError(
                f"problem must have 1 to {self.max_size} swaps, each of two places in order, but it is {shown(problem)}: pass "
                "one such as '12,35'"
            )
        return problem

    def prompt(self, problem: str) -> str:
        return f"{problem}:"

    def solution(self, problem: str) -> str:
        return _to_the_end(f"{problem}|{OBJECTS}")

    @property
    def longest_text(self) -> int:
        problem = ",".join(SWAPS[:1] * self.size)
        return len(self.prompt(problem) + self.solution(problem))

    def problem_class(self, problem: str) -> str:
        return str(problem.count(",") + 1)

    def critical_tokens(self, problem: str) -> Sequence[int]:
        n_swaps, found, start = problem.count(",") + 1, [], 0
        if n_swaps > self.pretrained_size:
            for index, line in enumerate(self.solution(problem).splitlines(keepends=True)[:-1]):
                seen = max(self.pretrained_size - index, 0)
                found.append(start + max(3 * seen - 1, 0))
                start += len(line)
        return found

    def continuation(self, text: str) -> str:
        match = _PROMPT.match(text)
        completion = text[match.end() :] if match else ""
        *done, begun = completion.split("\n")
        before = _LINE.fullmatch(done[-1]) if done else None
        if not match or (done and not before) or self.answer(completion) is not None:
            return ""
        due = _next(before) if before else f"{match[1]}|{OBJECTS}"
        if due.startswith(begun):
            line = due
        elif "|" in begun or "=" in begun:  # a list that was closed too early is taken at its word
            line = begun + due[len(due) - len(OBJECTS) + len(re.split(r"[|=]", begun)[-1]) :]
        else:
            line = begun + due[len(begun) :]
        return _to_the_end(line)[len(begun) :]


def _next(line: re.Match[str]) -> str:
    """The line after one of ``_LINE``."""
    (first, *others), objects = line[1].split(","), list(line[2])
    one, other = (int(place) - 1 for place in first)
    objects[one], objects[other] = objects[other], objects[one]
    return f"{','.join(others)}|{''.join(objects)}" if others else f"={''.join(objects)}"


def _to_the_end(line: str) -> str:
    """A line and all that follow from it."""
    lines = [line]
    while match := _LINE.fullmatch(lines[-1]):
        lines.append(_next(match))
    return "\n".join(lines) + "\n"
