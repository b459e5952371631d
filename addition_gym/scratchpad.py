"""The scratchpad: the text of a problem and of its solution, and what can be read from a completion.

The format is that of Vassoyan et al. (2025), arXiv:2502.06533, a variant of that of Lee et al. (2024), arXiv:2307.03381, who
also write a line such as ``[3,4,5] has 3 digits.`` and end the prompt with a line break:

    Input:
    345+67
    Target:
    <scratch>
    [3,4,5] + [6,7] , A=[] , C=0 , 5+7+0=12 , A->2 , C->1
    [3,4] + [6] , A=[2] , C=1 , 4+6+1=11 , A->1 , C->1
    [3] + [] , A=[1,2] , C=1 , 3+0+1=4 , A->4 , C->0
    [] + [] , A=[4,1,2] C=0 , END
    </scratch>
    4 1 2

The *prompt* ends with ``Target:``; the *completion*, which the model must write, starts with the line break after it and
ends with the line break after the result.
"""

from typing import Literal, NamedTuple

from addition_gym.checks import check_digits, check_operands
from addition_gym.texts import departure, line_after

OPENING = "\n<scratch>\n"
"""What a completion begins with."""

CLOSING = "\n</scratch>\n"
"""What stands before the result line."""

CRITICAL_LINES = 3
"""Critical tokens sit in the first three decomposition lines (arXiv:2502.06533, Fig. 7)."""


class CriticalToken(NamedTuple):
    """A token of the solution that decides whether a digit beyond the pre-trained length survives the copy."""

    position: int
    """Index into :func:`solution`."""
    line: int
    """Decomposition line, from 1."""
    operand: int
    """Which operand's list it belongs to, 1 or 2."""
    kind: Literal["comma", "digit"]
    """The comma before the digit, or the digit itself."""


def prompt(a: int, b: int) -> str:
    """The text the model is given.

    :param a: first operand, >= 0
    :param b: second operand, >= 0
    :return: for example ``"Input:\\n345+67\\nTarget:"``
    :raises TypeError, ValueError: see :func:`addition_gym.checks.check_operands`
    """
    check_operands(a, b)
    return f"Input:\n{a}+{b}\nTarget:"


def solution(a: int, b: int) -> str:
    """The completion the model must write, from the first line break to the one after the result.

    :param a: first operand, >= 0
    :param b: second operand, >= 0
    :return: the worked scratchpad and the result line
    :raises TypeError, ValueError: see :func:`addition_gym.checks.check_operands`
    """
    check_operands(a, b)
    return OPENING + remaining_lines(str(a), str(b))


def remaining_lines(first: str, second: str, total: str = "", carry: str = "0") -> str:
    """What is left to write when some columns are added.

    :param first: digits of the first operand that are left; likewise ``second``
    :param total: digits of the sum so far, most significant first
    :param carry: into the next column
    :return: decomposition lines, closing and result line
    """
    lines = []
    while first or second:
        x, y = first[-1:] or "0", second[-1:] or "0"
        column = int(x) + int(y) + int(carry)
        lines.append(
            f"{bracket(first)} + {bracket(second)} , A={bracket(total)} , C={carry} , "
            f"{x}+{y}+{carry}={column} , A->{column % 10} , C->{column // 10}\n"
        )
        first, second, total, carry = first[:-1], second[:-1], f"{column % 10}{total}", str(column // 10)
    return "".join(lines) + f"[] + [] , A={bracket(total)} C={carry} , END" + CLOSING + result(total, carry) + "\n"


def result(total: str, carry: str) -> str:
    """The result line after the last column. :param total: digits of the sum but for the carry"""
    return " ".join((carry if carry != "0" else "") + total)


def result_line(a: int, b: int) -> str:
    """The digits of ``a + b`` separated by single spaces, for example ``"4 1 2"``."""
    return " ".join(str(a + b))


def answer(completion: str) -> str | None:
    """The result line of a completion: the first line after the line ``</scratch>``.

    That line must hold nothing else; the authors' environment also takes ``END</scratch>``.

    :param completion: what a model wrote, right or wrong
    :return: the line without its line break, or ``None`` if the completion does not reach the end of one
    """
    return line_after(CLOSING, completion)


def is_correct(completion: str, a: int, b: int) -> bool:
    """Whether a completion's result line is exactly that of ``a + b``. The scratchpad above it is not judged."""
    return answer(completion) == result_line(a, b)


def first_error(completion: str, a: int, b: int) -> int:
    """Where a completion first departs from the solution.

    :param completion: what a model wrote
    :return: index of the first character that differs from ``solution(a, b)``, the length of the shorter of the two if one
        is a proper prefix of the other, or -1 if they are equal
    """
    return departure(completion, solution(a, b))


def longest_text(digits: int) -> int:
    """Length in tokens of the longest prompt and solution for operands of at most ``digits`` digits, >= 1."""
    check_digits("digits", digits)
    nines = 10**digits - 1
    return len(prompt(nines, nines)) + len(solution(nines, nines))


def critical_tokens(a: int, b: int, pretrained_digits: int) -> list[CriticalToken]:
    """The tokens that decide whether a number longer than the model was pre-trained on survives the copy.

    In line ``j`` of the first three decomposition lines a list holds the first ``d - j + 1`` digits of an operand of ``d``
    digits; the model has seen at most ``N - j + 1`` there. For each operand with ``d > N`` the digits beyond that, and the
    comma before each, are critical (arXiv:2502.06533, sections 4 and 5). This follows from the problem alone.

    :param a: first operand, >= 0
    :param b: second operand, >= 0
    :param pretrained_digits: N, the longest operand of pre-training, >= 1
    :return: the critical tokens, ordered by position; empty if neither operand is longer than N
    :raises TypeError, ValueError: see :func:`addition_gym.checks.check_operands` and :func:`addition_gym.checks.check_digits`
    """
    check_digits("pretrained_digits", pretrained_digits)
    text = solution(a, b)
    tokens = []
    line_start = text.index("[")
    for line in range(1, min(CRITICAL_LINES, max(len(str(a)), len(str(b)))) + 1):
        list_start = line_start
        for operand, value in ((1, a), (2, b)):
            length = len(_drop_last(str(value), line - 1))
            for index in range(max(pretrained_digits - line + 1, 0), length):
                position = list_start + 1 + 2 * index
                if index > 0:
                    tokens.append(CriticalToken(position - 1, line, operand, "comma"))
                tokens.append(CriticalToken(position, line, operand, "digit"))
            list_start = text.index("[", list_start + 1)
        line_start = text.index("\n", line_start) + 1
    return tokens


def _drop_last(digits: str, count: int) -> str:
    return digits[: max(len(digits) - count, 0)]


def bracket(digits: str) -> str:
    """A list of digits, such as ``"[3,4,5]"``."""
    return "[" + ",".join(digits) + "]"
