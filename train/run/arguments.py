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


def to_flags(args: Any, presets: Mapping[str, Any]) -> list[str]:
    """The shortest command line that :func:`parse` reads back as these arguments, wherever the run may be.

    :param args: a dataclass of booleans, numbers, strings, ``None`` and tuples of these, and the paths ``run_folder`` and
        ``resume``, which are left out
    :param presets: as for :func:`parse`
    """
    default, flags = presets[args.preset], []
    for field in dataclasses.fields(args):
        name, value = field.name.replace("_", "-"), getattr(args, field.name)
        if field.name in ("run_folder", "resume"):
            continue
        if field.name == "preset":
            flags += [] if value == next(iter(presets)) else [f"--preset={value}"]
        elif value == getattr(default, field.name):
            continue
        elif isinstance(value, bool):
            flags.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, tuple):
            flags += [f"--{name}", *map(str, value)]
        else:
            flags.append(f"--{name}={value}")
    return flags


def _check_alone(args: Any, default: Any) -> None:
    for field in dataclasses.fields(args):
        value = getattr(args, field.name)
        if field.name != "resume" and value != getattr(default, field.name):
            raise ValueError(
                f"{field.name} must not stand beside resume, which takes the arguments of that run, but it is "
                f"{value!r}: leave it out, or start a new run"
            )
