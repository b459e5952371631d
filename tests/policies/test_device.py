import pytest
import torch

from agents import PrioritizedKLPPO
from policies.device import resolve_device
from tests.token_env import RepeatEnv

MISSING = f"cuda:{torch.cuda.device_count()}"


def test_devices() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device(torch.device("cpu")) == "cpu"
    for device in ("foo", "", MISSING):
        with pytest.raises(ValueError, match=f"device must be one that torch can use here, but it is '{device}'"):
            resolve_device(device)


def test_an_unknown_device_is_not_answered_with_all_back_ends() -> None:
    with pytest.raises(ValueError, match="device must be") as refused:
        resolve_device("gpu")
    assert "cuda" in str(refused.value)
    assert "privateuseone" not in str(refused.value)


def test_an_agent_does_not_silently_take_the_cpu() -> None:
    with pytest.raises(ValueError, match=f"device must be one that torch can use here, but it is '{MISSING}'"):
        PrioritizedKLPPO("GPT2Policy", RepeatEnv(), n_episodes=1, batch_size=1, device=MISSING)
