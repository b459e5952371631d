"""Why a completion is wrong: one category for every wrong completion, from its first wrong token.

The *first wrong token* is where the completion departs from the solution. Everything before it is right, so the text before it
says what the token was for. In the examples the problem is 57+68, whose first line is
``[5,7] + [6,8] , A=[] , C=0 , 7+8+0=15 , A->5 , C->1``, and the wrong token is the last one shown:

| category | the first wrong token | example |
|---|---|---|
| stopped a list early | closes a list that continues: ``]`` for a comma or a digit | ``[5]`` |
| continued a list | is a comma or a digit where a list must be closed | ``[5,7,`` |
| wrong copied digit | is another digit in a list, or in the operands of the column's sum | ``[5,3``, ``, 7+3`` |
| wrong carry | is another digit after ``C=`` or ``C->``, or in the column's sum | ``, C=1``, ``7+8+1`` |
| wrong column sum | is a wrong, missing or surplus digit of the sum, or a wrong ``A->`` | ``=16``, ``=15 , A->6`` |
| wrong result line | is in the result line, whatever it is | ``</scratch>`` ``1 2 6`` |
| bad format | is anything else | ``[5;`` |
| ended early | is missing: the completion is right so far, and ends (padding) | ``[5,7] + `` |
| out of budget | any; the completion spent its token budget without a result line | ``[5,7,7,7,7,7,`` ... |

Right and wrong are as for the reward: a completion with the right result line has no error, whatever is above that line.
*Out of budget* goes before the other categories, because such a completion has no answer to be wrong.
"""

import re
from enum import StrEnum
from typing import NamedTuple

from addition_gym.scratchpad import CLOSING, answer, first_error, is_correct, prompt, solution


class ErrorCategory(StrEnum):
    """The categories, in the order of the table above."""

    STOPPED_LIST_EARLY = "stopped a list early"
    CONTINUED_LIST = "continued a list"
    WRONG_COPIED_DIGIT = "wrong copied digit"
    WRONG_CARRY = "wrong carry"
    WRONG_COLUMN_SUM = "wrong column sum"
    WRONG_RESULT_LINE = "wrong result line"
    BAD_FORMAT = "bad format"
    ENDED_EARLY = "ended early"
    OUT_OF_BUDGET = "out of budget"


class CompletionError(NamedTuple):
    """What is wrong with a completion."""

    category: ErrorCategory
    position: int
    """Of the first wrong token: index into the completion and into the solution."""
    expected: str
    """The token that the solution has there."""
    given: str
    """The token that the completion has there; empty if it ends there."""


_DIGITS = "0123456789"  # str.isdecimal also knows digits of other scripts
_IN_LIST = re.compile(r"\[[^\]]*$")
_IN_COLUMN_SUM = re.compile(r"\d\+\d\+\d=\d*$")
_BEFORE_SUM_DIGIT = re.compile(r"A->$")
_BEFORE_CARRY = re.compile(r"(C=|C->|\d\+\d\+)$")
_BEFORE_OPERAND_DIGIT = re.compile(r"C=\d , (\d\+)?$")


def completion_error(completion: str, a: int, b: int, max_tokens: int | None = None) -> CompletionError | None:
    """What is wrong with a completion, or None if its result line is right.

    :param completion: what a model wrote after ``prompt(a, b)``
    :param a: first operand, >= 0
    :param b: second operand, >= 0
    :param max_tokens: the budget of prompt and completion together; None for no budget, so that no completion is out of it
    :raises TypeError, ValueError: see :func:`addition_gym.checks.check_operands`
    """
    if is_correct(completion, a, b):
        return None
    right, position = solution(a, b), first_error(completion, a, b)
    expected, given = right[position], completion[position : position + 1]
    spent = max_tokens is not None and len(prompt(a, b)) + len(completion) >= max_tokens
    if spent and answer(completion) is None:
        category = ErrorCategory.OUT_OF_BUDGET
    elif not given:
        category = ErrorCategory.ENDED_EARLY
    else:
        category = _category(right[:position], expected, given)
    return CompletionError(category, position, expected, given)


def _category(before: str, expected: str, given: str) -> ErrorCategory:
    """Category of a token by the right text before it."""
    if CLOSING in before:
        return ErrorCategory.WRONG_RESULT_LINE
    if _IN_LIST.search(before):
        if given == "]":
            return ErrorCategory.STOPPED_LIST_EARLY
        if expected == "]" and given in _DIGITS + ",":
            return ErrorCategory.CONTINUED_LIST
    if _IN_COLUMN_SUM.search(before) and (expected in _DIGITS or given in _DIGITS):
        return ErrorCategory.WRONG_COLUMN_SUM
    if expected in _DIGITS and given in _DIGITS:
        if _BEFORE_SUM_DIGIT.search(before):
            return ErrorCategory.WRONG_COLUMN_SUM
        if _BEFORE_CARRY.search(before):
            return ErrorCategory.WRONG_CARRY
        if _IN_LIST.search(before) or _BEFORE_OPERAND_DIGIT.search(before):
            return ErrorCategory.WRONG_COPIED_DIGIT
    return ErrorCategory.BAD_FORMAT
