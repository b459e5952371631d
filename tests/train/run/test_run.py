"""A run's folder: who may write it, what stands there, and how it is read back."""

import dataclasses
import json
import platform
import re
import runpy
import shlex
import subprocess
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
from rich.console import Console

from train.run import provenance as provenance_module
from train.run import run as run_module
from train.run.provenance import provenance
from train.run.run import FinishedRun, Run, arguments_of, claimed, is_finished, read_record

QUIET = Console(quiet=True)
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Args:
    """What a command that can be resumed has."""

    preset: str = "small"
    steps: int = 3
    rate: float | None = 0.5
    kind: Literal["a", "b"] = "a"
    arch: tuple[int, ...] = (4, 5)
    where: Path = Path("some/where")
    run_folder: Path | None = None
    resume: Path | None = None


PRESETS = {"small": Args()}


def start(args: Args, **inputs: str) -> Path:
    """Begin a run, and do nothing."""
    with Run.start("ppo", args, PRESETS, QUIET, inputs) as run:
        return run.folder


def finish(args: Args, **results: object) -> Path:
    with Run.start("ppo", args, PRESETS, QUIET) as run:
        run.write_results(results)
        return run.folder


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != "lock"}


def record(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_record(tmp_path) -> None:
    folder = start(Args(where=Path("$HOME/it's"), steps=4, run_folder=tmp_path / "a" / "b"), pretrained="abc")
    assert folder == tmp_path / "a" / "b"
    assert contents(folder).keys() == {"run.json"}
    found = record(folder)
    assert shlex.split(found.pop("command")) == ["python", "-m", "train.ppo", "--steps=4", "--where=$HOME/it's"]
    assert found == {
        "arguments": {
            "preset": "small",
            "steps": 4,
            "rate": 0.5,
            "kind": "a",
            "arch": [4, 5],
            "where": "$HOME/it's",
        },
        "inputs": {"pretrained": "abc"},
        "sessions": [provenance()],
    }


def test_every_session_is_recorded(tmp_path, monkeypatch) -> None:
    start(Args(run_folder=tmp_path))
    monkeypatch.setattr(run_module, "provenance", lambda: {"commit": "another"})
    start(Args(run_folder=tmp_path, resume=tmp_path))
    assert record(tmp_path)["sessions"] == [provenance(), {"commit": "another"}]


def test_provenance_is_that_of_this_process() -> None:
    found = provenance()
    assert found["python"] == platform.python_version()
    assert found["torch"] == torch.__version__
    assert found["transformers"] == transformers.__version__
    assert found["gymnasium"] == gymnasium.__version__
    assert found["stable-baselines3"] == stable_baselines3.__version__
    assert found["numpy"] == np.__version__
    assert found["threads"] == torch.get_num_threads()
    assert found["addition-gym"]


def git(folder: Path, *words: str) -> str:
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    return subprocess.run(["git", *author, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_and_whether_the_tree_is_clean(tmp_path) -> None:
    """A checkout of our own: clean, changed, changed elsewhere, with a new file; then code that git does not know."""
    module = tmp_path / "train" / "run" / "provenance.py"
    module.parent.mkdir(parents=True)
    module.write_text((ROOT / "train" / "run" / "provenance.py").read_text())

    def said() -> str:
        found = runpy.run_path(str(module))["provenance"]()
        return f"{found['commit']} {found['clean']}"

    assert said() == "None None"
    git(tmp_path, "init", "--quiet")
    assert said() == "None None"
    (tmp_path / ".gitignore").write_text("__pycache__/\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert said() == f"{commit} True"
    (tmp_path / "notes.txt").write_text("elsewhere")
    assert said() == f"{commit} True"
    (tmp_path / "train" / "new.py").touch()
    assert said() == f"{commit} False"
    (tmp_path / "train" / "new.py").unlink()
    module.write_text(module.read_text() + "# changed")
    assert said() == f"{commit} False"


def test_without_git(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    provenance_module._commit.cache_clear()
    assert {name: provenance()[name] for name in ("commit", "clean")} == {"commit": None, "clean": None}
    provenance_module._commit.cache_clear()


def test_default_folder_is_new_under_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = start(Args())
    assert re.fullmatch(r"runs/ppo-small-\d{8}-\d{6}", str(folder))
    assert (tmp_path / folder / "run.json").is_file()


def test_existing_run_is_refused_and_left_alone(tmp_path) -> None:
    start(Args(steps=3, run_folder=tmp_path))
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=f"run_folder must not hold a run yet, but '{tmp_path}' has run.json"):
        start(Args(steps=4, run_folder=tmp_path))
    assert contents(tmp_path) == before


def test_two_runs_that_start_in_the_same_second_have_two_folders(tmp_path, monkeypatch) -> None:
    class Clock:
        now = staticmethod(lambda: datetime(2026, 1, 2, 3, 4, 5))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_module, "datetime", Clock)
    names = [start(Args()).name for _ in range(3)]
    assert names == ["ppo-small-20260102-030405", "ppo-small-20260102-030405-2", "ppo-small-20260102-030405-3"]


def test_a_file_is_no_run_folder(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"run_folder must be a folder, but .*notes.txt' is a file"):
        start(Args(run_folder=tmp_path / "notes.txt"))


def test_existing_folder_without_a_run_is_taken(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    start(Args(run_folder=tmp_path))
    assert contents(tmp_path).keys() == {"run.json", "notes.txt"}


HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1] + "/lock", timeout=0):
    input(print(flush=True))
"""
"""What another process does that makes the run in a folder; it fails if it may not."""


def test_a_folder_that_another_process_claims_is_left_alone(tmp_path) -> None:
    """Also a new one, before anything is written; the system ends the claim of a process that is killed."""
    words = [sys.executable, "-c", HOLD, tmp_path]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline()
        with pytest.raises(ValueError, match=f"another process is making the run in '{tmp_path}'"):
            start(Args(run_folder=tmp_path))
        assert contents(tmp_path) == {}
        other.kill()
    start(Args(run_folder=tmp_path))


def test_a_process_may_claim_a_folder_again(tmp_path) -> None:
    with claimed(tmp_path), claimed(tmp_path):
        assert subprocess.run([sys.executable, "-c", HOLD, tmp_path], capture_output=True).returncode == 1
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline()
        other.kill()


def test_waiting_for_a_claim(tmp_path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline()
        other.stdin.write(b"\n")
        other.stdin.flush()
        with claimed(tmp_path, wait=True):
            assert other.wait(timeout=60) == 0


def test_arguments_come_back(tmp_path) -> None:
    args = Args(steps=7, rate=None, kind="b", arch=(), where=Path("else/where"), run_folder=tmp_path)
    start(args)
    assert arguments_of(Args, tmp_path) == dataclasses.replace(args, resume=tmp_path)


def change(folder: Path, **arguments: object) -> None:
    found = record(folder)
    (folder / "run.json").write_text(json.dumps({**found, "arguments": {**found["arguments"], **arguments}}))


def test_an_argument_that_was_added_later_has_its_default(tmp_path) -> None:
    start(Args(run_folder=tmp_path))
    found = record(tmp_path)
    del found["arguments"]["rate"]
    (tmp_path / "run.json").write_text(json.dumps(found))
    assert arguments_of(Args, tmp_path).rate == 0.5


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": "many"}, r"resume must be a run of this command, .*does not fit: [\s\S]*steps"),
        ({"steps": 2.5}, "steps"),
        ({"steps": None}, "steps"),
        ({"rate": "x"}, "rate"),
        ({"kind": "c"}, "kind"),
        ({"arch": [1, "a"]}, "arch"),
        ({"where": 3}, "where"),
        ({"stepz": 3}, "resume must be a run of this command, but its run.json has 'stepz'"),
    ],
)
def test_arguments_of_another_kind(changed, message, tmp_path) -> None:
    start(Args(run_folder=tmp_path))
    change(tmp_path, **changed)
    with pytest.raises(ValueError, match=message):
        arguments_of(Args, tmp_path)


@pytest.mark.parametrize("content", ["", "[1]", "{", "\0", "{}", '{"arguments": 3}', '{"arguments": null}'])
def test_a_damaged_record(content, tmp_path) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match="resume must"):
        arguments_of(Args, tmp_path)


@pytest.mark.parametrize(("part", "content"), [("arguments", []), ("inputs", None), ("sessions", {}), ("sessions", None)])
def test_a_record_without_a_part(part, content, tmp_path) -> None:
    start(Args(run_folder=tmp_path))
    (tmp_path / "run.json").write_text(json.dumps({**record(tmp_path), part: content}))
    with pytest.raises(ValueError, match=f"store must come with the record of a run, but .* lacks {part}"):
        read_record(tmp_path, "store")
    with pytest.raises(ValueError, match=f"lacks {part}"):
        start(Args(run_folder=tmp_path, resume=tmp_path))


@pytest.mark.parametrize("content", ["", "[1]", "3", "\0"])
def test_damaged_results(content, tmp_path) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match=f"run must come with .* '{tmp_path / 'results.json'}'"):
        is_finished(tmp_path)


def test_nothing_to_resume(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"holds no run.json: check the path"):
        arguments_of(Args, tmp_path)
    finish(Args(run_folder=tmp_path), before={}, after={})
    with pytest.raises(ValueError, match="is done: start a new run"):
        start(arguments_of(Args, tmp_path))


def test_a_run_without_checkpoint_starts_again_only_from_what_it_started_from(tmp_path) -> None:
    start(Args(run_folder=tmp_path), pretrained="abc")
    with Run.start("ppo", Args(run_folder=tmp_path, resume=tmp_path), PRESETS, QUIET) as run:
        run.check_inputs({"pretrained": "abc"})
        with pytest.raises(ValueError, match=r"pretrained must be what the run in .* started from, but it has changed"):
            run.check_inputs({"pretrained": "abd"})


def test_a_run_that_another_process_has_finished_is_not_resumed(tmp_path) -> None:
    """Between the reading of its arguments and the claim."""
    start(Args(run_folder=tmp_path))
    args = arguments_of(Args, tmp_path)
    (tmp_path / "results.json").write_text('{"after": {}}')
    with pytest.raises(ValueError, match="is done: start a new run"):
        start(args)


def test_a_finished_run_says_what_it_found(tmp_path) -> None:
    with pytest.raises(ValueError, match="run must be a finished run"):
        FinishedRun(tmp_path)
    folder = finish(Args(run_folder=tmp_path / "half"), before={"N+1": {"accuracy": 0.25}})
    with pytest.raises(ValueError, match="run must be a finished run"):
        FinishedRun(folder)
    run = FinishedRun(finish(Args(run_folder=tmp_path / "whole"), before={}, after={"N+1": {"accuracy": 0.5}}, seconds=3))
    assert run.accuracy("N+1") == 0.5
    assert run.results["seconds"] == 3
    assert run.record["arguments"]["steps"] == 3
    with pytest.raises(ValueError, match=r"run must hold accuracies on N\+2 after training, .*eval_problems >= 1"):
        run.accuracy("N+2")
