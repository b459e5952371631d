"""What may happen to a hostile argument: a ``ValueError`` or ``TypeError`` that names it, and nothing else."""

from collections.abc import Callable
from typing import Any


class UndocumentedError(AssertionError):
    """The code under test did what its documentation does not say."""


def refused(names: tuple[str, ...], function: Callable[..., Any], *arguments: Any, **keywords: Any) -> bool:
    """Call a function.

    :param names: one of them must stand in the message of the error
    :return: whether it refused the arguments, as documented
    :raises UndocumentedError: if it raised anything else
    """
    try:
        function(*arguments, **keywords)
    except (TypeError, ValueError) as error:
        if not any(name in str(error) for name in names):
            raise UndocumentedError(f"{type(error).__name__} names none of {names}: {str(error)[:300]}") from error
        return True
    except BaseException as error:
        raise UndocumentedError(f"{type(error).__name__}: {str(error)[:300]}") from error
    return False


def check(found: Any, expected: Any, what: str) -> None:
    """Hold a result against the oracle's.

    :raises UndocumentedError: if they differ
    """
    if found != expected or type(found) is not type(expected):
        raise UndocumentedError(f"{what} is {found!r}, but the oracle says {expected!r}")
