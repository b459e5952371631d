"""The commands of docs/own_task.md, run as a reader runs them."""

import re
import shlex
import sys

import pytest

from tests.docs.pages import ROOT, python_blocks
from train import evaluate, load_runs, ppo, pretrain

PAGE = ROOT / "docs" / "own_task.md"


def test_an_environment_from_the_command_line(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environment, _, pretraining, *_ = python_blocks(PAGE)[2:]
    text = PAGE.read_text(encoding="utf-8")
    (register,) = re.findall(r"^    (gym\.register\(.*\))$", text, re.MULTILINE)
    (tmp_path / "reverse.py").write_text(f"{environment}\n{register}\n")
    exec(environment + pretraining, {"__name__": "page"})
    (command,) = re.findall(r"addition-gym ppo (--env .*)", text)
    monkeypatch.setattr(sys, "argv", ["ppo", *shlex.split(command), "--run-folder", "run"])
    ppo.main()
    runs, curves = load_runs("run")
    assert runs.before_success.item() == runs.after_success.item() == 1
    sampled = curves["rollout/success_rate"]
    first, last = (int(share) / 100 for share in re.search(r"from (\d+)% in the\s+first rollout to (\d+)%", text).groups())
    assert sampled.iloc[0] == pytest.approx(first, abs=0.1)
    assert sampled.iloc[-1] == pytest.approx(last, abs=0.08)


FEWER = {
    pretrain: "--steps 20 --origin-steps 5 --n-embd 16 --eval-problems 5",
    ppo: "--total-timesteps 200 --n-envs 8 --n-episodes 8 --eval-problems 5 --eval-every-problems 5",
    evaluate: "--n-problems 5",
}


def test_a_task_from_the_command_line(tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Two lines of learning are too short to tell more than that all commands know the task."""
    monkeypatch.chdir(tmp_path)
    task = python_blocks(PAGE)[0]
    assert len(task.splitlines()) < 60
    (tmp_path / "sorting.py").write_text(task)
    commands = re.findall(r"addition-gym (pretrain|ppo|evaluate) (--task .*)", PAGE.read_text(encoding="utf-8"))
    for (name, flags), (module, fewer) in zip(commands, FEWER.items(), strict=True):
        assert module.__name__ == f"train.{name}"
        monkeypatch.setattr(sys, "argv", [name, *shlex.split(flags), *shlex.split(fewer)])
        module.main()
    assert "Sorting: accuracy on 5 test problems, sampled, N = 4" in capsys.readouterr().out
    runs, _ = load_runs("runs/sorted")
    assert runs["after_>N"].item() >= 0
