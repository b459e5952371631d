"""Files that are there whole or not at all."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

Content = TypeVar("Content")


class CannotWrite(OSError):  # noqa: N818
    """Says what could not be written, why, and what to do.

    :param path: a file or a folder
    :param error: the reason
    """

    def __init__(self, path: Path, error: Exception):
        super().__init__(
            f"{path} could not be written ({error}): make sure that the disk has room, that the folder may be written to, and "
            "that nothing moves or removes it meanwhile"
        )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path``, to be written within the block, which then takes its place.

    Whoever reads ``path`` meanwhile, or after a crash, finds what was there before, or all of the new content.

    :raises CannotWrite: if it fails; ``path`` is as before then, and the temporary file is gone
    """
    temporary = path.with_suffix(".tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch's writer raises a RuntimeError when the disk is full
        raise CannotWrite(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def newest_sound(paths: Sequence[Path], load: Callable[[Path], Content]) -> Content | None:
    """The newest checkpoint that can be read. Damaged ones are named in a warning and renamed to ``*.damaged``.

    :param paths: of the checkpoints, the oldest first
    :param load: reads one
    :return: None if there is none
    :raises ValueError: if there are some, and none can be read; nothing is renamed then
    """
    damaged: dict[Path, Exception] = {}
    for path in reversed(paths):
        try:
            content = load(path)
        except Exception as error:  # a damaged pickle raises anything
            damaged[path] = error
            continue
        for bad, reason in damaged.items():
            aside = bad.rename(bad.with_name(f"{bad.name}.damaged"))
            warnings.warn(f"{bad} cannot be read, so it is now {aside.name}, and {path} is taken: {reason!r}", stacklevel=3)
        return content
    if damaged:
        raise ValueError(
            f"resume must be a run with a checkpoint that can be read, but {', '.join(map(str, damaged))} cannot "
            f"({next(iter(damaged.values()))!r}): restore one from a copy, or remove them all to start this run anew"
        )
    return None
