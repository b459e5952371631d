import csv
import dataclasses
import json
import platform
import re
import shlex
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import gymnasium
import numpy as np
import pytest
import stable_baselines3
import torch
import transformers

from train import run_folder
from train.run.run import make_run_folder, resumed, versions, write_json, write_rows


@dataclass(frozen=True)
class Args:
    preset: str = "small"
    steps: int = 3
    arch: tuple[int, ...] = (4, 5)
    where: Path = Path("some/where")
    nothing: None = None


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_contents(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/anywhere/train/ppo.py", "--steps", "3"])
    folder = make_run_folder(Args(), "ppo", tmp_path / "a" / "b")
    assert folder == tmp_path / "a" / "b"
    files = contents(folder)
    assert set(files) == {"config.json", "command.txt", "versions.json"}
    assert json.loads(files["config.json"]) == {
        "preset": "small",
        "steps": 3,
        "arch": [4, 5],
        "where": "some/where",
        "nothing": None,
    }
    assert files["command.txt"] == "python -m train.ppo --steps 3\n"
    assert json.loads(files["versions.json"]) == versions()


def test_command_without_arguments(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/anywhere/train/ppo.py"])
    assert contents(make_run_folder(Args(), "ppo", tmp_path))["command.txt"] == "python -m train.ppo\n"


def test_command_can_be_pasted_into_a_shell(tmp_path, monkeypatch) -> None:
    arguments = ["--run-folder", "my runs/first one", "--name", "$HOME", "--quote", "it's"]
    monkeypatch.setattr(sys, "argv", ["/anywhere/train/ppo.py", *arguments])
    command = contents(make_run_folder(Args(), "ppo", tmp_path))["command.txt"]
    assert shlex.split(command) == ["python", "-m", "train.ppo", *arguments]


def test_versions_are_those_in_use() -> None:
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["torch"] == torch.__version__
    assert found["transformers"] == transformers.__version__
    assert found["gymnasium"] == gymnasium.__version__
    assert found["stable-baselines3"] == stable_baselines3.__version__
    assert found["numpy"] == np.__version__
    assert found["addition-gym"]


def test_default_folder_is_new_under_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = make_run_folder(Args(), "pretrain", None)
    assert re.fullmatch(r"runs/pretrain-small-\d{8}-\d{6}", str(folder))
    assert (tmp_path / folder / "config.json").is_file()


def test_existing_run_is_refused_and_left_alone(tmp_path) -> None:
    make_run_folder(Args(steps=3), "ppo", tmp_path)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=f"run_folder must not hold a run yet, but '{tmp_path}' has config.json"):
        make_run_folder(Args(steps=4), "ppo", tmp_path)
    assert contents(tmp_path) == before


def test_two_runs_that_start_in_the_same_second_have_two_folders(tmp_path, monkeypatch) -> None:
    class Clock:
        now = staticmethod(lambda: datetime(2026, 1, 2, 3, 4, 5))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_folder, "datetime", Clock)
    names = [make_run_folder(Args(), "ppo", None).name for _ in range(3)]
    assert names == ["ppo-small-20260102-030405", "ppo-small-20260102-030405-2", "ppo-small-20260102-030405-3"]


def test_a_file_is_no_run_folder(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"run_folder must be a folder, but .*notes.txt' is a file"):
        make_run_folder(Args(), "ppo", tmp_path / "notes.txt")


def test_existing_folder_without_a_run_is_taken(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    make_run_folder(Args(), "ppo", tmp_path)
    assert set(contents(tmp_path)) == {"config.json", "command.txt", "versions.json", "notes.txt"}


def test_json_for_people(tmp_path) -> None:
    write_json(tmp_path / "x.json", {"path": Path("a/b"), "list": [1, 2.5]})
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text) == {"path": "a/b", "list": [1, 2.5]}
    assert text.startswith('{\n  "path"')
    assert text.endswith("}\n")


def test_rows_are_csv(tmp_path):
    write_rows(tmp_path / "rows.csv", iter([{"arm": "no KL", "gain": 12.5}, {"arm": "a,b", "gain": -3.0}]))
    with (tmp_path / "rows.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [{"arm": "no KL", "gain": "12.5"}, {"arm": "a,b", "gain": "-3.0"}]
    write_rows(tmp_path / "rows.csv", [])
    assert (tmp_path / "rows.csv").read_text() == ""


@dataclass(frozen=True)
class RunArgs:
    """What a command that can go on has."""

    steps: int = 3
    rate: float | None = 0.5
    kind: Literal["a", "b"] = "a"
    arch: tuple[int, ...] = (4, 5)
    where: Path = Path("some/where")
    run_folder: Path | None = None
    resume: Path | None = None


def test_arguments_come_back(tmp_path) -> None:
    args = RunArgs(steps=7, rate=None, kind="b", arch=(), where=Path("else/where"), run_folder=tmp_path)
    make_run_folder(args, "ppo", tmp_path)
    assert resumed(RunArgs, tmp_path) == dataclasses.replace(args, resume=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": "many"}, r"resume must be a run of this command, .*does not fit: [\s\S]*steps"),
        ({"steps": 2.5}, "steps"),
        ({"steps": None}, "steps"),
        ({"rate": "x"}, "rate"),
        ({"kind": "c"}, "kind"),
        ({"arch": [1, "a"]}, "arch"),
        ({"where": 3}, "where"),
        ({"stepz": 3}, "resume must be a run of this command, but its config.json has 'stepz'"),
    ],
)
def test_arguments_of_another_kind(change, message, tmp_path) -> None:
    make_run_folder(RunArgs(), "ppo", tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        resumed(RunArgs, tmp_path)


@pytest.mark.parametrize("content", ["", "[1]", "{", "\0"])
def test_a_damaged_configuration(content, tmp_path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match="resume must come with"):
        resumed(RunArgs, tmp_path)
