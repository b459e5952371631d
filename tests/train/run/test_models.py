import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from agents import PrioritizedKLPPO
from policies.model_files import TINY
from tests.train.helpers import hugging_face, same_weights, weights
from train.run import models
from train.run.models import Model


def test_pretrained_digits_are_those_of_the_folder(pretrained, tmp_path) -> None:
    assert Model.find(pretrained).pretrained_digits == Model.find(str(pretrained)).pretrained_digits == 1
    shutil.copy(pretrained / "config.json", tmp_path)
    (tmp_path / "pretraining.json").write_text(json.dumps({"digits": 7, "steps": 1}))
    assert Model.find(tmp_path).pretrained_digits == 7


def test_pretrained_digits_of_an_agent_are_those_of_its_run(ppo_run, pretrained) -> None:
    assert (
        Model.find(ppo_run).pretrained_digits
        == Model.find(ppo_run / "agent.zip").pretrained_digits
        == Model.find(pretrained).pretrained_digits
    )


def test_model_that_does_not_say(pretrained, ppo_run, tmp_path) -> None:
    shutil.copy(pretrained / "config.json", tmp_path)
    shutil.copy(ppo_run / "agent.zip", tmp_path / "other.zip")
    for model in (tmp_path, tmp_path / "other.zip"):
        with pytest.raises(ValueError, match=r"pretrained_digits is not written beside .*: pass --pretrained-digits"):
            _ = Model.find(model).pretrained_digits


def test_what_a_model_argument_means(pretrained, ppo_run) -> None:
    assert Model.find("tiny").path == TINY
    assert Model.find(str(pretrained)).path == pretrained
    assert Model.find(ppo_run).path == Model.find(ppo_run / "agent.zip").path == ppo_run / "agent.zip"


def test_policy_of_a_folder(pretrained) -> None:
    policy = Model.find(pretrained).load()
    expected = weights(hugging_face(pretrained))
    assert same_weights(weights(policy.language_model), expected)
    assert same_weights(weights(policy.reference), expected)
    assert not policy.language_model.training


def test_policy_of_an_agent(ppo_run, pretrained) -> None:
    """The trained weights and the reference it was trained against."""
    policy = Model.find(ppo_run / "agent.zip").load()
    agent = PrioritizedKLPPO.load(ppo_run / "agent.zip", device="cpu")
    assert same_weights(weights(policy), weights(agent.policy))
    assert same_weights(weights(policy.reference), weights(hugging_face(pretrained)))
    assert not same_weights(weights(policy.language_model), weights(policy.reference))


@pytest.mark.parametrize("model", ["nowhere.zip", "nowhere", "."])
def test_model_that_does_not_exist(model, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"model must be 'tiny', a folder in Hugging Face format, .*: check the path"):
        Model.find(tmp_path / model).load()


def test_hub_id_is_downloaded(pretrained, tmp_path, monkeypatch) -> None:
    asked = []

    def download(repo_id: str, allow_patterns: list[str]) -> str:
        asked.append((repo_id, allow_patterns))
        return str(pretrained)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "snapshot_download", download)
    assert Model.find("owner/some-model.v1").path == pretrained
    assert Model.find("owner/some-model.v1").pretrained_digits == 1
    assert {repo_id for repo_id, _ in asked} == {"owner/some-model.v1"}
    assert "*.safetensors" in asked[0][1]
    assert not any("pkl" in pattern for pattern in asked[0][1])


def test_what_is_no_hub_id_is_not_downloaded(pretrained, tmp_path, monkeypatch) -> None:
    """Folders that exist, absolute, relative and longer paths, agents, and single words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "snapshot_download", lambda *_, **__: pytest.fail("it was downloaded"))
    shutil.copytree(pretrained, tmp_path / "owner" / "name")
    assert Model.find("owner/name").path == Path("owner/name")
    for model in ("name", "./tiny", "../tiny", "runs/a/b", str(tmp_path / "name"), "owner/agent.zip"):
        with pytest.raises(ValueError, match="is none of these"):
            _ = Model.find(model).path


@pytest.mark.parametrize("error", [LocalEntryNotFoundError("offline"), OfflineModeIsEnabled("offline"), ConnectionError("no")])
def test_hub_that_cannot_be_reached(error, monkeypatch) -> None:
    def download(*_, **__) -> str:
        raise error

    monkeypatch.setattr(models, "snapshot_download", download)
    with pytest.raises(
        ValueError, match=r"'owner/name' is not a path here, and could not be downloaded .* check the path or id"
    ):
        _ = Model.find("owner/name").path


def test_impossible_hub_id() -> None:
    """huggingface_hub refuses two hyphens in a row before it asks the network."""
    with pytest.raises(ValueError, match=r"'owner/na--me' is not a path here, and could not be downloaded .*HFValidationError"):
        Model.find("owner/na--me")


def test_nanogpt_checkpoint_is_sent_to_export(tmp_path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"block_size": 64, "n_head": 2}))
    with pytest.raises(ValueError, match=r"is a nanoGPT checkpoint: convert it with `addition-gym export"):
        _ = Model.find(tmp_path).folder


def test_an_agent_is_no_model_to_start_from(ppo_run) -> None:
    with pytest.raises(ValueError, match=r"is a saved agent: convert it with `addition-gym export"):
        _ = Model.find(ppo_run).folder


def test_the_digest_is_of_weights_and_configuration_not_of_their_path(tmp_path) -> None:
    digest = Model.find("tiny").digest()
    copies = [Path(shutil.copytree(TINY, tmp_path / name)) for name in ("same", "weights", "heads")]
    weights_file = copies[1] / "model.safetensors"
    content = bytearray(weights_file.read_bytes())
    content[-1] ^= 1
    weights_file.write_bytes(content)
    config = json.loads((copies[2] / "config.json").read_text())
    (copies[2] / "config.json").write_text(json.dumps(config | {"n_head": 1}))
    same, *others = [Model.find(copy).digest() for copy in copies]
    assert same == digest
    assert len({digest, *others}) == 3


def test_model_without_weights(tmp_path) -> None:
    shutil.copy(TINY / "config.json", tmp_path)
    with pytest.raises(ValueError, match=rf"pretrained must hold weights \(\*.safetensors\), but '{tmp_path}' does not"):
        Model.find(tmp_path).digest()
