from dataclasses import dataclass
from typing import Literal

import pytest

from train.run.arguments import parse


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
