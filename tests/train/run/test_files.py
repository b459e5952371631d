"""What happens to files when the disk is full or the folder gone, for real."""

import csv
import ctypes
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from train.run.files import CannotWrite, replacing, write_json, write_rows


@contextmanager
def no_room_for_more_than(n_bytes: int) -> Iterator[None]:
    """No file can grow beyond this."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def no_superpowers() -> Iterator[None]:
    """Permissions of files count for root too: its capability to ignore them (CAP_DAC_OVERRIDE, bit 1) is laid down."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of the interface, this thread
    before, without = ((ctypes.c_uint32 * 6)() for _ in range(2))  # effective, permitted, inheritable; twice
    assert libc.capget(header, before) == 0
    without[:] = before
    without[0] &= ~(1 << 1)
    assert libc.capset(header, without) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0


def write_text(path: Path, size: int) -> None:
    with replacing(path) as temporary:
        temporary.write_text("x" * size)


def write_document(path: Path, size: int) -> None:
    write_json(path, "x" * size)


def write_weights(path: Path, size: int) -> None:
    with replacing(path) as temporary:
        torch.save(nn.Linear(size, 1).state_dict(), temporary)


WRITERS = [write_text, write_document, write_weights]


@pytest.mark.parametrize("write", WRITERS)
def test_full_disk_leaves_the_old_file_and_nothing_else(write, tmp_path) -> None:
    path = tmp_path / "file.x"
    write(path, 10)
    before = path.read_bytes()
    with no_room_for_more_than(20_000), pytest.raises(CannotWrite, match=f"^{path} could not be written .*the disk has room"):
        write(path, 100_000)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    write(path, 100_000)
    assert len(path.read_bytes()) > 100_000 - 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("obstacle", ["nothing", "file"])
def test_folder_gone(write, obstacle, tmp_path) -> None:
    folder = tmp_path / "folder"
    if obstacle == "file":
        folder.write_text("in the way")
    with pytest.raises(CannotWrite, match=f"^{folder / 'file.x'} could not be written"):
        write(folder / "file.x", 10)
    assert folder.is_file() == (obstacle == "file")


def test_interrupted_writing(tmp_path) -> None:
    path = tmp_path / "file.x"
    write_text(path, 3)

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "xxx"
    assert list(tmp_path.iterdir()) == [path]


def test_json_for_people(tmp_path) -> None:
    write_json(tmp_path / "x.json", {"path": Path("a/b"), "list": [1, 2.5]})
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text) == {"path": "a/b", "list": [1, 2.5]}
    assert text.startswith('{\n  "path"')
    assert text.endswith("}\n")


def test_rows_are_csv(tmp_path):
    write_rows(tmp_path / "rows.csv", iter([{"arm": "no KL", "gain": 12.5}, {"arm": "a,b", "gain": -3.0}]))
    with (tmp_path / "rows.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [{"arm": "no KL", "gain": "12.5"}, {"arm": "a,b", "gain": "-3.0"}]
    write_rows(tmp_path / "rows.csv", [{"a": 1}, {"b": 2, "a": 3}])
    assert (tmp_path / "rows.csv").read_text() == "a,b\n1,\n3,2\n"
    write_rows(tmp_path / "rows.csv", [])
    assert (tmp_path / "rows.csv").read_text() == ""
