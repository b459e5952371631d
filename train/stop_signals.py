"""Ctrl-C and SIGTERM (Slurm) let a run save before it ends."""

import signal
from types import FrameType
from typing import Any, Self


class Interrupted(Exception):  # noqa: N818
    """A run has stopped because a signal asked for it, after a checkpoint.

    :param number: of the signal
    """

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


class StopSignals:
    """Within its block SIGINT and SIGTERM are only noted; a second one means what it meant before, and so stops at once."""

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
