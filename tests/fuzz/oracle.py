"""The task a second time, from the text of the design: schoolbook addition on digit characters, and a machine that reads one
character at a time. It shares nothing with ``addition_gym`` but the format.
"""

from itertools import zip_longest
from typing import NamedTuple

DIGITS = "0123456789"


class Token(NamedTuple):
    """A character of the solution, and what it is there for."""

    character: str
    role: str


def tokens_of_solution(a: str, b: str) -> list[Token]:
    """The completion that ``a`` and ``b``, written in digits, ask for."""
    written: list[Token] = []

    def write(text: str, role: str = "format") -> None:
        written.extend(Token(character, role) for character in text)

    def write_list(digits: list[str]) -> None:
        write("[")
        write(",".join(digits) + "]", "list")

    left, right, found, carry = list(a), list(b), [], "0"
    write("\n<scratch>\n")
    for x, y in zip_longest(reversed(a), reversed(b)):
        tens, ones = 0, sum(DIGITS.index(digit or "0") for digit in (x, y, carry))
        while ones > 9:
            tens, ones = tens + 1, ones - 10
        write_list(left)
        write(" + ")
        write_list(right)
        write(" , A=")
        write_list(found)
        write(" , C=")
        write(carry, "carry")
        write(" , ")
        write(x or "0", "operand")
        write("+")
        write(y or "0", "operand")
        write("+")
        write(carry, "carry")
        write("=")
        write((DIGITS[tens] if tens else "") + DIGITS[ones], "sum")
        write(" ", "after the sum")
        write(", A->")
        write(DIGITS[ones], "digit")
        write(" , C->")
        write(DIGITS[tens], "carry")
        write("\n")
        del left[-1:], right[-1:]
        found, carry = [DIGITS[ones], *found], DIGITS[tens]
    write_list(left)
    write(" + ")
    write_list(right)
    write(" , A=")
    write_list(found)
    write(" C=")
    write(carry, "carry")
    write(" , END\n</scratch>\n")
    write(" ".join(([carry] if carry != "0" else []) + found) + "\n", "result")
    return written


class Reader:
    """Reads prompt and completion character by character, and knows when the result line has ended."""

    def __init__(self, prompt: str):
        self.line = prompt.rsplit("\n", 1)[-1]
        self.closed = False
        self.answer: str | None = None

    def read(self, character: str) -> bool:
        """Whether the episode ends with this character."""
        if character != "\n":
            self.line += character
            return False
        if self.closed and self.answer is None:
            self.answer = self.line
        self.closed = self.closed or self.line == "</scratch>"
        self.line = ""
        return self.answer is not None


def answer_of(completion: str, prompt: str) -> str | None:
    """The result line, or None."""
    reader = Reader(prompt)
    for character in completion:
        if reader.read(character):
            break
    return reader.answer


def first_difference(completion: str, right: str) -> int:
    """Where a completion leaves the solution, or the first of the two ends; -1 if they are equal."""
    position = 0
    while completion[position : position + 1] == right[position : position + 1] != "":
        position += 1
    return -1 if position == len(completion) == len(right) else position


def category_of(completion: str, tokens: list[Token], prompt: str, max_tokens: int | None) -> str | None:
    """The name of what is wrong with a completion, None if its result line is right: the table in ``addition_gym.errors``."""
    right = "".join(token.character for token in tokens)
    answer = answer_of(completion, prompt)
    if answer == right.splitlines()[-1]:
        return None
    if answer is None and max_tokens is not None and len(prompt + completion) >= max_tokens:
        return "out of budget"
    position = first_difference(completion, right)
    if position == len(completion):
        return "ended early"
    given, (expected, role) = completion[position], tokens[position]
    digit_for_digit = given in DIGITS and expected in DIGITS
    match role:
        case "result":
            return "wrong result line"
        case "list" if given == "]":
            return "stopped a list early"
        case "list" if expected == "]" and given in DIGITS + ",":
            return "continued a list"
        case "list" | "operand" if digit_for_digit:
            return "wrong copied digit"
        case "carry" if digit_for_digit:
            return "wrong carry"
        case "sum":
            return "wrong column sum"
        case "after the sum" if given in DIGITS:
            return "wrong column sum"
        case "digit" if digit_for_digit:
            return "wrong column sum"
    return "bad format"
