import json
from pathlib import Path

import pytest

from addition_gym import ScratchpadAddEnv
from agents import PrioritizedKLPPO
from policies.gpt2 import TINY
from tests.train.helpers import hugging_face, same_weights, weights
from train.model_folder import load_policy, longest_digits, model_folder, pretrained_digits


def test_pretrained_digits_are_those_of_the_folder(pretrained, tmp_path) -> None:
    assert pretrained_digits(pretrained) == pretrained_digits(str(pretrained)) == 1
    (tmp_path / "pretraining.json").write_text(json.dumps({"digits": 7, "steps": 1}))
    assert pretrained_digits(tmp_path) == 7


def test_folder_that_does_not_say(tmp_path) -> None:
    with pytest.raises(ValueError, match=rf"pretraining.json, but '{tmp_path}' does not: pass --pretrained-digits"):
        pretrained_digits(tmp_path)


def test_tiny_means_the_bundled_model(tmp_path) -> None:
    assert model_folder("tiny") == TINY
    assert model_folder("other/tiny") == Path("other/tiny")
    assert model_folder(tmp_path) == tmp_path


def test_longest_digits_by_trying_environments() -> None:
    """Every number of positions from just enough for one digit to just enough for six."""
    needed = {digits: ScratchpadAddEnv(digits=digits, distribution="identical").max_tokens for digits in range(1, 8)}
    assert needed[1] < needed[6]
    for n_positions in range(needed[1], needed[6] + 1):
        fitting = [digits for digits, tokens in needed.items() if tokens <= n_positions]
        assert longest_digits(n_positions) == max(fitting)


def test_policy_of_a_folder(pretrained) -> None:
    policy = load_policy(pretrained)
    expected = weights(hugging_face(pretrained))
    assert same_weights(weights(policy.language_model), expected)
    assert same_weights(weights(policy.reference), expected)
    assert not policy.language_model.training


def test_policy_of_an_agent(ppo_run, pretrained) -> None:
    """The trained weights and the reference it was trained against."""
    policy = load_policy(ppo_run / "agent.zip")
    agent = PrioritizedKLPPO.load(ppo_run / "agent.zip", device="cpu")
    assert same_weights(weights(policy), weights(agent.policy))
    assert same_weights(weights(policy.reference), weights(hugging_face(pretrained)))
    assert not same_weights(weights(policy.language_model), weights(policy.reference))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nowhere.zip", "model must be an existing file, but '.*nowhere.zip' is not: check the path"),
        ("nowhere", "pretrained must be 'tiny' or a folder with a config.json"),
    ],
)
def test_model_that_does_not_exist(model, message, tmp_path) -> None:
    with pytest.raises(ValueError, match=message):
        load_policy(tmp_path / model)
