"""Command lines whose defaults come from a named preset."""

import argparse
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
    """
    chooser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    chooser.add_argument("--preset", choices=tuple(presets), default=next(iter(presets)))
    default: Any = presets[chooser.parse_known_args(argv)[0].preset]
    return tyro.cli(type(default), args=argv, default=default, description=description)
