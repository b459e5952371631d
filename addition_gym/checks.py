"""Checks of numbers that a caller passes, and how an error message shows them."""

MAX_DIGITS = 1000
"""The longest operand; its solution has some three million tokens, and Python refuses to write much longer numbers."""


_TOO_LARGE = 10**MAX_DIGITS


def check_operands(a: int, b: int) -> None:
    """Refuse operands that the scratchpad cannot write.

    :raises TypeError: if an operand is not an integer
    :raises ValueError: if an operand is negative or longer than ``MAX_DIGITS``
    """
    for name, value in (("a", a), ("b", b)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"operand {name} must be a Python int, but it is {shown(value)}: convert it with int()")
        if value < 0:
            raise ValueError(f"operand {name} must be >= 0, but it is {shown(value)}: the scratchpad has no minus sign")
        if value >= _TOO_LARGE:
            raise ValueError(f"operand {name} must have at most {MAX_DIGITS} digits, but it has more: choose a smaller number")


def check_digits(name: str, value: int) -> None:
    """Refuse what is not a number of digits.

    :param name: the argument, for the message
    :raises TypeError: if it is not a Python int
    :raises ValueError: if it is less than 1 or more than ``MAX_DIGITS``
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(
            f"{name} must be a Python int, but it is {shown(value)}: pass a number of digits, with int() if need be"
        )
    if value > MAX_DIGITS:
        raise ValueError(f"{name} must be at most {MAX_DIGITS}, but it is more: lower it")
    if value < 1:
        raise ValueError(f"{name} must be >= 1, but it is {shown(value)}: pass a number of digits")


def shown(value: object) -> str:
    """A value for an error message, at most 300 characters of it; Python refuses to write very long numbers."""
    try:
        return repr(value)[:300]
    except ValueError:
        return f"a number of more than {MAX_DIGITS} digits"
