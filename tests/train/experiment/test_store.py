import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from policies.model_files import TINY
from train.experiment.store import NOT_SCIENCE, SCIENCE, Store, run_key, scientific, to_flags
from train.ppo import PRESETS, PPOArgs
from train.run.arguments import parse

HINTS = get_type_hints(PPOArgs)
FIELDS = [field.name for field in dataclasses.fields(PPOArgs)]


def another_value(name: str) -> Any:
    """A value of the field's type that is not its default."""
    default = getattr(PPOArgs(), name)
    choices = get_args(HINTS[name]) if get_origin(HINTS[name]) is Literal else ()
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


@pytest.mark.parametrize("name", FIELDS)
def test_flags_are_read_back(name) -> None:
    """Every argument, those to come included."""
    args = dataclasses.replace(PPOArgs(), **{name: another_value(name)})
    assert parse(PRESETS, "", to_flags(args)) == args


@pytest.mark.parametrize("preset", PRESETS)
def test_flags_of_presets_are_read_back(preset) -> None:
    assert parse(PRESETS, "", to_flags(PRESETS[preset])) == PRESETS[preset]


def test_flags_that_look_like_flags() -> None:
    args = PPOArgs(pretrained="--seed", kl_coef=-1e-7, value_learning_rate=None, value_net_arch=(), run_folder=Path("-x y"))
    assert parse(PRESETS, "", to_flags(args)) == args


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "pretrained"])
def test_the_key_is_of_science(name) -> None:
    other = dataclasses.replace(PPOArgs(), **{name: another_value(name)})
    assert (run_key(other) == run_key(PPOArgs())) == (name in NOT_SCIENCE)


def test_the_key_is_readable_and_stable() -> None:
    assert re.fullmatch(r"uniform-kl0.2-seed3-[0-9a-f]{12}", run_key(PPOArgs(weighting="uniform", kl_coef=0.2, seed=3)))
    assert run_key(PPOArgs(kl_coef=2)) == run_key(PPOArgs(kl_coef=2.0))
    assert run_key(PPOArgs(pretrained_digits=5)) == run_key(PPOArgs())
    assert scientific(PPOArgs())["pretrained_digits"] == json.loads((TINY / "pretraining.json").read_text())["digits"]


def test_the_key_follows_the_weights_not_their_path(tmp_path) -> None:
    key = run_key(PPOArgs())
    copies = [Path(shutil.copytree(TINY, tmp_path / name)) for name in ("same", "weights", "heads")]
    weights = copies[1] / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    config = json.loads((copies[2] / "config.json").read_text())
    (copies[2] / "config.json").write_text(json.dumps(config | {"n_head": 1}))
    same, *others = [run_key(PPOArgs(pretrained=str(copy))) for copy in copies]
    assert same == key
    assert len({key, *others}) == 3


def test_model_without_weights(tmp_path) -> None:
    for name in ("config.json", "pretraining.json"):
        shutil.copy(TINY / name, tmp_path)
    with pytest.raises(ValueError, match=rf"pretrained must hold weights \(\*.safetensors\), but '{tmp_path}' does not"):
        run_key(PPOArgs(pretrained=str(tmp_path)))


def test_a_run_is_done_once_it_has_results(tmp_path) -> None:
    store, args = Store(tmp_path / "store"), PPOArgs()
    assert store.get(args) is None
    folder = store.prepare(args).run_folder
    assert folder == store.folder(args) == tmp_path / "store" / run_key(args)
    (folder / "progress.csv").write_text("half")
    assert store.get(args) is None
    (folder / "results.json").write_text("{}")
    assert store.get(args) == folder
    assert store.get(PPOArgs(device="cuda")) == folder
    assert store.get(PPOArgs(seed=1)) is None


def test_a_run_answers_for_arguments_that_were_added_later_at_their_defaults(tmp_path) -> None:
    store, args = Store(tmp_path), PPOArgs(value_net_arch=(8,), kl_coef=3)
    folder = store.prepare(args).run_folder
    (folder / "results.json").write_text("{}")
    science = json.loads((folder / SCIENCE).read_text())
    del science["kl_target"]
    (folder / SCIENCE).write_text(json.dumps(science))
    assert store.get(args) == folder
    assert store.get(dataclasses.replace(args, kl_coef=3.0)) == folder
    assert store.get(dataclasses.replace(args, kl_target=1.0)) is None
    assert store.get(dataclasses.replace(args, value_net_arch=())) is None


def test_accuracy_before_training_is_measured_once(tmp_path, monkeypatch) -> None:
    store, args = Store(tmp_path), PPOArgs(eval_problems=2)
    found = store.before(args)
    assert found.keys() == {"<=N", "N+1"}
    monkeypatch.setattr("train.experiment.store.evaluate", None)
    assert store.before(dataclasses.replace(args, seed=3, kl_coef=0.0)) == found


def test_attempts_are_moved_aside(tmp_path) -> None:
    store, args = Store(tmp_path), PPOArgs()
    for attempt in ("first", "second", "third"):
        (store.prepare(args).run_folder / "note.txt").write_text(attempt)
    assert (store.folder(args) / "note.txt").read_text() == "third"
    aside = list((tmp_path / "interrupted").iterdir())
    assert {(folder / "note.txt").read_text() for folder in aside} == {"first", "second"}
    assert all(folder.name.startswith(run_key(args)) for folder in aside)


def test_one_run_has_one_owner(tmp_path) -> None:
    store = Store(tmp_path)
    lock = store.lock(PPOArgs())
    assert lock is not None
    assert store.lock(PPOArgs()) is None
    other = store.lock(PPOArgs(seed=1))
    assert other is not None
    lock.close()
    again = store.lock(PPOArgs())
    assert again is not None
    for file in (again, other):
        file.close()


def test_the_lock_lives_as_long_as_a_process_that_inherited_it(tmp_path) -> None:
    """A scheduler that is killed leaves its run alone with the lock; a run that is killed leaves it free."""
    store = Store(tmp_path)
    lock = store.lock(PPOArgs())
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=[lock.fileno()])
    lock.close()
    try:
        assert store.lock(PPOArgs()) is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with store.lock(PPOArgs()) as free:
        assert free is not None
