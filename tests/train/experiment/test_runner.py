"""Real experiments on a real Ray: workers that are killed, runs that are interrupted, runs that fail, runs that others make."""

import dataclasses
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tests.train.helpers import PPO_RUN
from tests.train.test_resume import assert_same_run
from train import ppo
from train.experiment.runner import Runner, check_resources
from train.experiment.store import Store
from train.finetuning.arguments import PRESETS, PPOArgs
from train.run.arguments import parse
from train.run.checkpoints import Checkpoints
from train.run.process import stop_at_once
from train.run.run import FinishedRun, to_flags

pytest.importorskip("ray", reason="the extra experiments is not installed")
ON_LINUX = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="finds a worker by the files that it has open")


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


def begin(*words: str) -> subprocess.Popen[str]:
    """A command in a group of its own, as in a terminal."""
    words = (sys.executable, "-m", *words)
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


@pytest.mark.slow
@ON_LINUX
def test_killed_and_interrupted_a_sweep_ends_the_same(pretrained, tmp_path, command) -> None:
    """A worker is killed, another one resumes its run; Ctrl-C stops the sweep, the next call resumes it."""
    flags = [*PPO_RUN, "--pretrained", str(pretrained), "--total-timesteps", "4000", "--seed", "0", "--seeds", "2"]
    flags += ["--kl-coef", "0.1", "1", "--store", str(tmp_path / "store"), "--output", str(tmp_path / "out")]

    def started() -> list[Path]:
        runs = (path.parent for path in (tmp_path / "store").glob("*/run.json"))
        return [run for run in runs if Checkpoints(run, ".zip").paths()]

    process = begin("train.sweep", *flags)
    wait_for(lambda: bool(started()), process)
    run = started()[0]
    os.kill(worker_of(run), signal.SIGKILL)
    wait_for(lambda: "Resuming after" in (run / "log.txt").read_text(), process)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate()
    assert process.returncode == 130, output
    assert "the same command resumes the runs that are missing" in output
    assert "Traceback" not in output
    assert "SIGINT: saved" in (run / "log.txt").read_text()
    with pytest.raises(ValueError, match="run must be a finished run"):
        FinishedRun(run)

    process = begin("train.sweep", *flags)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert (run / "log.txt").read_text().count("Resuming after") == 2
    table = (tmp_path / "out" / "README.md").read_text()
    assert "| kl_coef=0.1 | 2 |" in table
    assert "| kl_coef=1 | 2 |" in table

    record = FinishedRun(run).record
    assert len(record["sessions"]) == 3
    straight = record["command"].split()[3:]
    command(ppo, *straight, "--run-folder", tmp_path / "straight")
    assert_same_run(run, tmp_path / "straight")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGTERM, ["train.sweep"]),
        (signal.SIGINT, ["train.compare", "matched-budget"]),
        (signal.SIGTERM, ["train.reproduce", "fig-3"]),
    ],
)
def test_every_command_ends_with_the_status_of_its_signal(number, words, tmp_path) -> None:
    """While its workers work."""
    store = tmp_path / "store"
    process = begin(*words, "--store", str(store), "--output", str(tmp_path / "out"))
    wait_for(lambda: any(store.glob("*/lock")), process)  # of a run, or of the accuracies before it
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number, output
    assert f"stopped by {number.name}" in output
    assert "Traceback" not in output


def short(ppo_arguments: list[str], **changes: object) -> PPOArgs:
    return dataclasses.replace(
        parse(PRESETS, "", [*ppo_arguments, "--total-timesteps", "1", "--eval-problems", "4"]), eval_before=False, **changes
    )


@pytest.mark.slow
def test_a_failure_is_shown_and_the_others_continue(ppo_arguments, tmp_path) -> None:
    good = short(ppo_arguments)
    bad = dataclasses.replace(good, batch_size=-1)
    store, console = Store(tmp_path / "store"), Console(file=io.StringIO(), width=200)
    before = signal.signal(signal.SIGTERM, stop_at_once)
    try:
        assert Runner().run_missing(store, [bad, good, good], console) == [store.folder(bad)]
        with pytest.raises(KeyboardInterrupt):  # Ray's own handler is gone
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    text = console.file.getvalue()
    assert f"FAILED: {store.folder(bad)}" in text
    assert "batch_size must" in text
    assert text.count(f"done: {store.folder(good)}") == 1
    run = store.get(good)
    assert run.record["command"].split()[3:] == to_flags(
        dataclasses.replace(good, pretrained_digits=1, baseline="class"), PRESETS
    )
    assert run.record["sessions"][0]["threads"] == 1
    assert "Trained on" in (run.folder / "log.txt").read_text()
    assert Runner().run_missing(store, [good], console) == []
    assert text == console.file.getvalue()  # nothing was left to do


@pytest.mark.slow
def test_two_processes_share_the_work(ppo_arguments, tmp_path) -> None:
    """Both want the same three runs; each is made once, and both end when all are there."""
    code = f"""
import io, sys
from pathlib import Path
from rich.console import Console
from train.experiment.runner import make
from train.experiment.store import Store
from train.finetuning.arguments import PRESETS
from train.run.arguments import parse
for seed in "012":
    make(Store(Path({str(tmp_path / "store")!r})), parse(PRESETS, "", [*sys.argv[1:], "--seed", seed]), Path.cwd())
"""
    flags = [*ppo_arguments, "--total-timesteps", "1", "--eval-problems", "4"]
    processes = [subprocess.Popen([sys.executable, "-c", code, *flags], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        assert process.wait(timeout=300) == 0, process.stderr.read()
    store = Store(tmp_path / "store")
    for seed in range(3):
        run = store.get(parse(PRESETS, "", [*flags, "--seed", str(seed)]))
        assert len(run.record["sessions"]) == 1
        assert (run.folder / "log.txt").read_text().count("Fine-tuning") == 1


@pytest.mark.slow
def test_so_many_at_a_time(ppo_arguments, tmp_path) -> None:
    """One worker: no run begins before the one before it has ended."""
    store, console = Store(tmp_path / "store"), Console(file=io.StringIO(), width=200)
    wanted = [short(ppo_arguments, seed=seed) for seed in range(3)]
    assert Runner(workers=1).run_missing(store, wanted, console) == []
    folders = [store.get(args).folder for args in wanted]
    spans = sorted(((folder / "run.json").stat().st_mtime, (folder / "results.json").stat().st_mtime) for folder in folders)
    assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:], strict=False))  # noqa: RUF007


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_must_be_positive(workers, tmp_path) -> None:
    with pytest.raises(ValueError, match=f"workers must be >= 1, but it is {workers}: pass how many"):
        Runner(workers=workers).run_missing(Store(tmp_path), [], Console(quiet=True))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ((3, 0.0), r"cpus must be <= 2, which this machine has, but it is 3: pass --cpus"),
        ((1, 0.5), r"gpus must be <= 0, which this machine has, but it is 0\.5: pass --gpus"),
    ],
)
def test_more_than_the_machine_has_is_refused(wanted, message) -> None:
    """Ray would wait for ever."""
    with pytest.raises(ValueError, match=message):
        check_resources(*wanted, {"CPU": 2.0, "memory": 1e9})
