"""Progress of something slow: a bar on a terminal, elsewhere an occasional line."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

Advance = Callable[[int], object]
"""Says that so many more steps are done."""

SOONEST, SHARE, LATEST = 5.0, 0.1, 60.0
"""The first line comes after so many seconds; another one with such a share of all more, but at the earliest after as many
seconds again and at the latest after so many."""

SILENT = Console(quiet=True)
"""Shows nothing."""


def unseen(steps: int) -> None:
    """An :data:`Advance` that shows nothing."""


@contextmanager
def meter(console: Console, what: str, total: int, done: int = 0) -> Iterator[Advance]:
    """Show the progress of something within this block.

    :param console: where
    :param what: such as ``"Evaluating"``
    :param total: steps in all
    :param done: steps that were done before
    :return: to be called after every step or some
    """
    if console.quiet:
        yield unseen
        return
    if not console.is_terminal:
        yield _Lines(console, what, total, done).advance
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    text, number = TextColumn("{task.description}"), MofNCompleteColumn()
    with Progress(
        text, BarColumn(), number, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True
    ) as bars:
        bar = bars.add_task(what, total=total, completed=done)
        yield lambda steps: bars.advance(bar, min(steps, total - bars.tasks[0].completed))


class _Lines:
    """As :func:`meter`, in lines."""

    def __init__(self, console: Console, what: str, total: int, done: int):
        self.console, self.what, self.total, self.done = console, what, total, done
        self.shown = done
        self.started = self.last = time.monotonic()

    def advance(self, steps: int) -> None:
        self.done = min(self.done + steps, self.total)
        now = time.monotonic()
        waited, more = now - self.last, self.done - self.shown
        is_time = more >= SHARE * self.total or self.last == self.started or waited >= LATEST
        if self.done == self.total or waited < SOONEST or not is_time:
            return
        text = f"{self.what}: {self.done:,} of {self.total:,} in {duration(now - self.started)}"
        if more:
            text += f", about {duration(waited / more * (self.total - self.done))} left"
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
        self.last, self.shown = now, self.done


def duration(seconds: float) -> str:
    """A time as a person says it: ``"40 seconds"``, ``"4.1 minutes"``, ``"3.6 hours"``."""
    if seconds < 60:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 3600 else f"{seconds / 3600:.1f} hours"
