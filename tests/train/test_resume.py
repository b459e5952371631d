"""A run that was interrupted and went on against one that was not."""

import csv
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from agents import PrioritizedKLPPO
from tests.train.helpers import PPO_RUN, same_weights, scalar
from train import ppo
from train.resume import checkpoints, load_newest

FLAGS = [*PPO_RUN, "--checkpoint-every", "1", "--keep-checkpoints", "2", "--eval-every", "2", "--value-net-arch", "3"]
FLAGS += ["--kl-target", "0.01", "--total-timesteps", "5000"]
TIMED = {"time/fps", "time/time_elapsed", "time/iterations"}


def finished(folder: Path) -> dict[str, torch.Tensor]:
    agent = PrioritizedKLPPO.load(folder / "agent.zip")
    state = agent.policy.optimizer.state_dict()["state"]
    return {
        **{name: value.numpy() for name, value in agent.policy.state_dict().items()},
        **{f"{index} {name}": value.numpy() for index, slots in state.items() for name, value in slots.items()},
    }


def rows(folder: Path) -> list[dict[str, str]]:
    """What was logged, but the clock; numbers as numbers."""
    with (folder / "progress.csv").open(newline="") as file:
        return [
            {key: str(float(value)) for key, value in row.items() if value and key not in TIMED} for row in csv.DictReader(file)
        ]


def assert_same_run(folder: Path, whole: Path) -> None:
    assert same_weights(finished(folder), finished(whole))
    assert rows(folder) == rows(whole)
    for name in ("after", "before", "episodes", "timesteps"):
        assert json.loads((folder / "results.json").read_text())[name] == json.loads((whole / "results.json").read_text())[name]
    for tag in ("objective/kl_coef", "train/loss", "rollout/success_rate"):
        assert scalar(folder, tag) == scalar(whole, tag)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, pretrained) -> tuple[Path, list[str]]:
    """An uninterrupted run, and its flags."""
    folder = tmp_path_factory.mktemp("resume") / "whole"
    flags = [*map(str, FLAGS), "--pretrained", str(pretrained)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["train/ppo.py", *flags, "--run-folder", str(folder)])
        ppo.main()
    return folder, flags


@pytest.mark.parametrize(
    ("method", "calls"),
    [
        ("decode", 1),
        ("decode", 400),
        ("decode", 900),
        ("evaluate_sequences", 1),
        ("evaluate_sequences", 9),
        ("evaluate_sequences", 17),
    ],
)
def test_interrupted_anywhere_it_ends_the_same(method, calls, whole, command, tmp_path, monkeypatch) -> None:
    """It dies in a rollout or in an update, perhaps before the first checkpoint, and goes on."""
    folder, flags = whole
    policy_class = ppo.PrioritizedKLPPO.policy_aliases["GPT2Policy"]
    original, left = getattr(policy_class, method), calls

    def dying(*args, **kwargs):
        nonlocal left
        left -= 1
        if left < 0:
            raise RuntimeError("power cut")
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(policy_class, method, dying)
        with pytest.raises(RuntimeError, match="power cut"):
            command(ppo, *flags, "--run-folder", tmp_path / "run")
    command(ppo, "--resume", tmp_path / "run")
    assert_same_run(tmp_path / "run", folder)


def test_killed_again_and_again_it_ends_the_same(whole, tmp_path) -> None:
    """SIGKILL at random moments, writing a checkpoint included."""
    folder, flags = whole
    run, clock = tmp_path / "run", random.Random(0)
    kills = 0
    while not (run / "results.json").exists():
        resume = ["--resume", str(run)] if (run / "config.json").exists() else [*flags, "--run-folder", str(run)]
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen([sys.executable, "-m", "train.ppo", *resume], stdout=log, stderr=log)
        seen = len(checkpoints(run / "checkpoints")) and checkpoints(run / "checkpoints")[-1]
        while kills < 3 and process.poll() is None:
            found = checkpoints(run / "checkpoints")
            if found and found[-1] != seen:  # it is past its start
                time.sleep(clock.uniform(0, 0.2))
                process.send_signal(signal.SIGKILL)
                kills += process.wait() == -signal.SIGKILL
        assert process.wait() in (0, -signal.SIGKILL), (tmp_path / "log").read_text()
    assert_same_run(run, folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_ends(number, whole, command, tmp_path, monkeypatch, capsys) -> None:
    folder, flags = whole
    original, before = PrioritizedKLPPO.train, signal.getsignal(number)

    def train(agent) -> None:
        original(agent)
        if agent._n_updates == 2:
            signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr(PrioritizedKLPPO, "train", train)
        with pytest.raises(SystemExit) as exit_:
            command(ppo, *flags, "--run-folder", tmp_path / "run", "--checkpoint-every", "1000")
    assert exit_.value.code == 128 + number
    assert f"{number.name}: saved; go on with  python -m train.ppo --resume {tmp_path / 'run'}" in capsys.readouterr().out
    assert signal.getsignal(number) == before
    assert len(checkpoints(tmp_path / "run" / "checkpoints")) == 1
    command(ppo, "--resume", tmp_path / "run")
    assert_same_run(tmp_path / "run", folder)


def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(whole) -> None:
    folder, _ = whole
    older, newest = checkpoints(folder / "checkpoints")
    content = newest.read_bytes()
    try:
        newest.write_bytes(content[: len(content) // 2])
        with pytest.warns(UserWarning, match=f"{newest} cannot be read"):
            agent = load_newest(folder / "checkpoints", "cpu")
    finally:
        newest.write_bytes(content)
    assert f"agent_{agent.num_timesteps}.zip" == older.name


def test_the_last_checkpoints_stay(whole) -> None:
    folder, _ = whole
    updates = PrioritizedKLPPO.load(folder / "agent.zip")._n_updates
    assert updates > 3
    assert [PrioritizedKLPPO.load(path)._n_updates for path in checkpoints(folder / "checkpoints")] == [updates - 1, updates]
    assert not (folder / "checkpoints" / "writing.zip").exists()


def test_no_checkpoint() -> None:
    assert load_newest(Path("nowhere"), "cpu") is None


@pytest.mark.parametrize(("state", "message"), [("none", "holds no config.json"), ("done", "is done")])
def test_nothing_to_resume(state, message, whole, command, tmp_path) -> None:
    with pytest.raises(ValueError, match=message):
        command(ppo, "--resume", tmp_path if state == "none" else whole[0])
