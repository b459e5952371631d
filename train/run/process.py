"""How a process ends: signals that let a run save first, and errors that a person reads in one line."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Self

STOPPING = (signal.SIGINT, signal.SIGTERM)
"""Signals that ask a process to stop."""


class TrainingFailed(Exception):  # noqa: N818
    """Training cannot continue; says why, and where the model is."""


class Interrupted(Exception):  # noqa: N818
    """A run has stopped because a signal asked for it, after a checkpoint.

    :param number: of the signal
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return signal.Signals(self.number).name


def stop_at_once(number: int, _: FrameType | None) -> NoReturn:
    """A handler: SIGTERM, too, ends a command as Ctrl-C does.

    :raises KeyboardInterrupt: with the number of the signal
    """
    raise KeyboardInterrupt(number)


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let SIGINT and SIGTERM call a handler within this block."""
    before = {number: signal.signal(number, handler) for number in STOPPING}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


class StopSignals:
    """Within its block SIGINT and SIGTERM are only noted; a second one stops at once, as :func:`stop_at_once`."""

    def __init__(self) -> None:
        self.received: int | None = None
        """The number of the signal, if there was one."""
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._handlers = {number: signal.signal(number, self._note) for number in STOPPING}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self.__exit__()

    def check(self) -> None:
        """:raises Interrupted: if there was a signal"""
        if self.received is not None:
            raise Interrupted(self.received)


def run_command(main: Callable[[], None]) -> None:
    """Run a command; in Python's development mode (``python -X dev -m train.ppo``) errors show where they come from.

    :param main: its ``main``
    :raises SystemExit: with status 2 if an argument or an input is wrong (``ValueError``, ``TypeError``), with 1 if the machine
        or the training failed, or a package is missing, with 128 and the number of the signal if a run was interrupted
    """
    if sys.argv[0].endswith(".py"):
        sys.argv[0] = f"addition-gym {Path(sys.argv[0]).stem}"  # for --help
    try:
        with handling(stop_at_once):
            try:
                main()
            finally:
                sys.stdout.flush()
    except BrokenPipeError:  # such as of `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python still flushes at its end
        raise SystemExit(128 + signal.SIGPIPE) from None
    except Interrupted as interrupted:
        raise SystemExit(128 + interrupted.number) from None
    except KeyboardInterrupt as interrupt:
        (number,) = interrupt.args or (signal.SIGINT,)
        print(f"stopped by {signal.Signals(number).name}", file=sys.stderr)
        raise SystemExit(128 + number) from None
    except (ValueError, TypeError, OSError, ImportError, TrainingFailed) as error:
        if sys.flags.dev_mode:
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, ValueError | TypeError) else 1) from None
