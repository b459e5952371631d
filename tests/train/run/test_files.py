"""What happens to files when the disk is full or the folder gone, for real."""

import ctypes
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from train.pretraining.checkpoint import Checkpoint
from train.run.files import CannotWrite, replacing
from train.run.run import write_json


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


def test_checkpoint_comes_back(tmp_path) -> None:
    model = nn.Linear(3, 1)
    found = Checkpoint.load(Checkpoint.of("second", 7, model, []).save(tmp_path / "checkpoints"))
    assert (found.stage, found.steps_done) == ("second", 7)
    assert all(torch.equal(found.model[name], value) for name, value in model.state_dict().items())
