import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from train import ppo
from train.finetuning.arguments import PPOArgs
from train.run.arguments import parse
from train.run.run import to_flags


@dataclass(frozen=True)
class Args:
    preset: Literal["small", "big"] = "small"
    """Where the other defaults come from."""
    width: int = 3
    name: str = "one"


PRESETS = {"small": Args(), "big": Args(preset="big", width=70, name="many")}


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], Args("small", 3, "one")),
        (["--preset", "small"], Args("small", 3, "one")),
        (["--preset", "big"], Args("big", 70, "many")),
        (["--preset=big"], Args("big", 70, "many")),
        (["--width", "5"], Args("small", 5, "one")),
        (["--preset", "big", "--width", "5"], Args("big", 5, "many")),
        (["--width", "5", "--preset", "big"], Args("big", 5, "many")),
        (["--preset", "big", "--width", "3"], Args("big", 3, "many")),  # given, though it is the other preset's default
        (["--name", "big"], Args("small", 3, "big")),
    ],
)
def test_preset_chooses_defaults_and_flags_win(argv, expected) -> None:
    assert parse(PRESETS, "A command.", argv) == expected


def test_reads_the_command_line_of_the_process(monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["command", "--preset", "big", "--name", "x"])
    assert parse(PRESETS, "A command.") == Args("big", 70, "x")


@pytest.mark.parametrize("argv", [["--preset", "huge"], ["--preset"], ["--width", "wide"], ["--depth", "3"], ["big"]])
def test_bad_command_line_exits(argv, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(PRESETS, "A command.", argv)
    assert stop.value.code == 2
    assert argv[-1].lstrip("-") in capsys.readouterr().err


def test_error_names_the_presets(capsys) -> None:
    with pytest.raises(SystemExit):
        parse(PRESETS, "A command.", ["--preset", "huge"])
    message = capsys.readouterr().err
    assert "huge" in message
    assert "small" in message
    assert "big" in message


@pytest.mark.parametrize(("argv", "default"), [([], "3"), (["--preset", "big"], "70")])
def test_help_shows_the_presets_and_their_defaults(argv, default, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(PRESETS, "What the command does.", [*argv, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "What the command does." in text
    assert "--preset {small,big}" in text
    assert "Where the other defaults come from." in text
    assert f"(default: {default})" in text


HINTS = get_type_hints(PPOArgs)
FIELDS = [field.name for field in dataclasses.fields(PPOArgs)]


def another_value(name: str) -> Any:
    """A value of the field's type that is not its default."""
    default = getattr(PPOArgs(), name)
    literals = [hint for hint in (HINTS[name], *get_args(HINTS[name])) if get_origin(hint) is Literal]
    choices = get_args(literals[0]) if literals else ()
    if choices:
        return next(choice for choice in choices if choice != default)
    if default is None:
        return {"run_folder": Path("some where/run"), "resume": Path("a run")}.get(name, 3)
    return {
        bool: lambda: not default,
        int: lambda: default + 1,
        float: lambda: default * 2 + 0.1,
        str: lambda: default + " two",
        tuple: lambda: (7, 8),
    }[type(default)]()


def read_back(args: PPOArgs) -> PPOArgs:
    return parse(ppo.PRESETS, "", to_flags(args, ppo.PRESETS))


@pytest.mark.parametrize("preset", ppo.PRESETS)
@pytest.mark.parametrize("name", [name for name in FIELDS if name not in ("run_folder", "resume")])
def test_flags_are_read_back(name, preset) -> None:
    """Every argument, those to come included."""
    args = dataclasses.replace(ppo.PRESETS[preset], **{name: another_value(name)})
    assert read_back(args) == args


def test_flags_say_only_what_differs_from_the_preset() -> None:
    assert to_flags(PPOArgs(), ppo.PRESETS) == []
    assert to_flags(ppo.PRESETS["paper"], ppo.PRESETS) == ["--preset=paper"]
    args = dataclasses.replace(PPOArgs(), seed=3, eval_before=False, run_folder=Path("x"), resume=Path("y"))
    assert to_flags(args, ppo.PRESETS) == ["--no-eval-before", "--seed=3"]


def test_flags_that_look_like_flags() -> None:
    args = PPOArgs(pretrained="--seed", kl_coef=-1e-7, value_learning_rate=None, value_net_arch=(1, 2))
    assert read_back(args) == args
    assert read_back(dataclasses.replace(args, value_net_arch=())) == dataclasses.replace(args, value_net_arch=())
