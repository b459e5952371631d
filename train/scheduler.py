"""Run what is missing from a store: one process a run, several at a time."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from train.experiment.store import Store, to_flags
from train.ppo import PPOArgs

LOG = "log.txt"
"""What a run printed, in its folder."""
TAIL = 15
"""Lines of the log that a failure shows."""
POLL = 0.2
"""Seconds between two looks at the processes."""
PATIENCE = 60.0
"""Seconds that a stopped process has to end by itself."""

Command = Callable[[PPOArgs], list[str]]
"""The words of the command that makes a run in ``args.run_folder``."""


def train_command(args: PPOArgs) -> list[str]:
    """``python -m train.ppo`` with all arguments spelled out, or with the run that goes on with its own."""
    return [sys.executable, "-m", "train.ppo", *(["--resume", str(args.resume)] if args.resume else to_flags(args))]


@dataclass(frozen=True)
class _Run:
    args: PPOArgs
    folder: Path
    process: subprocess.Popen[bytes]
    lock: IO[str]
    started: float


def run_missing(
    store: Store, runs: Iterable[PPOArgs], console: Console, workers: int | None = None, command: Command = train_command
) -> list[Path]:
    """Make the runs that the store does not hold; the others go on when one fails, and what another process is making is
    waited for. When this function is interrupted, it stops its runs; the next call goes on from their last checkpoints.

    :param store: where runs are
    :param runs: which, in the order of their making
    :param console: for progress, and for the end of a failed run's log
    :param workers: runs at a time, by default one a core; they share the cores' threads
    :param command: what makes a run
    :return: the folders of the runs that failed
    :raises ValueError: if ``workers`` is not positive
    """
    cores = os.cpu_count() or 1
    workers = cores if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers must be >= 1, but it is {workers}: pass how many runs to make at a time")
    threads = max(1, cores // workers)
    everything = list(runs)
    waiting = [args for args in everything if not store.get(args)]
    running: list[_Run] = []
    failed: list[Path] = []
    columns = ("runs", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), "elapsed,", TimeRemainingColumn(), "left")
    with Progress(*columns, console=console, speed_estimate_period=float("inf")) as progress:
        bar = progress.add_task("runs", total=len(everything), completed=len(everything) - len(waiting))
        progress.advance(bar, 0)  # speed is measured from now on
        try:
            while waiting or running:
                for args in list(waiting):
                    if len(running) == workers:
                        break
                    lock = store.lock(args)
                    if lock is None:
                        continue
                    waiting.remove(args)
                    if store.get(args):
                        lock.close()
                        progress.advance(bar)
                    else:
                        running.append(_start(store, args, command, lock, threads))
                time.sleep(POLL)
                for run in [run for run in running if run.process.poll() is not None]:
                    running.remove(run)
                    run.lock.close()
                    progress.advance(bar)
                    if not _report(store, run, console):
                        failed.append(run.folder)
        finally:
            for run in running:
                run.process.terminate()
            for run in running:
                _end(run)
    return failed


def _start(store: Store, args: PPOArgs, command: Command, lock: IO[str], threads: int) -> _Run:
    """The process inherits the lock, and so keeps it even if this one is killed."""
    prepared = store.prepare(args)
    assert prepared.run_folder is not None
    with (prepared.run_folder / LOG).open("a") as log:
        process = subprocess.Popen(
            command(prepared),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            pass_fds=[lock.fileno()],
        )
    return _Run(args, prepared.run_folder, process, lock, time.perf_counter())


def _report(store: Store, run: _Run, console: Console) -> bool:
    """Say how a run ended.

    :return: whether it is done
    """
    minutes = (time.perf_counter() - run.started) / 60
    done = store.get(run.args) is not None
    if done:
        text = f"done in {minutes:.1f} min: {run.folder}"
    else:
        lines = (run.folder / LOG).read_text(errors="replace").splitlines()[-TAIL:]
        text = "\n".join([f"FAILED with exit status {run.process.returncode}: {run.folder}", *lines])
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    return done


def _end(run: _Run) -> None:
    try:
        run.process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        run.process.kill()
        run.process.wait()
    run.lock.close()
