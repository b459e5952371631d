"""Files that are there whole or not at all."""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


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


def write_json(path: Path, content: Any) -> None:
    """Write JSON that a person can read.

    :raises CannotWrite: as :func:`replacing`
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=str) + "\n")


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write CSV whose header has the keys of all rows, in the order of their first appearance; an empty file for no row.

    :raises CannotWrite: as :func:`replacing`
    """
    rows = list(rows)
    header = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        if rows:
            writer = csv.DictWriter(file, header, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def check_output(folder: Path | None) -> None:
    """Refuse a file where a command is to write a folder, before it begins.

    :raises ValueError: if it is a file
    """
    if folder is not None and folder.is_file():
        raise ValueError(f"output must be a folder, but {str(folder)!r} is a file: choose another name")
