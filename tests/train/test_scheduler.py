import io
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from train.experiment.store import Store
from train.ppo import PRESETS, PPOArgs
from train.run.arguments import parse
from train.scheduler import run_missing, train_command

STUB = """
import json, os, pathlib, sys, time
folder, seed, seconds = pathlib.Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
(folder / "start").write_text(str(time.time()))
with (folder.parent / "calls").open("a") as calls:
    calls.write(f"{seed}\\n")
print("out", seed, flush=True)
print("threads", os.environ["OMP_NUM_THREADS"], flush=True)
(folder / "pid").write_text(str(os.getpid()))
time.sleep(seconds)
if seed in map(int, sys.argv[4:]):
    for line in range(100):
        print("[bold]line", line, file=sys.stderr)
    sys.exit(3)
(folder / "end").write_text(str(time.time()))
(folder / "results.json").write_text("{}")
"""


def stub(seconds: float = 0.0, failing: tuple[int, ...] = ()):
    """A command that writes ``results.json``, or fails for some seeds."""
    return lambda args: [
        *(sys.executable, "-S", "-c", STUB),
        *map(str, (args.run_folder, args.seed, seconds, *failing)),
    ]


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def runs(count: int) -> list[PPOArgs]:
    return [PPOArgs(seed=seed) for seed in range(count)]


def calls(store: Store) -> list[int]:
    """Seeds of the runs that were started, in order."""
    return [int(line) for line in (store.root / "calls").read_text().split()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_each_run_is_made_once(store, console) -> None:
    assert run_missing(store, runs(2), console, workers=1, command=stub()) == []
    assert run_missing(store, [*runs(3), *runs(3)], console, workers=1, command=stub()) == []
    assert calls(store) == [0, 1, 2]
    for args in runs(3):
        assert (store.get(args) / "log.txt").read_text() == f"out {args.seed}\nthreads {os.cpu_count()}\n"
    assert console.file.getvalue().count("done in") == 3
    assert "3/3" not in console.file.getvalue()
    assert "6/6" in console.file.getvalue()


def test_a_failure_is_shown_and_the_others_go_on(store, console) -> None:
    failed = run_missing(store, runs(3), console, workers=1, command=stub(failing=(1,)))
    assert failed == [store.folder(PPOArgs(seed=1))]
    assert [args.seed for args in runs(3) if store.get(args)] == [0, 2]
    text = console.file.getvalue()
    assert f"FAILED with exit status 3: {failed[0]}" in text
    assert "[bold]line 99\n" in text
    assert "line 84" not in text
    assert run_missing(store, runs(3), console, workers=1, command=stub()) == []
    assert calls(store) == [0, 1, 2, 1]
    assert store.get(PPOArgs(seed=1))
    assert len(list((store.root / "interrupted").iterdir())) == 1


def test_a_run_without_results_has_failed(store, console) -> None:
    failed = run_missing(store, runs(1), console, command=lambda args: [sys.executable, "-S", "-c", "print('nothing')"])
    assert failed == [store.folder(PPOArgs())]
    assert "FAILED with exit status 0" in console.file.getvalue()


@pytest.mark.parametrize("workers", [1, 3])
def test_so_many_at_a_time(store, console, workers) -> None:
    run_missing(store, runs(5), console, workers=workers, command=stub(seconds=0.3))
    spans = [[float((store.get(args) / name).read_text()) for name in ("start", "end")] for args in runs(5)]
    together = [sum(start <= moment < end for start, end in spans) for moment, _ in spans]
    assert max(together) == workers
    assert f"threads {max(1, os.cpu_count() // workers)}\n" in (store.get(PPOArgs()) / "log.txt").read_text()


def test_two_schedulers_share_the_work(store) -> None:
    consoles = [Console(file=io.StringIO()) for _ in range(2)]
    failed: list[list[Path]] = []
    threads = [
        threading.Thread(target=lambda console=console: failed.append(run_missing(store, runs(6), console, 1, stub(0.1))))
        for console in consoles
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [[], []]
    assert sorted(calls(store)) == [0, 1, 2, 3, 4, 5]
    made = [console.file.getvalue().count("done in") for console in consoles]
    assert sum(made) == 6
    assert min(made) >= 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_the_runs(store, console, number, monkeypatch) -> None:
    """Locks are free afterwards, and the next call starts anew. (``train.compare`` makes SIGTERM an interrupt.)"""
    before = signal.signal(number, signal.default_int_handler)
    pids = [store.folder(args) / "pid" for args in runs(2)]

    def interrupt() -> None:
        deadline = time.monotonic() + 30
        while not all(pid.exists() and pid.read_text() for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_missing(store, runs(3), console, workers=2, command=stub(seconds=60))
    finally:
        thread.join()
        signal.signal(number, before)
    assert not any(alive(int(pid.read_text())) for pid in pids)
    assert sorted(calls(store)) == [0, 1]
    assert run_missing(store, runs(3), console, workers=2, command=stub()) == []
    assert all(store.get(args) for args in runs(3))


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_must_be_positive(store, console, workers) -> None:
    with pytest.raises(ValueError, match=f"workers must be >= 1, but it is {workers}: pass how many"):
        run_missing(store, runs(1), console, workers=workers, command=stub())


def test_a_real_run(store, console, ppo_arguments) -> None:
    """``python -m train.ppo`` in a process of its own; it leaves a whole run folder, made by the arguments asked for."""
    args = parse(PRESETS, "", [*ppo_arguments, "--total-timesteps", "1", "--eval-problems", "4"])
    assert run_missing(store, [args], console, command=train_command) == [], console.file.getvalue()
    folder = store.get(args)
    assert {"config.json", "results.json", "progress.csv", "agent.zip", "log.txt"} <= {path.name for path in folder.iterdir()}
    config = json.loads((folder / "config.json").read_text())
    assert (config["seed"], config["total_timesteps"], config["run_folder"]) == (5, 1, str(folder))
    assert "Trained on" in (folder / "log.txt").read_text()
