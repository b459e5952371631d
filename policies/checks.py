"""Checks of arguments, in one form of message: "(argument) must (constraint), but it is (value): (remedy)".

All of them refuse NaN, and raise before anything is done. ``remedy`` is what the caller should do instead.
"""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Literal


def whole(name: str, value: int, minimum: int = 1, remedy: str = "pass a positive number") -> None:
    """A Python int of at least ``minimum``.

    :raises TypeError: if it is not an int; a bool is not
    :raises ValueError: if it is less than ``minimum``
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, but it is {value!r}: {remedy}")
    at_least(name, value, minimum, remedy)


def at_least(name: str, value: float, minimum: float, remedy: str = "pass such a number", finite: bool = False) -> None:
    """A number ``>= minimum``; infinity is one unless ``finite``.

    :raises TypeError: if it is not a number
    :raises ValueError: if it is less, NaN, or infinite although ``finite``
    """
    _number(name, value)
    if not minimum <= value or (finite and value == math.inf):
        constraint = f">= {minimum} and finite" if finite else f">= {minimum}"
        raise ValueError(f"{name} must be {constraint}, but it is {value}: {remedy}")


def above(name: str, value: float, bound: float = 0, remedy: str = "pass a positive number") -> None:
    """A number ``> bound``; infinity is one.

    :raises TypeError: if it is not a number
    :raises ValueError: if it is not greater, or NaN
    """
    _number(name, value)
    if not value > bound:
        raise ValueError(f"{name} must be > {bound}, but it is {value}: {remedy}")


def between(
    name: str, value: float, low: float, high: float, remedy: str, ends: Literal["[]", "()", "[)", "(]"] = "[]"
) -> None:
    """A number from an interval.

    :param ends: a square bracket includes that end, a round one excludes it
    :raises TypeError: if it is not a number
    :raises ValueError: if it lies outside, or is NaN
    """
    _number(name, value)
    from_low = low <= value if ends[0] == "[" else low < value
    to_high = value <= high if ends[1] == "]" else value < high
    if not (from_low and to_high):
        raise ValueError(f"{name} must lie in {ends[0]}{low}, {high}{ends[1]}, but it is {value}: {remedy}")


def one_of(name: str, value: str, choices: Sequence[str], remedy: str = "choose one of these") -> None:
    """One of some names, such as ``get_args`` of a ``Literal`` or the keys of a dict, as a tuple.

    :raises ValueError: if it is not
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, but it is {value!r}: {remedy}")


def _number(name: str, value: float) -> None:
    if not isinstance(value, Real):
        remedy = "leave out the quotes" if isinstance(value, str) else "pass one"
        raise TypeError(f"{name} must be a number, but it is {value!r}: {remedy}")
