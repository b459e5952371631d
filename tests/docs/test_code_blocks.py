"""What the documentation tells a reader to run, runs."""

import importlib
import re
import shlex
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import tyro

from agents import PrioritizedKLPPO
from tests.docs.pages import PAGES, ROOT, commands, make_targets, name, python_blocks


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=name)
def test_python(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block after block, in an empty folder; training is cut to one rollout where a page asks for more than 20,000 tokens.

    Weights & Biases, which is not among the dependencies, is a stand-in.
    """
    learn = PrioritizedKLPPO.learn

    def cut(agent: PrioritizedKLPPO, total_timesteps: int, **arguments: Any) -> PrioritizedKLPPO:
        return learn(agent, total_timesteps if total_timesteps <= 20_000 else 1, **arguments)

    monkeypatch.setattr(PrioritizedKLPPO, "learn", cut)
    monkeypatch.setitem(sys.modules, "wandb", MagicMock())
    (tmp_path / "results").symlink_to(ROOT / "results")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for block in python_blocks(page):
        exec(compile(block, page.name, "exec"), names)


COMMANDS = sorted({command for page in PAGES for command in commands(page)})


@pytest.mark.parametrize("command", COMMANDS)
def test_command_line(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own parser takes the arguments of every command; words in capitals, such as SEED, stand for a number."""
    module, *arguments = shlex.split(re.sub(r"\b[A-Z]+\b( \.\.\.)?", "1", command))
    parse = tyro.cli

    def parse_only(*args: Any, **kwargs: Any) -> None:
        parse(*args, **kwargs)
        raise StopIteration

    monkeypatch.setattr(tyro, "cli", parse_only)
    monkeypatch.setattr("train.run.run.arguments_of", lambda arguments, folder: arguments())
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    main = importlib.import_module("benchmarks.__main__" if module == "benchmarks" else module).main
    with pytest.raises(StopIteration):
        main()


@pytest.mark.parametrize("page", [page for page in PAGES if make_targets(page)], ids=name)
def test_make_targets(page: Path) -> None:
    known = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(make_targets(page)) <= known


def test_there_is_something_to_test() -> None:
    assert len(COMMANDS) > 20
    assert sum(len(python_blocks(page)) for page in PAGES) > 15
