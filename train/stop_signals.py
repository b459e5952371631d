"""Ctrl-C and SIGTERM (Slurm) let a run save before it ends."""

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Self

from rich.console import Console


class Interrupted(Exception):  # noqa: N818
    """A run has stopped because a signal asked for it, after a checkpoint.

    :param number: of the signal
    """

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


def stop_at_once(number: int, _: FrameType | None) -> NoReturn:
    """A handler: SIGTERM, too, ends a command as Ctrl-C does.

    :raises KeyboardInterrupt: with the number of the signal
    """
    raise KeyboardInterrupt(number)


@contextmanager
def says_how_to_go_on(module: str, folder: Path, console: Console) -> Iterator[None]:
    """Train within this block; a signal that stops it also prints the command that goes on with the run.

    :param module: of the command, such as ``"train.ppo"``
    :param folder: of the run
    """
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as stop:
        how = f"{stop}: saved" if isinstance(stop, Interrupted) else "stopped at once"
        command = f"python -m {module} --resume {shlex.quote(str(folder))}"
        console.print(f"{how}; go on with  {command}", markup=False, highlight=False, soft_wrap=True)
        raise


class StopSignals:
    """Within its block SIGINT and SIGTERM are only noted; a second one stops at once, as :func:`stop_at_once`."""

    def __init__(self) -> None:
        self.received: int | None = None
        """The number of the signal, if there was one."""
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._note)
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
