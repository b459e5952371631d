"""The command of docs/own_task.md, run as a reader runs it, finds what the page says."""

import re
import shlex
import sys

import pytest

from tests.docs.pages import ROOT, python_blocks
from train import load_runs, ppo

PAGE = ROOT / "docs" / "own_task.md"


def test_from_the_command_line(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environment, _, pretraining, *_ = python_blocks(PAGE)
    text = PAGE.read_text(encoding="utf-8")
    (register,) = re.findall(r"^    (gym\.register\(.*\))$", text, re.MULTILINE)
    (tmp_path / "reverse.py").write_text(f"{environment}\n{register}\n")
    exec(environment + pretraining, {"__name__": "page"})
    (command,) = re.findall(r"addition-gym ppo (.*)", text)
    monkeypatch.setattr(sys, "argv", ["ppo", *shlex.split(command), "--run-folder", "run"])
    ppo.main()
    runs, curves = load_runs("run")
    assert runs.before_success.item() == runs.after_success.item() == 1
    sampled = curves["rollout/success_rate"]
    first, last = (int(share) / 100 for share in re.search(r"from (\d+)% in the\s+first rollout to (\d+)%", text).groups())
    assert sampled.iloc[0] == pytest.approx(first, abs=0.1)
    assert sampled.iloc[-1] == pytest.approx(last, abs=0.08)
