"""Checks of arguments, in one form of message: "(argument) must (constraint), but it is (value): (remedy)".

``policies/checks.py`` has the same for the other packages: neither package may import the other, and here numbers may be so
long that Python refuses to write them.
"""

from collections.abc import Sequence

MAX_DIGITS = 1000
"""The longest operand; its solution has some three million tokens, and Python refuses to write much longer numbers."""

_TOO_LARGE = 10**MAX_DIGITS


def shown(value: object) -> str:
    """A value for an error message, at most 300 characters of it; Python refuses to write very long numbers."""
    try:
        return repr(value)[:300]
    except ValueError:
        return f"a number of more than {MAX_DIGITS} digits"


def whole(name: str, value: int, minimum: int, remedy: str) -> None:
    """A Python int of at least ``minimum``.

    :raises TypeError: if it is not an int; a bool is not
    :raises ValueError: if it is less than ``minimum``
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be a Python int, but it is {shown(value)}: {remedy}")
    if value < minimum:
        raise ValueError(f"{name} must be >= {minimum}, but it is {shown(value)}: {remedy}")


def one_of(name: str, value: object, choices: Sequence[str | None]) -> None:
    """One of some names.

    :raises ValueError: if it is not
    """
    if not (value is None or isinstance(value, str)) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, but it is {shown(value)}: choose one of these")


def check_digits(name: str, value: int) -> None:
    """A number of digits.

    :raises TypeError: if it is not a Python int
    :raises ValueError: if it is less than 1 or more than ``MAX_DIGITS``
    """
    whole(name, value, 1, "pass a number of digits, with int() if need be")
    if value > MAX_DIGITS:
        raise ValueError(f"{name} must be at most {MAX_DIGITS}, but it is more: lower it")


def check_operands(a: int, b: int) -> None:
    """Operands that the scratchpad can write.

    :raises TypeError: if an operand is not a Python int
    :raises ValueError: if an operand is negative or longer than ``MAX_DIGITS``
    """
    for name, value in (("a", a), ("b", b)):
        whole(f"operand {name}", value, 0, "pass a number without a sign, with int() if need be")
        if value >= _TOO_LARGE:
            raise ValueError(f"operand {name} must have at most {MAX_DIGITS} digits, but it has more: choose a smaller number")
