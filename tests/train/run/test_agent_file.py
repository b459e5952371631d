"""An agent's policy without its pickles."""

import base64
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from agents import PrioritizedKLPPO
from tests.policies.test_safe_files import Attack
from tests.train.helpers import same_weights, weights
from train.run.models import Model


def rewritten(source: Path, target: Path, change: Callable[[dict[str, Any]], None], **members: bytes) -> Path:
    """An agent with other parameters, and other members of the zip file."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = members.get(name.replace(".", "_"), old.read(name))
            if name == "data":
                data = json.loads(content)
                change(data)
                content = json.dumps(data).encode()
            new.writestr(name, content)
    return target


def test_it_is_the_policy_that_sb3_loads(ppo_run) -> None:
    path = ppo_run / "agent.zip"
    policy, agent = Model.find(path).load(), PrioritizedKLPPO.load(path, device="cpu")
    assert same_weights(weights(policy), weights(agent.policy))
    for name in ("temperature", "autocast", "pad_token_id", "detach_value", "value_net_arch"):
        assert getattr(policy, name) == getattr(agent.policy, name), name
    computed = ("n_head", "activation_function", "layer_norm_epsilon", "n_positions", "n_inner", "tie_word_embeddings")
    for name in computed:
        assert getattr(policy.language_model.config, name) == getattr(agent.policy.language_model.config, name), name
    assert not policy.training


def test_its_pickles_are_not_run(ppo_run, tmp_path) -> None:
    """The attack is shown to work on SB3's ``load``, which is documented to unpickle."""
    target = tmp_path / "attacked"
    attack = {":type:": "", ":serialized:": base64.b64encode(pickle.dumps(Attack(target))).decode()}
    evil = rewritten(ppo_run / "agent.zip", tmp_path / "evil.zip", lambda data: data.update(lr_schedule=attack))
    Model.find(evil).load()
    assert not target.exists()
    with pytest.raises(Exception):  # noqa: B017, PT011
        PrioritizedKLPPO.load(evil, device="cpu").learn(1)
    assert target.exists()


def test_its_weights_are_not_unpickled(ppo_run, tmp_path) -> None:
    evil = io.BytesIO()
    torch.save({"policy": Attack(tmp_path / "attacked")}, evil)
    path = rewritten(ppo_run / "agent.zip", tmp_path / "evil.zip", lambda _: None, policy_pth=evil.getvalue())
    with pytest.raises(ValueError, match="model must hold only tensors, numbers and texts"):
        Model.find(path).load()
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("policy_kwargs"), "model must be an agent that PrioritizedKLPPO.save wrote"),
        (lambda data: data["policy_kwargs"].update(config=3), "model must be an agent that PrioritizedKLPPO.save wrote"),
        (lambda data: data["policy_kwargs"]["config"].update(n_embd=10**9), r"wte.weight of \(41, 1000000000\), but"),
        (lambda data: data["policy_kwargs"]["config"].update(n_layer=10**9), "as many blocks as n_layer"),
        (lambda data: data["policy_kwargs"]["config"].update(vocab_size=7), "model must have 41 tokens"),
        (lambda data: data["policy_kwargs"].update(value_net_arch=[10**12]), r"value_net.0.weight of \(1000000000000, 32\)"),
        (lambda data: data["policy_kwargs"].update(value_net_arch=["a"]), "widths as value_net_arch"),
        (lambda data: data["policy_kwargs"].update(temperature="hot"), "sound temperature, but in .* it is 'hot'"),
        (lambda data: data["policy_kwargs"].update(temperature=-1.0), "temperature must be > 0"),
    ],
)
def test_parameters_that_lie(change, message, ppo_run, tmp_path) -> None:
    with pytest.raises(ValueError, match=message):
        Model.find(rewritten(ppo_run / "agent.zip", tmp_path / "other.zip", change)).load()


def test_damaged_files(ppo_run, tmp_path) -> None:
    sound = (ppo_run / "agent.zip").read_bytes()
    for content in (b"", b"PK", sound[: len(sound) // 2], sound[1000:]):
        (tmp_path / "damaged.zip").write_bytes(content)
        with pytest.raises(ValueError, match="model must be an agent that PrioritizedKLPPO"):
            Model.find(tmp_path / "damaged.zip").load()


def test_compressed_files(ppo_run, tmp_path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", bytes(2**20))
    with pytest.raises(ValueError, match="it is compressed"):
        Model.find(path).load()
