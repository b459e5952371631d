"""Command lines whose defaults come from a named preset, or from a run that is resumed."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import docstring_parser
import tyro

Args = TypeVar("Args")

ADDITION = "ScratchpadAdd-v0"
"""The task that commands are about unless they are told another."""
EXTENDING = ("total_timesteps",)
"""Arguments that may change when a run is resumed."""


def hinted(arguments: type[Args]) -> type[Args]:
    """Let ``--help`` show the docstrings of a dataclass's fields as running text; tyro would break lines where the source does.

    :param arguments: the dataclass
    """
    types = get_type_hints(arguments, include_extras=True)
    for field in docstring_parser.parse_from_object(arguments).params:
        hint = tyro.conf.arg(help=" ".join((field.description or "").split()))
        arguments.__annotations__[field.arg_name] = Annotated[types[field.arg_name], hint]
    return arguments


def parse(presets: Mapping[str, Args], description: str, argv: Sequence[str] | None = None, prog: str | None = None) -> Args:
    """Read the arguments of a command; ``--preset`` says where their defaults come from, or ``--resume``, the run's own.

    :param presets: default arguments by name; the first is the default preset. All have one dataclass, which has a field
        ``preset``
    :param description: what ``--help`` says
    :param argv: the command line, ``sys.argv`` by default
    :param prog: what ``--help`` calls the command, ``sys.argv[0]`` by default
    :raises ValueError: if arguments are given beside ``--resume`` other than those of :data:`EXTENDING`
    """
    chooser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    chooser.add_argument("--preset", choices=tuple(presets), default=next(iter(presets)))
    chooser.add_argument("--resume", type=Path)
    chosen = chooser.parse_known_args(argv)[0]
    default: Any = presets[chosen.preset]
    if chosen.resume is not None and hasattr(default, "resume"):
        from train.run.run import arguments_of

        default = arguments_of(type(default), chosen.resume)
    args = tyro.cli(type(default), prog=prog, args=argv, default=default, description=description)
    if getattr(args, "resume", None):
        _check_alone(args, default)
    return args


def _check_alone(args: Any, default: Any) -> None:
    for field in dataclasses.fields(args):
        value = getattr(args, field.name)
        if field.name not in EXTENDING and value != (of_run := getattr(default, field.name)):
            raise ValueError(
                f"{field.name} must be that of the run to resume, {of_run!r}, but it is {value!r}: leave it out, or start a "
                "new run"
            )
