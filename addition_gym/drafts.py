"""What a faithful reckoner would write next: the likely continuation of any text, right or wrong so far.

A *draft* lets a policy that reads many tokens at once decode faster (speculative decoding); it never decides anything. It
takes what is written as the truth: a wrong digit is copied into the next line, a list that was closed too early stays short.
Models err like this, at one token, and are consistent with their error from there on.
"""

import re

import numpy as np
import numpy.typing as npt

from addition_gym.scratchpad import CLOSING, OPENING, bracket, remaining_lines, result
from addition_gym.vocabulary import ADDITION

_PROMPT = re.compile(r"Input:\n(\d+)\+(\d+)\nTarget:")
_COLUMN = re.compile(r"\[([\d,]*)\] \+ \[([\d,]*)\] , A=\[([\d,]*)\].*A->(\d) , C->(\d)")
_END = re.compile(r"\[\] \+ \[\] , A=\[([\d,]*)\] C=(\d)")
_LIST = re.compile(r"(\[[\d,]*\]?)?")
_NUMBER = re.compile(r"\d{0,2}")
_RESYNC = 6
"""How many characters, at most, tell where a malformed line continues."""


def draft(observation: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The likely continuation of texts, up to the end of the episode.

    :param observation: token ids padded right, int64 ``(T,)``, or of several texts ``(B, T)``; any text will do
    :return: token ids padded right, int64 ``(K,)`` or ``(B, K)``; nothing but padding for a text that is complete, or that does
        not begin with a prompt
    """
    return ADDITION.continue_rows(observation, continuation)


def continuation(text: str) -> str:
    """The likely continuation of a text.

    :param text: prompt and completion so far; any text will do
    :return: the rest of the completion; empty if it is complete, or if the text does not begin with a prompt
    """
    problem = _PROMPT.match(text)
    if problem is None:
        return ""
    completion = text[problem.end() :]
    right = OPENING + remaining_lines(*problem.groups())
    if right.startswith(completion):
        return right[len(completion) :]
    *written, current = completion.split("\n")
    if CLOSING.strip() in written[1:-1]:
        return ""
    expected = "\n".join(right.split("\n")[len(written) :])
    last = written[-1] if written else ""
    if end := _END.match(last):
        expected = CLOSING.lstrip() + result(_digits(end[1]), end[2]) + "\n"
    elif last == CLOSING.strip() and (end := _END.match(written[-2])):
        expected = result(_digits(end[1]), end[2]) + "\n"
        return expected[len(current) :] or "\n"
    elif column := _COLUMN.match(last):
        first, second, total = map(_digits, column.groups()[:3])
        return _continue_line(current, first[:-1], second[:-1], column[4] + total, column[5])
    elif last == OPENING.strip():
        return _continue_line(current, *problem.groups())
    return _rest(current, expected)


def _continue_line(current: str, first: str, second: str, total: str = "", carry: str = "0") -> str:
    """The rest of a decomposition line, and what follows it.

    :param current: what is written of the line
    :param first: what the line before leaves, as for :func:`addition_gym.scratchpad.remaining_lines`; and so the others
    """
    expected = remaining_lines(first, second, total, carry)
    if expected.startswith(current):
        return expected[len(current) :]
    line = _Line(current)
    try:
        first = _digits(line.field(_LIST, bracket(first)))
        line.literal(" + ")
        second = _digits(line.field(_LIST, bracket(second)))
        line.literal(" , A=")
        total = _digits(line.field(_LIST, bracket(total)))
        line.literal(" , C=" if first or second else " C=")
        carry = line.field(_NUMBER, carry)
        if not first and not second:
            line.literal(" , END")
            return line.draft + CLOSING + result(total, carry) + "\n"
        line.literal(" , ")
        x = line.field(_NUMBER, first[-1:] or "0")
        line.literal("+")
        y = line.field(_NUMBER, second[-1:] or "0")
        line.literal("+")
        column = int(x) + int(y) + int(line.field(_NUMBER, carry))
        line.literal("=")
        written = line.field(_NUMBER, str(column))
        line.literal(" , A->")
        total = line.field(_NUMBER, written[-1]) + total
        line.literal(" , C->")
        carry = line.field(_NUMBER, written[:-1] or "0")
        line.literal("\n")
        return line.draft + remaining_lines(first[:-1], second[:-1], total, carry)
    except _MalformedError:
        return _rest(current, expected)


class _MalformedError(ValueError):
    """A line is not of its form."""


class _Line:
    """Reads what is written of a line, and drafts the rest.

    :param written: the beginning of the line
    """

    def __init__(self, written: str):
        self.written, self.position, self.draft = written, 0, ""

    def literal(self, text: str) -> None:
        """What every line has here."""
        given = self.written[self.position : self.position + len(text)]
        if not text.startswith(given):
            raise _MalformedError
        self.position += len(given)
        self.draft += text[len(given) :]

    def field(self, pattern: re.Pattern[str], expected: str) -> str:
        """A list or a number: as written, or as expected where it is not."""
        match = pattern.match(self.written, self.position)
        assert match is not None  # both patterns match nothing, too
        given = match[0]
        self.position += len(given)
        if self.position < len(self.written):
            if not given:
                raise _MalformedError
            return given
        is_list = given.startswith("[")
        if given.endswith("]") or (not is_list and not expected.startswith(given)):
            return given
        rest = expected[len(given) :]
        if is_list and not rest:
            rest = "0]" if given.endswith(",") else "]"
        self.draft += rest
        return given + rest


def _rest(current: str, expected: str) -> str:
    """What follows in the expected text after the end of what is written, wherever that stands; at least a line break."""
    for length in range(min(_RESYNC, len(current)), 0, -1):
        found = expected.find(current[-length:], max(0, len(current) - length - _RESYNC))
        if found >= 0:
            return expected[found + length :] or "\n"
    return expected if not current else "\n"


def _digits(text: str) -> str:
    return text.replace(",", "").strip("[]")
