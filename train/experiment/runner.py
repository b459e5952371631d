"""Run what is missing from a store on Ray: one task a run, on one machine or on a cluster.

Plain tasks, not Ray Tune: the store already knows what is done, a run already goes on from its checkpoints, and no trial is
stopped early or proposed by a search, so there would be nothing left for Tune to do.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from train.experiment.store import Store, to_flags
from train.ppo import PPOArgs, train
from train.scheduler import LOG, PATIENCE, POLL, TAIL
from train.stop_signals import Interrupted, stop_at_once

LOCAL = "local"
"""The address of a Ray that is started on this machine, and ends with the sweep."""
RETRIES = 3
"""How often a run goes on elsewhere whose worker died."""


@dataclass(frozen=True)
class Resources:
    """What one run occupies."""

    cpus: int = 1
    """Cores, and as many threads."""
    gpus: float = 0.0
    """GPUs; a fraction lets several runs share one."""


def run_on_ray(
    store: Store, runs: Iterable[PPOArgs], console: Console, resources: Resources = Resources(), address: str = LOCAL
) -> list[Path]:
    """Make the runs that the store does not hold; the others go on when one fails.

    A run whose worker dies goes on from its last checkpoint in another one. When this function is interrupted, the runs save
    and end; the next call goes on with them.

    :param store: where runs are; all machines must see it under the same path
    :param runs: which, in the order of their making
    :param console: for progress, and for the end of a failed run's traceback
    :param resources: of a run
    :param address: of a Ray cluster, ``"auto"`` for the one that this machine belongs to, ``"local"`` for a new one here
    :return: the folders of the runs that failed
    :raises ImportError: if Ray is not installed
    :raises ValueError: if this machine has less than the resources
    """
    missing = [args for args in dict.fromkeys(runs) if not store.get(args)]
    if not missing:
        return []
    ray = _ray()
    failed: list[Path] = []
    columns = ("runs", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="ERROR"):
        for number in (signal.SIGTERM, signal.SIGINT):  # Ray's would not let the runs save; a shell's & ignores SIGINT
            signal.signal(number, stop_at_once)
        if address == LOCAL:
            check_resources(resources, ray.cluster_resources())
        task = ray.remote(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            max_calls=1,
            max_retries=RETRIES,
            retry_exceptions=[Interrupted],
        )(trial)
        pending = {task.remote(store, args, Path.cwd()): args for args in missing}
        try:
            with Progress(*columns, console=console) as progress:
                bar = progress.add_task("runs", total=len(missing))
                while pending:
                    (done,), _ = ray.wait(list(pending))
                    folder = store.folder(pending.pop(done))
                    progress.advance(bar)
                    try:
                        ray.get(done)
                        text = f"done: {folder}"
                    except ray.exceptions.RayError as error:
                        failed.append(folder)
                        text = "\n".join([f"FAILED: {folder}", *str(error).splitlines()[-TAIL:]])
                    console.print(text, markup=False, highlight=False, soft_wrap=True)
        finally:
            for reference in pending:
                ray.cancel(reference)
            if pending:
                ray.wait(list(pending), num_returns=len(pending), timeout=PATIENCE)
    return failed


def trial(store: Store, args: PPOArgs, folder: Path) -> None:
    """Make one run or go on with it, in a worker of its own.

    :param store: where the run belongs
    :param args: of the run
    :param folder: where the sweep was started; relative paths start there
    :raises Interrupted: if a signal or the sweep stopped the run, after a checkpoint
    """
    os.chdir(folder)
    store.before(args)  # here, because the machine of the sweep itself may have no such device
    while (lock := store.lock(args)) is None:  # another sweep makes it
        time.sleep(POLL)
    with lock:
        if store.get(args):
            return
        prepared = store.prepare(args)
        assert prepared.run_folder is not None
        sys.argv[1:] = to_flags(prepared)  # for command.txt
        with (
            (prepared.run_folder / LOG).open("a") as log,
            contextlib.redirect_stdout(log),
            contextlib.redirect_stderr(log),
        ):
            train(prepared, Console(file=log))


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ImportError("a sweep needs Ray, which is not installed: pip install 'addition-gym[sweep]'") from error
    return ray


def check_resources(resources: Resources, available: Mapping[str, float]) -> None:
    """Refuse what Ray would wait for without end.

    :param resources: of a run
    :param available: by Ray's names, ``"CPU"`` and ``"GPU"``
    :raises ValueError: if there is less than a run occupies
    """
    for name, wanted in (("cpus", resources.cpus), ("gpus", resources.gpus)):
        found = available.get(name.removesuffix("s").upper(), 0)
        if wanted > found:
            raise ValueError(
                f"{name} must be <= {found:g}, which this machine has, but it is {wanted:g}: pass --{name} with less, or the "
                "--address of a cluster"
            )
