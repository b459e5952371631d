"""A run that was interrupted and resumed against one that was not."""

import csv
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch

from agents import PrioritizedKLPPO
from tests.train.helpers import PPO_RUN, same_weights, scalar
from tests.train.run.test_run import HOLD
from train import ppo
from train.finetuning import tasks
from train.measure.callbacks import InspectorCallback, PositionCallback
from train.run.checkpoints import Checkpoints, load_newest_agent
from train.run.log import Progress
from train.run.process import Interrupted
from train.run.run import is_finished

FLAGS = [*PPO_RUN, "--checkpoint-every", "1", "--keep-checkpoints", "2", "--eval-every", "3", "--value-net-arch", "3"]
TIMESTEPS = 4000
FLAGS += ["--kl-target", "0.01", "--total-timesteps", str(TIMESTEPS)]
TIMED = {"time/fps", "time/time_elapsed", "time/iterations"}


def finished(folder: Path) -> dict[str, torch.Tensor]:
    agent = PrioritizedKLPPO.load(folder / "agent.zip")
    state = agent.policy.optimizer.state_dict()["state"]
    return {
        **{name: value.numpy() for name, value in agent.policy.state_dict().items()},
        **{f"{index} {name}": value.numpy() for index, slots in state.items() for name, value in slots.items()},
    }


def checkpoints(folder: Path) -> list[Path]:
    return Checkpoints(folder, ".zip").paths()


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


@pytest.fixture(scope="module", autouse=True)
def no_pictures() -> Iterator[None]:
    """Drawing would take half of the time."""
    with pytest.MonkeyPatch.context() as patch:
        for callback in (InspectorCallback, PositionCallback):
            patch.setattr(callback, "act", lambda self: None)
        yield


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
        ("evaluate_sequences", 7),
        ("evaluate_sequences", 13),
    ],
)
def test_interrupted_anywhere_it_ends_the_same(method, calls, whole, command, tmp_path, monkeypatch) -> None:
    """It dies in a rollout or in an update, perhaps before the first checkpoint, and is resumed."""
    folder, flags = whole
    policy_class = PrioritizedKLPPO.policy_aliases["GPT2Policy"]
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
    time.sleep(1)  # TensorBoard reads files in the order of the second in their names
    command(ppo, "--resume", tmp_path / "run")
    assert_same_run(tmp_path / "run", folder)


def run_command_line(arguments: list[str], log: Path) -> None:
    """The command, in a process of its own."""
    with log.open("a") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    sys.argv = ["train/ppo.py", *arguments]
    ppo.main()


def kill(process: BaseProcess, run: Path, moment: str, clock: random.Random) -> bool:
    """Kill a run while it starts, while it trains, or while it writes a checkpoint.

    :return: whether it was alive until then
    """
    starts = len(list(run.glob("events*")))
    while process.is_alive():
        writing = next((run / "checkpoints").glob("*.tmp"), None)
        training = len(list(run.glob("events*"))) > starts
        if moment == "start" or (moment == "train" and training) or (moment == "write" and training and writing):
            time.sleep(0 if moment == "write" else clock.uniform(0, 1 if moment == "start" else 0.3))
            break
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [4, 20])
def test_killed_again_and_again_it_ends_the_same(wanted, whole, tmp_path) -> None:
    """SIGKILL at random moments, writing a checkpoint included; then byte for byte what a run without kills writes."""
    folder, flags = whole
    run, log, clock = tmp_path / "run", tmp_path / "log", random.Random(0)
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([__name__])  # imports torch once
    kills, cut_short = 0, 0
    while not is_finished(run):
        resume = ["--resume", str(run)] if (run / "run.json").exists() else [*flags, "--run-folder", str(run)]
        process = server.Process(target=run_command_line, args=(resume, log))
        process.start()
        if kills < wanted:
            kills += kill(process, run, ("train", "write", "start", "write")[kills % 4], clock)
            cut_short += any((run / "checkpoints").glob("*.tmp"))
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL), log.read_text()
    assert kills == wanted
    assert cut_short > 0
    assert_same_run(run, folder)
    for name in ("policy.pth", "policy.optimizer.pth"):
        ours, theirs = (ZipFile(path / "agent.zip").read(name) for path in (run, folder))
        assert ours == theirs


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
        with pytest.raises(Interrupted):
            command(ppo, *flags, "--run-folder", tmp_path / "run", "--checkpoint-every", "1000")
    assert f"{number.name}: saved; resume with  addition-gym ppo --resume {tmp_path / 'run'}" in capsys.readouterr().out
    assert signal.getsignal(number) == before
    (checkpoint,) = checkpoints(tmp_path / "run")
    agent = PrioritizedKLPPO.load(checkpoint)
    agent.seconds_learned = 1000.0
    agent.save(checkpoint)
    command(ppo, "--resume", tmp_path / "run")
    assert_same_run(tmp_path / "run", folder)
    assert 1000 <= json.loads((tmp_path / "run" / "results.json").read_text())["seconds"] < 2000
    assert len(list((tmp_path / "run").glob("events*"))) == 2  # one per start


def test_the_last_checkpoints_stay(whole) -> None:
    folder, _ = whole
    updates = PrioritizedKLPPO.load(folder / "agent.zip")._n_updates
    assert updates > 3
    assert [PrioritizedKLPPO.load(path)._n_updates for path in checkpoints(folder)] == [updates - 2, updates - 1]
    assert not list(folder.rglob("*.tmp"))


def test_no_checkpoint() -> None:
    assert load_newest_agent(Path("nowhere"), "cpu") is None


@pytest.mark.parametrize(("state", "message"), [("none", "holds no run.json"), ("done", "is done")])
def test_nothing_to_resume(state, message, whole, command, tmp_path) -> None:
    with pytest.raises(ValueError, match=message):
        command(ppo, "--resume", tmp_path if state == "none" else whole[0])


def half(path: Path) -> bytes:
    """Damage a file. :return: what it held"""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return content


def change_argument(run: Path, **arguments: object) -> None:
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "arguments": {**record["arguments"], **arguments}}))


@pytest.fixture
def begun(whole, tmp_path) -> Path:
    """A run that was killed after its last checkpoint."""
    run = shutil.copytree(whole[0], tmp_path / "run")
    results = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps({"before": results["before"]}))
    (run / "agent.zip").unlink()
    return run


def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(begun) -> None:
    """And it no longer counts as one that is kept."""
    older, newest = checkpoints(begun)
    half(newest)
    with pytest.warns(UserWarning, match=f"{newest} cannot be read, so it is now {newest.name}.damaged, and {older} is taken"):
        agent = load_newest_agent(begun, "cpu")
    assert f"agent_{agent.num_timesteps}.zip" == older.name
    assert checkpoints(begun) == [older]
    assert newest.with_name(f"{newest.name}.damaged").is_file()


def test_a_run_never_starts_again_because_all_its_checkpoints_are_damaged(begun, command) -> None:
    paths = checkpoints(begun)
    for path in paths:
        half(path)
    with pytest.raises(
        ValueError, match=f"resume must be a run with a checkpoint that can be read, but {paths[1]}, {paths[0]}"
    ):
        command(ppo, "--resume", begun)
    assert checkpoints(begun) == paths


def test_other_files_are_no_checkpoints(tmp_path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for name in ("agent_best.zip", "agent_7.tmp", "agent_7.zip", "agent_10.zip"):
        (tmp_path / "checkpoints" / name).touch()
    assert [path.name for path in checkpoints(tmp_path)] == ["agent_7.zip", "agent_10.zip"]


def test_a_moved_run_is_resumed_without_the_model_that_it_began_with(begun, whole, command, monkeypatch) -> None:
    """Its checkpoints hold all of the model."""
    checkpoints(begun)[-1].unlink()
    change_argument(begun, pretrained="gone/model")
    monkeypatch.chdir(begun.parent)
    command(ppo, "--resume", begun.name)
    assert_same_run(begun, whole[0])


def test_a_line_of_the_table_that_was_cut_short_is_left_out(begun, whole, command) -> None:
    checkpoints(begun)[-1].unlink()
    path = begun / "progress.csv"
    text = path.read_text()
    path.write_text(text[: text.rstrip().rfind(".") + 1])
    command(ppo, "--resume", begun)
    assert_same_run(begun, whole[0])


def test_a_damaged_table_is_named(begun, command) -> None:
    path = begun / "progress.csv"
    path.write_text(path.read_text().replace("\n", "\nx", 1))
    with pytest.raises(ValueError, match=f"run must have a sound table, but '{path}' is damaged"):
        command(ppo, "--resume", begun)


def test_a_run_is_resumed_with_its_own_arguments(begun, command) -> None:
    with pytest.raises(ValueError, match="seed must be that of the run to resume, 5, but it is 3: leave it out"):
        command(ppo, "--resume", begun, "--seed", "3")


def test_a_run_of_other_lanes(begun, command) -> None:
    change_argument(begun, n_envs=2)
    with pytest.raises(ValueError, match="n_envs must be that of the run, 4"):
        command(ppo, "--resume", begun)


def test_nobody_else_trains_in_the_folder(begun, whole, command) -> None:
    files = sorted(begun.rglob("*"))
    with subprocess.Popen([sys.executable, "-c", HOLD, begun], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline()
        with pytest.raises(ValueError, match=f"another process is making the run in '{begun}'"):
            command(ppo, "--resume", begun)
        other.kill()
    assert [path for path in sorted(begun.rglob("*")) if path.name != "lock"] == [path for path in files if path.name != "lock"]
    command(ppo, "--resume", begun)
    assert_same_run(begun, whole[0])


def test_a_new_run_takes_no_checkpoints_of_another(begun, whole, command) -> None:
    (begun / "run.json").unlink()
    with pytest.raises(ValueError, match=r"run_folder must not hold a run yet, but .* has checkpoints"):
        command(ppo, *whole[1], "--run-folder", begun)


def test_a_finished_run_is_extended(whole, command, tmp_path, monkeypatch) -> None:
    """Its weights and results are those of a run that was as long from the start, even if it dies meanwhile."""
    folder, flags = tmp_path / "run", whole[1]
    command(ppo, *flags, "--total-timesteps", 1, "--run-folder", folder)
    record = json.loads((folder / "run.json").read_text())
    assert record["arguments"]["total_timesteps"] == 1
    update, left = PrioritizedKLPPO.train, 2

    def train(agent: PrioritizedKLPPO) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        update(agent)

    with monkeypatch.context() as patch:
        patch.setattr(PrioritizedKLPPO, "train", train)
        with pytest.raises(KeyboardInterrupt):
            command(ppo, "--resume", folder, "--total-timesteps", TIMESTEPS)
    assert not is_finished(folder)
    command(ppo, "--resume", folder)
    assert same_weights(finished(folder), finished(whole[0]))
    ours, theirs = (json.loads((run / "results.json").read_text()) for run in (folder, whole[0]))
    assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}
    ours, theirs = Progress(folder), Progress(whole[0])  # one row more, for the update that was the last one
    for column in set(theirs.columns) - TIMED:
        for found, expected in zip(ours.curve(column), theirs.curve(column), strict=True):
            np.testing.assert_array_equal(found, expected, err_msg=column)
    record, other = (json.loads((run / "run.json").read_text()) for run in (folder, whole[0]))
    assert (record["command"], record["arguments"]) == (other["command"], other["arguments"])
    assert [session.get("extended_from") for session in record["sessions"]] == [None, 1, None]
    with pytest.raises(ValueError, match="is done: start a new run, or extend a fine-tuning run with more --total-timesteps"):
        command(ppo, "--resume", folder)
    with pytest.raises(ValueError, match=f"at least those of the run, {TIMESTEPS}, but it is {TIMESTEPS - 1}: raise it"):
        command(ppo, "--resume", folder, "--total-timesteps", TIMESTEPS - 1)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_signal_during_an_evaluation_stops_at_once(moment, whole, command, tmp_path, monkeypatch, capsys) -> None:
    """Before training or after it, when there is nothing to save; the run is resumed from there."""
    folder, flags = whole
    original = tasks.accuracies

    def accuracies(policy, *args, **kwargs):
        if (moment == "before") == (not list(tmp_path.rglob("agent.zip"))):
            raise KeyboardInterrupt
        return original(policy, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "accuracies", accuracies)
        with pytest.raises(KeyboardInterrupt):
            command(ppo, *flags, "--run-folder", tmp_path / "my run")
    assert f"stopped at once; resume with  addition-gym ppo --resume '{tmp_path / 'my run'}'" in capsys.readouterr().out
    command(ppo, "--resume", tmp_path / "my run")
    assert_same_run(tmp_path / "my run", folder)


def test_a_signal_in_the_last_update_is_not_forgotten(whole, command, tmp_path, monkeypatch) -> None:
    folder, flags = whole
    updates, original = PrioritizedKLPPO.load(folder / "agent.zip")._n_updates, PrioritizedKLPPO.train

    def train(agent) -> None:
        original(agent)
        if agent._n_updates == updates:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(PrioritizedKLPPO, "train", train)
        with pytest.raises(Interrupted):
            command(ppo, *flags, "--run-folder", tmp_path / "run")
    assert (tmp_path / "run" / "agent.zip").is_file()
    assert not is_finished(tmp_path / "run")
    command(ppo, "--resume", tmp_path / "run")
    assert_same_run(tmp_path / "run", folder)
