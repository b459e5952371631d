"""Command lines whose defaults come from a named preset."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import tyro

Args = TypeVar("Args")


def parse(presets: Mapping[str, Args], description: str, argv: Sequence[str] | None = None) -> Args:
    """Read the arguments of a command; ``--preset`` says where their defaults come from.

    :param presets: default arguments by name; the first is the default preset. All have one dataclass, which has a field
        ``preset``
    :param description: what ``--help`` says
    :param argv: the command line, ``sys.argv`` by default
    :raises ValueError: if other arguments stand beside ``--resume``, which takes a run's own
    """
    chooser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    chooser.add_argument("--preset", choices=tuple(presets), default=next(iter(presets)))
    default: Any = presets[chooser.parse_known_args(argv)[0].preset]
    args = tyro.cli(type(default), args=argv, default=default, description=description)
    if getattr(args, "resume", None):
        _check_alone(args, next(iter(presets.values())))
    return args


def _check_alone(args: Any, default: Any) -> None:
    for field in dataclasses.fields(args):
        value = getattr(args, field.name)
        if field.name != "resume" and value != getattr(default, field.name):
            raise ValueError(
                f"{field.name} must not stand beside resume, which takes the arguments of that run, but it is "
                f"{value!r}: leave it out, or start a new run"
            )
