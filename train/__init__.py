"""Commands, and the libraries that they are made of; ``from train import load_runs`` reads runs as DataFrames."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from train.experiment.frames import load_runs as load_runs

__all__ = ["load_runs"]


def __getattr__(name: str) -> Any:
    """``load_runs``, whose import takes the time that a command's ``--help`` should take."""
    if name != "load_runs":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from train.experiment.frames import load_runs

    return load_runs
