"""Real sweeps on a real Ray: workers that are killed, runs that are interrupted, runs that fail."""

import dataclasses
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.train.helpers import PPO_RUN
from tests.train.run.test_checkpoints import assert_same_run
from train import ppo
from train.experiment.runner import Resources, check_resources, run_on_ray
from train.experiment.store import Store, to_flags
from train.ppo import PRESETS
from train.run.arguments import parse
from train.run.checkpoints import checkpoints
from train.stop_signals import stop_at_once

pytest.importorskip("ray", reason="the extra sweep is not installed")
ON_LINUX = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="finds a worker by the files that it has open")


@pytest.fixture(autouse=True)
def considerate(monkeypatch) -> Iterator[None]:
    """Workers get their share of a busy machine; Ray's change of what signals do is undone."""
    monkeypatch.setenv("RAY_worker_niceness", "0")
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def worker_of(folder: Path) -> int:
    """The process that writes a run's log."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == str(folder / "log.txt"):
                return int(link.parts[2])
        except OSError:  # it has ended, or is not ours
            continue
    raise AssertionError(f"nobody works in {folder}")


@ON_LINUX
def test_killed_and_interrupted_a_sweep_ends_the_same(pretrained, tmp_path, command) -> None:
    """A worker is killed, another one goes on; Ctrl-C stops the sweep, the next call goes on."""
    flags = [*PPO_RUN, "--pretrained", str(pretrained), "--total-timesteps", "4000", "--seed", "0", "--seeds", "2"]
    flags += ["--kl-coef", "0.1", "1", "--store", str(tmp_path / "store"), "--output", str(tmp_path / "out")]

    def start() -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "train.sweep", *flags]
        return subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )  # its own group, as in a terminal

    def started() -> list[Path]:
        return [path.parent for path in (tmp_path / "store").glob("*/checkpoints") if checkpoints(path)]

    process = start()
    wait_for(lambda: bool(started()), process)
    run = started()[0]
    os.kill(worker_of(run), signal.SIGKILL)
    wait_for(lambda: "Going on after" in (run / "log.txt").read_text(), process)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate()
    assert process.returncode == 1, output
    assert "Stopped; the same command goes on" in output
    assert "Traceback" not in output
    assert "SIGINT: saved" in (run / "log.txt").read_text()
    assert not (run / "results.json").exists()

    process = start()
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert (run / "log.txt").read_text().count("Going on after") == 2
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| kl_coef=0.1 | 2 |" in table
    assert "| kl_coef=1 | 2 |" in table

    straight = (run / "command.txt").read_text().split()[3:]
    command(ppo, *straight, "--run-folder", tmp_path / "straight")
    assert_same_run(run, tmp_path / "straight")


def test_a_failure_is_shown_and_the_others_go_on(ppo_arguments, tmp_path) -> None:
    good = parse(PRESETS, "", [*ppo_arguments, "--total-timesteps", "1", "--eval-problems", "4"])
    bad = dataclasses.replace(good, batch_size=-1)
    store, console = Store(tmp_path / "store"), Console(file=io.StringIO(), width=200)
    assert run_on_ray(store, [bad, good, good], console) == [store.folder(bad)]
    text = console.file.getvalue()
    assert f"FAILED: {store.folder(bad)}" in text
    assert "batch_size must" in text
    assert text.count(f"done: {store.folder(good)}") == 1
    assert signal.getsignal(signal.SIGTERM) is stop_at_once  # kill stops a sweep as Ctrl-C does
    assert (store.get(good) / "command.txt").read_text().split()[3:] == to_flags(
        dataclasses.replace(good, run_folder=store.folder(good))
    )


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Resources(cpus=3), r"cpus must be <= 2, which this machine has, but it is 3: pass --cpus"),
        (Resources(gpus=0.5), r"gpus must be <= 0, which this machine has, but it is 0\.5: pass --gpus"),
    ],
)
def test_more_than_the_machine_has_is_refused(wanted, message) -> None:
    """Ray would wait for ever."""
    with pytest.raises(ValueError, match=message):
        check_resources(wanted, {"CPU": 2.0, "memory": 1e9})
