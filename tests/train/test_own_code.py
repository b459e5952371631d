"""Runs with a weighting or an environment that is not of this project, through the command line."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents import PrioritizedKLPPO
from policies.gpt2 import build_gpt2, gpt2_config
from policies.model_files import save_gpt2
from tests.docs.pages import ROOT, python_blocks
from tests.token_env import MAX_TOKENS, PAD, VOCAB_SIZE, RepeatEnv
from tests.train.helpers import same_weights
from train import criticality, evaluate, inspect, ppo
from train.experiment.store import Store, identity
from train.finetuning.arguments import PPOArgs

MARGIN = python_blocks(ROOT / "docs" / "own_weighting.md")[0]
REVERSE = python_blocks(ROOT / "docs" / "own_task.md")[2]
SHORT = ["--total-timesteps", 1, "--n-envs", 4, "--n-episodes", 4, "--batch-size", 4, "--eval-problems", 3]
SHORT += ["--eval-every-problems", 3]


@pytest.fixture
def weighting(tmp_path) -> str:
    """The weighting of the tutorial, in a file."""
    path = tmp_path / f"margin_{tmp_path.name}.py"
    path.write_text(MARGIN)
    return f"{path}:margin"


def test_a_weighting_of_ones_own(weighting, pretrained, tmp_path, command, monkeypatch, capsys) -> None:
    folder, source = tmp_path / "run", Path(weighting.rpartition(":")[0])
    command(ppo, "--pretrained", pretrained, "--weighting", weighting, *SHORT, "--run-folder", folder)
    record = json.loads((folder / "run.json").read_text())
    assert set(record["inputs"]) == {"pretrained", "weighting"}
    assert (folder / "source" / source.name).read_text() == MARGIN
    weights = PrioritizedKLPPO.load(folder / "agent.zip").weighting
    assert type(weights.kl.signal).__name__ == "Margin"

    (aside := tmp_path / "aside").mkdir()
    source.rename(aside / source.name)
    monkeypatch.delitem(sys.modules, source.stem)
    command(inspect, 12, 3, "--model", folder, "--colour", "weight")  # the agent holds the code
    assert "weight: of the KL penalty" in capsys.readouterr().out
    with pytest.raises(ValueError, match="weighting must name a Python file that exists"):
        command(ppo, "--resume", folder, "--total-timesteps", 600)
    source.write_text(MARGIN.replace("Power(20)", "Power(10)"))
    with pytest.raises(ValueError, match=r"weighting must be what the run in .* started from, but it has changed since"):
        command(ppo, "--resume", folder, "--total-timesteps", 600)
    source.write_text(MARGIN)
    command(ppo, "--resume", folder, "--total-timesteps", 600)
    assert json.loads((folder / "results.json").read_text())["timesteps"] >= 600


def test_a_file_without_a_name_is_asked_for_one(weighting, command) -> None:
    path = weighting.rpartition(":")[0]
    with pytest.raises(ValueError, match=rf"weighting must have the form .*: write {path}:NAME"):
        command(ppo, "--weighting", path)


def test_runs_with_another_code_are_other_runs(weighting, tmp_path) -> None:
    args, path = PPOArgs(weighting=weighting), Path(weighting.rpartition(":")[0])
    first = identity(args)
    assert first != identity(replace(args, weighting="prioritized"))
    assert Store(tmp_path).folder(args).name.startswith("margin-kl0.2-seed0-")
    path.write_text(f"{MARGIN}\n")
    assert identity(args) != first


@pytest.fixture
def reverse(tmp_path) -> list[object]:
    """Flags for the task of the tutorial, under an id of this test's own, and a random model of its size."""
    path, name = tmp_path / f"reverse_{tmp_path.name}.py", re.sub(r"\W", "", tmp_path.name)
    path.write_text(f'{REVERSE}\n\ngym.register("{name}-v0", entry_point=ReverseEnv)\n')
    save_gpt2(build_gpt2(gpt2_config(7, 10, n_layer=1, n_head=1, n_embd=8, pad_token_id=0)), tmp_path / "model")
    return ["--env", f"{path}:{name}-v0", "--pretrained", tmp_path / "model"]


def test_an_environment_of_ones_own(reverse, tmp_path, command, capsys) -> None:
    whole, extended = tmp_path / "whole", tmp_path / "extended"
    command(ppo, *reverse, *SHORT, "--total-timesteps", 200, "--run-folder", whole)
    command(ppo, *reverse, *SHORT, "--run-folder", extended)
    command(ppo, "--resume", extended, "--total-timesteps", 200)
    agents = [PrioritizedKLPPO.load(folder / "agent.zip") for folder in (whole, extended)]
    assert agents[0].num_timesteps == agents[1].num_timesteps
    assert same_weights(*({name: value.numpy() for name, value in agent.policy.state_dict().items()} for agent in agents))
    after = json.loads((whole / "results.json").read_text())["after"]["success"]
    assert after["total"] == 3
    assert np.isclose(after["accuracy"], after["solved"] / 3)
    assert "episodes, greedy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--extra-digits", 2], "extra_digits must not stand beside env = .*, since only addition has it: leave it out"),
        (["--reward", "signed"], "reward must not stand beside env"),
    ],
)
def test_what_only_addition_has_is_refused_elsewhere(flags, message, reverse, command) -> None:
    with pytest.raises(ValueError, match=message):
        command(ppo, *reverse, *flags)


@pytest.mark.parametrize("arguments", [(evaluate,), (inspect, 3, 4), (criticality,)])
def test_commands_that_are_only_for_addition_say_so(arguments, tmp_path, command) -> None:
    """Before they ask for an N that another task does not have."""
    module, *operands = arguments
    save_gpt2(
        build_gpt2(gpt2_config(VOCAB_SIZE, MAX_TOKENS, n_layer=1, n_head=1, n_embd=8, pad_token_id=PAD)), tmp_path / "model"
    )
    policy = {"pretrained": tmp_path / "model", "pad_token_id": PAD}
    PrioritizedKLPPO("GPT2Policy", RepeatEnv(), n_episodes=1, batch_size=1, policy_kwargs=policy).save(tmp_path / "agent.zip")
    for model in ("model", "agent.zip"):
        with pytest.raises(ValueError, match=r"model must be of addition, .* has 5: this command is only for addition"):
            command(module, *operands, "--model", tmp_path / model)


def test_an_environment_must_be_registered(reverse, command) -> None:
    flag, env, *rest = reverse
    with pytest.raises(ValueError, match=r"env must name an environment that .* registers with Gymnasium, but it does not"):
        command(ppo, flag, f"{env}x", *rest)
