"""Make the runs that are missing from a store, on Ray: one task per run, on one machine or on a cluster.

Plain tasks, not Ray Tune: the store already knows what is done, a run already resumes from its checkpoints, and no trial is
stopped early or proposed by a search, so there would be nothing left for Tune to do.
"""

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Self

from rich.console import Console

from policies.checks import at_least
from policies.device import resolve_device
from train.experiment.arguments import LOCAL, RunnerArgs
from train.experiment.store import Store
from train.finetuning.arguments import PPOArgs
from train.finetuning.finetune import train
from train.run.meter import meter
from train.run.process import Interrupted, handling, stop_at_once
from train.run.run import claimed

LOG = "log.txt"
"""What a run printed, in its folder."""
RETRIES = 3
"""How often a run whose worker died is resumed elsewhere."""
TAIL = 15
"""Lines of an error that are shown."""
LOOK = 5.0
"""Seconds between two looks whether a run has ended."""
PATIENCE = 60.0
"""Seconds that stopped runs have to save and end."""


class Runner(RunnerArgs):
    """Makes the runs that a store does not hold."""

    @classmethod
    def of(cls, args: RunnerArgs) -> Self:
        """The runner that a command line asks for."""
        return cls(**vars(args))

    def run_missing(self, store: Store, runs: Iterable[PPOArgs], console: Console) -> list[Path]:
        """Make the runs that the store does not hold; the others continue when one fails, and what another process is making
        is waited for.

        A run whose worker dies is resumed from its last checkpoint in another one. When this method is interrupted, the runs
        save and end; the next call resumes them.

        :param store: where runs are; all machines must see it under the same path
        :param runs: which, in the order of their making
        :param console: for progress, and for the end of a failed run's traceback
        :return: the folders of the runs that failed
        :raises ImportError: if Ray is not installed
        :raises ValueError: if this machine has less than a run occupies
        """
        at_least("cpus", self.cpus, 1, "pass the cores of a run")
        if self.gpus is not None:
            at_least("gpus", self.gpus, 0, "pass the GPUs of a run")
        if self.workers is not None:
            at_least("workers", self.workers, 1, "pass how many runs to make at a time")
            if self.address != LOCAL:
                raise ValueError(
                    f"workers must not be given with an address, {self.address!r}, but it is {self.workers}: leave it out, the "
                    "cluster knows what it has room for"
                )
        missing = [args for args in dict.fromkeys(runs) if not store.get(args)]
        if not missing:
            return []
        ray, failed = _ray(), []
        device = missing[0].device
        on_gpu = (resolve_device(device) if device == "auto" else device) != "cpu"  # the cluster may have others
        gpus = float(on_gpu) if self.gpus is None else self.gpus
        received: list[int] = []

        def stop(number: int, frame: FrameType | None) -> None:
            received.append(number)  # Ray raises an interrupt of its own, which forgets it
            stop_at_once(number, frame)

        with (
            handling(stop),  # Ray leaves the system's own handlers behind
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", **self._where()),
            handling(stop),  # Ray's would not let the runs save, and a shell's & ignores SIGINT
        ):
            if self.address == LOCAL:
                check_resources(self.cpus, gpus, ray.cluster_resources())
            task = ray.remote(
                num_cpus=self.cpus, num_gpus=gpus, max_calls=1, max_retries=RETRIES, retry_exceptions=[Interrupted]
            )(make)
            pending = {task.remote(store, args, Path.cwd()): args for args in missing}
            try:
                with meter(console, "Runs", len(missing)) as advance:
                    while pending:
                        ended, _ = ray.wait(list(pending), timeout=LOOK)
                        advance(len(ended))
                        if not ended:
                            continue
                        (done,) = ended
                        folder = store.folder(pending.pop(done))
                        try:
                            ray.get(done)
                            text = f"done: {folder}"
                        except ray.exceptions.RayError as error:
                            failed.append(folder)
                            text = "\n".join([f"FAILED: {folder}", *str(error).splitlines()[-TAIL:]])
                        console.print(text, markup=False, highlight=False, soft_wrap=True)
            except KeyboardInterrupt:
                console.print("Stopping; the same command resumes the runs that are missing")
                raise KeyboardInterrupt(*received[:1]) from None
            finally:
                for reference in pending:
                    ray.cancel(reference)
                if pending:
                    ray.wait(list(pending), num_returns=len(pending), timeout=PATIENCE)
        return failed

    def _where(self) -> dict[str, Any]:
        return {"address": self.address} | ({"num_cpus": self.workers * self.cpus} if self.workers else {})


def make(store: Store, args: PPOArgs, folder: Path) -> None:
    """Make one run or resume it, in a worker of its own.

    :param store: where the run belongs
    :param args: of the run
    :param folder: where the command was started; relative paths start there
    :raises Interrupted: if a signal or the command stopped the run, after a checkpoint
    """
    os.chdir(folder)
    store.before(args)  # here, because the machine of the command itself may have no such device
    run = store.prepare(args).run_folder
    assert run is not None
    with claimed(run, wait=True):  # another process may be making it
        if store.get(args):
            return
        with (run / LOG).open("a") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            train(store.prepare(args), Console(file=log))


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 starves the runs of a machine that does other work too
    try:
        import ray
    except ImportError as error:
        raise ImportError("many runs need Ray, which is not installed: pip install 'addition-gym[experiments]'") from error
    return ray


def check_resources(cpus: int, gpus: float, available: Mapping[str, float]) -> None:
    """Refuse what Ray would wait for without end.

    :param cpus: of a run; likewise ``gpus``
    :param available: by Ray's names, ``"CPU"`` and ``"GPU"``
    :raises ValueError: if there is less than a run occupies
    """
    for name, wanted in (("cpus", cpus), ("gpus", gpus)):
        found = available.get(name.removesuffix("s").upper(), 0)
        if wanted > found:
            raise ValueError(
                f"{name} must be <= {found:g}, which this machine has, but it is {wanted:g}: pass --{name} with less, or the "
                "--address of a cluster"
            )
