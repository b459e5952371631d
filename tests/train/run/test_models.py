import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from addition_gym import ScratchpadAddEnv
from agents import PrioritizedKLPPO
from policies.model_files import TINY
from tests.train.helpers import hugging_face, same_weights, weights
from train import model_folder
from train.run.models import load_policy, longest_digits, pretrained_digits, resolve_model


def test_pretrained_digits_are_those_of_the_folder(pretrained, tmp_path) -> None:
    assert pretrained_digits(pretrained) == pretrained_digits(str(pretrained)) == 1
    shutil.copy(pretrained / "config.json", tmp_path)
    (tmp_path / "pretraining.json").write_text(json.dumps({"digits": 7, "steps": 1}))
    assert pretrained_digits(tmp_path) == 7


def test_pretrained_digits_of_an_agent_are_those_of_its_run(ppo_run, pretrained) -> None:
    assert pretrained_digits(ppo_run) == pretrained_digits(ppo_run / "agent.zip") == pretrained_digits(pretrained)


def test_model_that_does_not_say(pretrained, ppo_run, tmp_path) -> None:
    shutil.copy(pretrained / "config.json", tmp_path)
    shutil.copy(ppo_run / "agent.zip", tmp_path / "other.zip")
    for model in (tmp_path, tmp_path / "other.zip"):
        with pytest.raises(ValueError, match=r"pretrained_digits is not written beside .*: pass --pretrained-digits"):
            pretrained_digits(model)


def test_what_a_model_argument_means(pretrained, ppo_run) -> None:
    assert resolve_model("tiny") == TINY
    assert resolve_model(str(pretrained)) == pretrained
    assert resolve_model(ppo_run) == resolve_model(ppo_run / "agent.zip") == ppo_run / "agent.zip"


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


@pytest.mark.parametrize("model", ["nowhere.zip", "nowhere", "."])
def test_model_that_does_not_exist(model, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"model must be 'tiny', a folder in Hugging Face format, .*: check the path"):
        load_policy(tmp_path / model)


def test_hub_id_is_downloaded(pretrained, tmp_path, monkeypatch) -> None:
    asked = []

    def download(repo_id: str, allow_patterns: list[str]) -> str:
        asked.append((repo_id, allow_patterns))
        return str(pretrained)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_folder, "snapshot_download", download)
    assert resolve_model("owner/some-model.v1") == pretrained
    assert pretrained_digits("owner/some-model.v1") == 1
    assert {repo_id for repo_id, _ in asked} == {"owner/some-model.v1"}
    assert "*.safetensors" in asked[0][1]
    assert not any("pkl" in pattern for pattern in asked[0][1])


def test_what_is_no_hub_id_is_not_downloaded(pretrained, tmp_path, monkeypatch) -> None:
    """Folders that exist, absolute and longer paths, agents, and single words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_folder, "snapshot_download", lambda *_, **__: pytest.fail("it was downloaded"))
    shutil.copytree(pretrained, tmp_path / "owner" / "name")
    assert resolve_model("owner/name") == Path("owner/name")
    for model in ("name", "runs/a/b", str(tmp_path / "name"), "owner/agent.zip"):
        with pytest.raises(ValueError, match="is none of these"):
            resolve_model(model)


@pytest.mark.parametrize("error", [LocalEntryNotFoundError("offline"), OfflineModeIsEnabled("offline"), ConnectionError("no")])
def test_hub_that_cannot_be_reached(error, monkeypatch) -> None:
    def download(*_, **__) -> str:
        raise error

    monkeypatch.setattr(model_folder, "snapshot_download", download)
    with pytest.raises(
        ValueError, match=r"'owner/name' is not a path here, and could not be downloaded .* check the path or id"
    ):
        resolve_model("owner/name")


def test_nanogpt_checkpoint_is_sent_to_export(tmp_path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"block_size": 64, "n_head": 2}))
    with pytest.raises(ValueError, match=r"is a nanoGPT checkpoint: convert it with `python -m train.export"):
        resolve_model(tmp_path)
