"""Checkpoints of pre-training that are not what they should be; what sound ones do is tested with pre-training itself."""

from dataclasses import replace

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from train.pretraining.checkpoint import Checkpoint
from train.pretraining.pretrain import KEPT
from train.run.checkpoints import Checkpoints, newest_sound


@pytest.fixture
def path(tmp_path):
    """A checkpoint of a small layer."""
    model, path = torch.nn.Linear(2, 3), tmp_path / "first_4.pt"
    Checkpoint.of("first", 4, model, [torch.optim.AdamW(model.parameters())], AveragedModel(model)).save(path)
    return path


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_cut(size, path) -> None:
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="checkpoint must be a sound torch file"):
        Checkpoint.load(path)


@pytest.mark.parametrize(
    "change", [{"stage": 3}, {"steps_done": "4"}, {"model": []}, {"optimizers": {}}, {"average": []}, {"extra": 1}]
)
def test_other_contents(change, path) -> None:
    torch.save({**torch.load(path, weights_only=True), **change}, path)
    with pytest.raises(ValueError, match="checkpoint must hold stage, steps_done, model, optimizers, average, but"):
        Checkpoint.load(path)


def test_of_another_model(path) -> None:
    checkpoint = Checkpoint.load(path)
    same, wider = torch.nn.Linear(2, 3), torch.nn.Linear(2, 4)
    checkpoint.restore(same, [torch.optim.AdamW(same.parameters())], AveragedModel(same))
    for model, optimizers, average in (
        (wider, [torch.optim.AdamW(wider.parameters())], AveragedModel(wider)),
        (same, [torch.optim.AdamW(same.parameters())], AveragedModel(wider)),
        (same, [], AveragedModel(same)),
        (same, [torch.optim.AdamW([same.weight])], AveragedModel(same)),
    ):
        with pytest.raises(ValueError, match="checkpoint must be one of this model and these optimizers, but it is not"):
            checkpoint.restore(model, optimizers, average)


def test_a_damaged_one_is_set_aside_and_the_one_before_taken(path) -> None:
    """Of the last that are kept; the second stage comes after the first."""
    first, checkpoints = Checkpoint.load(path), Checkpoints(path.parent, ".pt", KEPT)
    for stage, steps in (("first", 9), ("first", 10), ("second", 3)):
        checkpoints.save(stage, steps, replace(first, stage=stage, steps_done=steps).save)
    older, newest = checkpoints.paths()
    assert (older.name, newest.name) == ("first_10.pt", "second_3.pt")
    newest.write_bytes(newest.read_bytes()[:100])
    with pytest.warns(UserWarning, match=r"so it is now second_3.pt.damaged, and .*first_10.pt is taken"):
        assert newest_sound(checkpoints.paths(), Checkpoint.load).steps_done == 10
    older.write_bytes(b"")
    with pytest.raises(ValueError, match="resume must be a run with a checkpoint that can be read"):
        newest_sound(checkpoints.paths(), Checkpoint.load)
