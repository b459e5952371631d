"""Arguments of commands that make many runs."""

from dataclasses import dataclass

from train.run.arguments import hinted

LOCAL = "local"
"""The address of a Ray that is started on this machine, and ends with the command."""


@hinted
@dataclass(frozen=True)
class RunnerArgs:
    """Where runs are made, and what each of them occupies."""

    address: str = LOCAL
    """A Ray cluster (auto: the one that this machine belongs to); local starts Ray on this machine alone."""
    cpus: int = 1
    """Cores of a run, and as many threads."""
    gpus: float | None = None
    """GPUs of a run, by default 1 with a --device other than cpu, else 0; 0.25 lets four runs share one."""
    workers: int | None = None
    """Runs at a time on this machine, by default as many as there are cores for."""
