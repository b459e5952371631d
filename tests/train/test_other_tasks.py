"""The commands on tasks other than addition, and the models that come with these."""

import csv
import json
import sys

import pytest

from addition_gym.tasks import MixedParity
from policies.model_files import BUNDLED
from train import criticality, evaluate, inspect, ppo, pretrain
from train.measure.task_accuracy import evaluate_task
from train.run.models import Model
from train.run.named_task import named_task


@pytest.fixture
def command(monkeypatch):
    def run(module, *flags) -> None:
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, flags)])
        module.main()

    return run


def test_arguments_are_read_by_their_type() -> None:
    assert named_task("MixedParity-v0", "size=9,chain_share=0.5,split=test,size=12") == MixedParity(
        size=12, chain_share=0.5, split="test"
    )


@pytest.mark.parametrize(
    ("task", "assignments", "message"),
    [
        ("Parity", "", "task must be one of ScratchpadAdd-v0, .*MixedParity-v0.*'Parity'"),
        ("MixedParity-v0", "bits=3", "task_arguments must be name=value.*'bits=3'"),
        ("MixedParity-v0", "size", "task_arguments must be name=value.*'size'"),
        ("MixedParity-v0", "size=x", "task_arguments must be name=value.*'size=x'"),
        ("MixedParity-v0", "size=99", "size must be at most 16"),
    ],
)
def test_what_is_no_task_or_argument_is_named(task, assignments, message) -> None:
    with pytest.raises(ValueError, match=message):
        named_task(task, assignments)


@pytest.mark.parametrize(
    ("module", "flags", "message"),
    [
        (ppo, ["--preset", "parity", "--extra-digits", 2], "extra_digits must not stand beside env"),
        (ppo, ["--task-arguments", "size=3"], "task_arguments must not stand beside env"),
        (pretrain, ["--preset", "parity", "--digits", 3], "digits must not stand beside task"),
        (pretrain, ["--task-arguments", "size=3"], "task_arguments must not stand beside task"),
        (evaluate, ["--model", "parity", "--pretrained-digits", 3], "pretrained_digits must not be given"),
        (inspect, [3, 4, "--model", "parity"], "a, b and pretrained_digits must not be given"),
        (inspect, [], "a and b must be two numbers"),
        (inspect, ["--model", "parity", "--problem", "012"], "problem must have 1 to 16 bits"),
    ],
)
def test_what_a_task_does_not_have_is_refused(module, flags, message, command) -> None:
    with pytest.raises(ValueError, match=message):
        command(module, *flags)


def test_look_into_a_completion_of_another_task(command, capsys, tmp_path) -> None:
    command(inspect, "--model", "parity", "--problem", "0110", "--html", tmp_path / "page.html")
    printed = capsys.readouterr().out
    assert "a0b1c1d0:>a00b11c10d00=0" in printed
    assert "right, answer 0" in printed
    assert '"problem":"a0b1c1d0:"' in (tmp_path / "page.html").read_text()


def test_measure_what_is_critical_in_another_task(command, tmp_path) -> None:
    command(criticality, "--model", "parity", "--n-problems", 3, "--n-samples", 1, "--output", tmp_path)
    assert "MixedParity" not in json.loads((tmp_path / "criticality.json").read_text())["summary"]
    assert (tmp_path / "tokens.csv").read_text().startswith("problem,position,place,token")


def test_an_agent_knows_its_task(command, tmp_path, capsys) -> None:
    few = [
        "--n-envs",
        4,
        "--n-episodes",
        4,
        "--batch-size",
        4,
        "--total-timesteps",
        50,
        "--eval-problems",
        4,
        "--eval-every-problems",
        4,
    ]
    command(ppo, "--preset", "parity", "--task-arguments", "size=12", *few, "--run-folder", tmp_path / "run")
    task = Model.find(tmp_path / "run").task
    assert task == MixedParity(size=12)
    after = json.loads((tmp_path / "run" / "results.json").read_text())["after"]
    assert after.keys() == {"<=N", ">N"}
    command(evaluate, "--model", tmp_path / "run", "--n-problems", 4, "--n-samples", 2, "--output", tmp_path / "found")
    assert "pass@2" in capsys.readouterr().out
    with (tmp_path / "found" / "completions.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 16


@pytest.mark.parametrize("name", sorted(BUNDLED.keys() - {"tiny"}))
def test_a_base_is_small_sure_of_what_it_knows_and_has_a_foothold_beyond(name) -> None:
    model = Model.find(name)
    files = {path.name: path.stat().st_size for path in model.path.iterdir()}
    assert sum(files.values()) < 4e6
    assert {"README.md", "config.json", "model.safetensors", "pretraining.json"} <= files.keys()
    if (task := model.task) is not None:
        known, harder = (each.accuracy.value for each in evaluate_task(model.load(), task, 100, deterministic=False))
        assert known >= 0.9
        assert 0.05 < harder < 0.75
