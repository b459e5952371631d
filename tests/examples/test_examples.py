"""Every example runs with the short command that its own docstring gives, and does what it says."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import tyro
from gymnasium import make
from gymnasium.wrappers import NormalizeObservation
from transformers import GPT2LMHeadModel

import addition_gym
from agents import PrioritizedKLPPO
from policies import GPT2Policy
from policies.model_files import TINY
from train.exporting.export import export_model
from train.run.models import Model

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))


def commands(path: Path) -> list[list[str]]:
    """The commands of an example's docstring, comments left out."""
    docstring = path.read_text(encoding="utf-8").split('"""')[1].replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in re.findall(r"^ {4}(python .*)", docstring, re.MULTILINE)]


def run(name: str, *arguments: object) -> Any:
    """What ``main`` returns for the last command of the docstring, with more arguments behind it."""
    path = ROOT / "examples" / f"{name}.py"
    python, script, *short = commands(path)[-1]
    assert (python, script) == ("python", f"examples/{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return tyro.cli(module.main, args=[*short, *map(str, arguments)])


def test_gymnasium_wrappers() -> None:
    result = run("gymnasium_wrappers", "--operands", 12, 9)
    solution = addition_gym.solution(12, 9)
    assert result["episode"]["r"] == 1
    assert result["episode"]["l"] == len(solution)
    assert result["truncated"]
    assert result["truncated_episode"]["r"] == 0
    assert result["truncated_episode"]["l"] == len(solution) // 2
    assert result["drift"] > 0.1
    assert addition_gym.decode(result["one_hot"].argmax(axis=1)) == addition_gym.prompt(12, 9)
    assert (result["one_hot"].sum(axis=1) == 1).all()


def test_normalized_observations_are_refused() -> None:
    env = NormalizeObservation(make("ScratchpadAdd-v0"))
    with pytest.raises(TypeError, match="observation_space must be a Box of integers"):
        GPT2Policy(env.observation_space, env.action_space, lambda _: 0.0)


def test_gymnasium_vectorizers() -> None:
    played = run("gymnasium_vectorizers", "--num-envs", 2, "--steps", 100)
    observations, rewards, episodes = played["native"]
    assert observations.shape[:2] == rewards.shape == (100, 2)
    assert episodes == -rewards.sum() > 0
    for name in ("sync", "async"):
        np.testing.assert_array_equal(played[name][0], observations)
        np.testing.assert_array_equal(played[name][1], rewards)
        assert played[name][2] == episodes


@pytest.mark.parametrize("algorithm", ["PPO", "A2C", "DQN", "MaskablePPO", "RecurrentPPO"])
def test_sb3_algorithms_learn_to_put_off_the_end(algorithm: str) -> None:
    """Uniformly random tokens end an episode after fewer than 41 on average; the budget leaves 116 at most."""
    lengths = run("sb3_algorithms", "--algorithm", algorithm, "--timesteps", 1536)
    assert lengths["last"] > 1.5 * lengths["first"]
    assert lengths["last"] > 60


@pytest.mark.parametrize("algorithm", ["PPO", "A2C"])
def test_sb3_gpt2_policy(algorithm: str) -> None:
    model, before, after = run("sb3_gpt2_policy", "--algorithm", algorithm)
    assert before == 1  # it was pre-trained on these
    assert after >= 0.5
    pretrained = GPT2LMHeadModel.from_pretrained(TINY).lm_head.weight
    assert torch.equal(model.policy.reference.lm_head.weight, pretrained)
    assert not torch.equal(model.policy.language_model.lm_head.weight, pretrained)


def test_sb3_callbacks_stop_a_good_agent(tmp_path: Path) -> None:
    agent = run("sb3_callbacks", "--every", 60, "--folder", tmp_path)
    assert agent.num_timesteps == 4 * 60
    assert PrioritizedKLPPO.load(tmp_path / "agent_240_steps").num_timesteps == 240
    assert (np.load(tmp_path / "evaluations.npz")["results"].mean(axis=1) > 0.9).tolist() == [True]


def test_sb3_callbacks_continue_below_the_threshold(tmp_path: Path) -> None:
    run("sb3_callbacks", "--every", 60, "--threshold", 1.1, "--total-timesteps", 400, "--folder", tmp_path)
    assert np.load(tmp_path / "evaluations.npz")["timesteps"].tolist()[:2] == [240, 480]


def test_cleanrl_style() -> None:
    """Rollouts equal the reference's at first; a large step departs from it."""
    first, second = run("cleanrl_style", "--learning-rate", 1e-2, "--digits", 6)
    assert first["kl"] == pytest.approx(0, abs=1e-3)
    assert second["kl"] > 0.1


def test_transformers_generate(tmp_path: Path) -> None:
    export_model("tiny", tmp_path)
    info = run("transformers_generate", "--folder", tmp_path, "--operands", 345, 67)
    assert info["is_success"]
    assert info["text"] == addition_gym.prompt(345, 67) + addition_gym.solution(345, 67)


@pytest.mark.slow
@torch.no_grad()
def test_trl_grpo(tmp_path: Path) -> None:
    """It learns from what the environment would reward, and scores texts as our own policy does, whatever their padding."""
    pytest.importorskip("trl", reason="the extra trl is not installed")
    export_model("tiny", tmp_path / "tiny")
    with torch.enable_grad():
        trainer, before, after = run("trl_grpo", "--folder", tmp_path / "tiny", "--output", tmp_path / "grpo", "--digits", 6)
    assert (before, after) == pytest.approx((0.5, 0.5), abs=0.5)
    trained = GPT2LMHeadModel.from_pretrained(tmp_path / "grpo").lm_head.weight
    assert not torch.equal(trained, GPT2LMHeadModel.from_pretrained(TINY).lm_head.weight)

    problems = [(3, 4), (123_456, 7)]
    written = trainer.rollout_func([addition_gym.prompt(*problem) for problem in problems], trainer)
    texts = []
    for problem, prompt_ids, completion_ids in zip(problems, written["prompt_ids"], written["completion_ids"], strict=True):
        assert addition_gym.decode(prompt_ids) == addition_gym.prompt(*problem)
        env = make("ScratchpadAdd-v0", digits=6)
        env.reset(options={"operands": problem})
        ended = [env.step(token)[2] for token in completion_ids]
        assert ended == [False] * (len(ended) - 1) + [True]
        texts.append([*prompt_ids, *completion_ids])

    length = max(map(len, texts))
    left = torch.tensor([[0] * (length - len(text)) + text for text in texts])
    keep = min(map(len, texts)) - 30
    found, *_ = trainer._get_per_token_logps_and_entropies(trainer.model, left, left.ne(0).long(), keep)
    policy = Model.find(tmp_path / "grpo").load()
    for row, text in zip(found, texts, strict=True):
        logits, *_ = policy.evaluate_sequences(torch.tensor([text]), torch.ones(1, len(text), dtype=torch.bool))
        expected = logits.log_softmax(-1)[:-1].gather(1, torch.tensor(text)[1:, None])[:, 0]
        torch.testing.assert_close(row, expected[-keep:], rtol=1e-3, atol=1e-4)


def zoo(command: list[str], folder: Path, *arguments: object) -> Path:
    """Run a command of the zoo's docstring from the root of the repository. :return: the folder of the run"""
    pytest.importorskip("rl_zoo3", reason="the extra zoo is not installed")
    algorithm = command[command.index("--algo") + 1]
    more = ["-f", folder, "--seed", 0, "--device", "cpu", *arguments]
    subprocess.run(
        [sys.executable, *command[1:], *map(str, more)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    return folder / algorithm / "ScratchpadAdd-v0_1"


def test_rl_zoo_with_stock_ppo(tmp_path: Path) -> None:
    command = commands(ROOT / "examples" / "rl_zoo" / "train.py")[0]
    folder = zoo(command, tmp_path, "-n", 1536, "--eval-freq", 768, "--eval-episodes", 2)
    lengths = [np.loadtxt(monitor, delimiter=",", skiprows=2, ndmin=2)[:, 1] for monitor in folder.glob("*.monitor.csv")]
    assert len(lengths) == 4
    assert np.mean([lane[-2:] for lane in lengths]) > 1.5 * np.mean([lane[:2] for lane in lengths])
    assert np.load(folder / "evaluations.npz")["results"].shape == (2, 2)


def test_rl_zoo_with_our_agent(tmp_path: Path) -> None:
    command = commands(ROOT / "examples" / "rl_zoo" / "train.py")[1]
    one_digit = ["digits:1", "distribution:'identical'"]
    easy = ["--env-kwargs", *one_digit, "--eval-env-kwargs", *one_digit]
    small = ["-params", "n_envs:2", "n_episodes:2", "batch_size:2"]
    folder = zoo(command, tmp_path, "-n", 100, "--eval-freq", 150, "--eval-episodes", 2, *easy, *small)
    assert (np.load(folder / "evaluations.npz")["results"] == 1).all()
    agent = PrioritizedKLPPO.load(folder / "ScratchpadAdd-v0.zip")
    assert (agent.n_episodes, agent.kl_coef) == (2, 2.0)
    assert torch.equal(agent.policy.reference.lm_head.weight, GPT2LMHeadModel.from_pretrained(TINY).lm_head.weight)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_short_and_in_the_docs(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 90
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    documented = [shlex.split(command) for command in re.findall(r"`(python .*?)`", page)]
    assert any(command in documented for command in commands(path))
