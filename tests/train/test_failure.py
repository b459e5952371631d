"""Training that cannot continue says why and where the model is, and the model is there."""

import math
import re
import resource
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from agents import PrioritizedKLPPO
from tests.train.helpers import same_weights, weights
from tests.train.run.test_files import no_room_for_more_than, no_superpowers
from train import ppo, pretrain
from train.pretraining import pretrain as pretrain_module
from train.pretraining.checkpoint import Checkpoint
from train.run.checkpoints import Checkpoints
from train.run.process import TrainingFailed


def checkpoints(run: Path) -> list[Path]:
    return Checkpoints(run, ".zip").paths()


def full_disk(run: Path, agent: PrioritizedKLPPO) -> None:
    size = checkpoints(run)[-1].stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def removed(run: Path, agent: PrioritizedKLPPO) -> None:
    shutil.rmtree(run)


def read_only(run: Path, agent: PrioritizedKLPPO) -> None:
    for folder in (run, run / "checkpoints"):
        folder.chmod(0o555)


def checkpoints_in_the_way(run: Path, agent: PrioritizedKLPPO) -> None:
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").write_text("in the way")


def not_a_number(run: Path, agent: PrioritizedKLPPO) -> None:
    agent.ent_coef = math.nan


@pytest.mark.parametrize(
    ("fault", "reason", "checkpoint_stays"),
    [
        (full_disk, r"/checkpoints/agent_\d+.zip could not be written .*File too large", True),
        (read_only, r"/checkpoints/agent_\d+.zip could not be written .*Permission denied", True),
        (not_a_number, "update 3: NaN or infinity in train/loss = nan, gradient of the policy group = nan", True),
        (removed, "could not be written .*No such file", False),
        (checkpoints_in_the_way, "could not be written .*(File exists|Not a directory)", False),
    ],
)
def test_after_two_updates(
    fault: Callable[[Path, PrioritizedKLPPO], None],
    reason: str,
    checkpoint_stays: bool,
    ppo_arguments,
    command,
    tmp_path,
    monkeypatch,
) -> None:
    run, original, trained = tmp_path / "run", PrioritizedKLPPO.train, {}
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def train(agent: PrioritizedKLPPO) -> None:
        original(agent)
        trained[agent.num_timesteps] = weights(agent.policy)
        if agent._n_updates == 2:
            fault(run, agent)

    monkeypatch.setattr(PrioritizedKLPPO, "train", train)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    flags = ["--eval-problems", 0, "--eval-every", 1000, "--total-timesteps", 10_000]
    with no_room_for_more_than(unlimited), no_superpowers(), pytest.raises(TrainingFailed, match=reason) as failure:
        command(ppo, *ppo_arguments, *flags, "--run-folder", run)
    said = "the last good checkpoint is" if checkpoint_stays else "the model as it was is now"
    (path,) = re.findall(rf"; {said} (.*\.zip)$", str(failure.value))
    if checkpoint_stays:
        assert Path(path) == checkpoints(run)[-1]
        assert not list(run.rglob("*.tmp"))
    agent = PrioritizedKLPPO.load(path, device="cpu")
    assert len(trained) >= 2
    assert same_weights(weights(agent.policy), trained[agent.num_timesteps])


def test_no_checkpoint_yet(ppo_arguments, command, tmp_path) -> None:
    with pytest.raises(TrainingFailed, match=r"^update 1: NaN or infinity in .*; there is no checkpoint yet$"):
        command(ppo, *ppo_arguments, "--eval-problems", 0, "--ent-coef", "1e300", "--run-folder", tmp_path / "run")


def test_pretraining(command, tmp_path, monkeypatch) -> None:
    """A loss that breaks at the sixth step; then a full disk."""
    size = ["--digits", 1, "--longest-digits", 2, "--n-layer", 1, "--n-head", 2, "--n-embd", 32, "--tokens-per-step", 100]
    flags = [*size, "--optimizer", "adamw", "--steps", 30, "--origin-steps", 0, "--checkpoint-every", 2]
    run = tmp_path / "broken"
    original, factors = pretrain_module.next_token_loss, iter([1, 1, 1, 1, 1, math.inf])
    with monkeypatch.context() as patch:
        patch.setattr(pretrain_module, "next_token_loss", lambda *args: original(*args) * next(factors))
        with pytest.raises(TrainingFailed, match="the loss of step 6 of the first stage = inf") as failure:
            command(pretrain, *flags, "--run-folder", run)
    assert str(failure.value).endswith(f"; the last good checkpoint is {run / 'checkpoints' / 'first_4.pt'}")
    assert Checkpoint.load(run / "checkpoints" / "first_4.pt").steps_done == 4
    run = tmp_path / "full"
    with (
        no_room_for_more_than(20_000),
        pytest.raises(TrainingFailed, match=f"{run / 'checkpoints' / 'first_2.pt'} could not be written"),
    ):
        command(pretrain, *flags, "--run-folder", run)
    assert not list(run.rglob("*.pt"))
    assert not list(run.rglob("*.tmp"))
