"""``addition-gym`` and its subcommands."""

import dataclasses
import inspect
import re
import sys
from contextlib import suppress
from importlib import import_module

import pytest

from train import __main__ as addition_gym
from train import ppo
from train.__main__ import COMMANDS
from train.reproduce import TARGETS
from train.run.arguments import hinted
from train.run.process import run_command


def said(words: list[str], monkeypatch, capsys, columns: int = 80) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "argv", ["addition-gym", *words])
    with suppress(SystemExit):
        addition_gym.main()
    return capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_it_lists_its_commands(words, monkeypatch, capsys) -> None:
    lines = said(words, monkeypatch, capsys).splitlines()
    assert lines[0] == "usage: addition-gym COMMAND [OPTIONS]"
    assert [line.split()[0] for line in lines[2:-2]] == list(COMMANDS)
    assert max(map(len, lines)) <= 80


def test_an_unknown_command_is_refused(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["addition-gym", "train"])
    with pytest.raises(SystemExit) as stop:
        addition_gym.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: COMMAND must be one of ppo, pretrain, ")


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command, monkeypatch, capsys) -> None:
    """It names the command as it was called, and fits a terminal; the hint of every argument runs on within its sentences."""
    assert said([command, "--help"], monkeypatch, capsys).startswith(f"usage: addition-gym {command} ")
    assert max(map(len, said([command, "--help"], monkeypatch, capsys).splitlines())) <= 80
    wide = said([command, "--help"], monkeypatch, capsys, columns=3000)
    home = {"ppo": "finetuning.arguments", "pretrain": "pretraining.arguments"}.get(command, command)
    wide += said(["compare", "matched-budget", "--help"], monkeypatch, capsys, columns=3000)
    fields = re.findall(r'^    \w+: [^\n]*\n    """(.*?)"""', inspect.getsource(import_module(f"train.{home}")), re.M | re.S)
    assert fields
    for hint in fields:
        assert " ".join(hint.split()) in wide


def test_help_names_what_was_called(monkeypatch, capsys) -> None:
    called = said(["compare", "matched-budget", "--help"], monkeypatch, capsys)
    assert called.startswith("usage: addition-gym compare matched-budget ")
    monkeypatch.setattr(sys, "argv", ["/some/where/train/ppo.py", "--help"])
    with suppress(SystemExit):
        run_command(ppo.main)
    assert capsys.readouterr().out.startswith("usage: addition-gym ppo ")


def test_choices_are_listed_in_their_order(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["addition-gym", "reproduce", "fig-9"])
    with pytest.raises(SystemExit):
        addition_gym.main()
    found = re.findall(r"(?:table|fig|check)-[1-7]|(?<=')all(?=')", capsys.readouterr().err)
    assert found == ["fig-9", *TARGETS, "all"][1:]


def test_hints_are_running_text() -> None:
    @hinted
    @dataclasses.dataclass
    class Arguments:
        width: int = 3
        """How wide it is,
        in centimetres."""

    (hint,) = Arguments.__annotations__["width"].__metadata__
    assert hint.help == "How wide it is, in centimetres."
    assert Arguments().width == 3
