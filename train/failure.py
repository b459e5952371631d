"""What a failure in the middle of training leaves behind, in one sentence."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from train.run.files import CannotWrite


class TrainingFailed(Exception):  # noqa: N818
    """Training cannot go on; says why, and where the model is."""


@contextmanager
def kept(
    folder: Path, last_checkpoint: Callable[[], Path | None], rescue: Callable[[], Path | None] = lambda: None
) -> Iterator[None]:
    """Train within this block.

    :param folder: the run folder
    :param last_checkpoint: the newest one there is
    :param rescue: puts the model elsewhere if a run folder that cannot be written holds no checkpoint
    :raises TrainingFailed: at a NaN or an infinity, or if the run folder cannot be written
    """
    try:
        yield
    except FloatingPointError as error:
        raise TrainingFailed(f"{error}; {_named(last_checkpoint())}") from error
    except OSError as error:
        reason = error if isinstance(error, CannotWrite) else CannotWrite(folder, error)
        path = last_checkpoint()
        rescued = None if path else rescue()
        where = f"the model as it was is now {rescued}" if rescued else _named(path)
        raise TrainingFailed(f"{reason}; {where}") from error


def _named(path: Path | None) -> str:
    return f"the last good checkpoint is {path}" if path else "there is no checkpoint yet"
