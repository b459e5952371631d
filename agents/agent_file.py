"""The policy of a saved agent, without the agent, and without running any code in its file.

SB3 saves an agent as a zip file: its parameters as JSON, in which everything that JSON cannot say is a pickle, and the weights
as a torch file. ``PrioritizedKLPPO.load`` unpickles, which can run any code. What makes a policy is all JSON and tensors.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from gymnasium import spaces
from torch import Tensor
from transformers import GPT2Config

from policies import GPT2Policy
from policies.model_files import check_blocks, checked_config, weight_shapes
from policies.safe_files import check_weights, read_torch

_ARGUMENTS: dict[str, type | tuple[type, ...]] = {
    "detach_value": bool,
    "temperature": (int, float),
    "autocast": bool,
    "pad_token_id": int,
}
"""Of the policy, besides its sizes."""


def load_agent_policy(path: Path, observation_space: spaces.Box, action_space: spaces.Discrete) -> GPT2Policy:
    """The policy of an agent that may come from a stranger.

    :param path: what ``PrioritizedKLPPO.save`` wrote
    :param observation_space: of the environment that it is for, ``Box(0, V - 1, (T,))``
    :param action_space: likewise, ``Discrete(V)``
    :return: the policy on the CPU, in eval mode
    :raises ValueError: if the file is damaged, or the policy's sizes are not those of its weights
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
                raise ValueError("it is compressed, which SB3 does not do")
            content, weights_file = json.loads(archive.read("data")), io.BytesIO(archive.read("policy.pth"))
        arguments = dict(content["policy_kwargs"])
        entries = dict(arguments["config"])
    except Exception as error:  # zipfile and json raise anything on a damaged file
        raise ValueError(
            f"model must be an agent that PrioritizedKLPPO.save wrote, but {str(path)!r} is not, or it is damaged: take "
            f"another checkpoint ({type(error).__name__}: {str(error)[:200]})"
        ) from error
    config = checked_config(entries, str(path))
    if config.vocab_size != action_space.n:
        raise ValueError(
            f"model must have {action_space.n} tokens, but {str(path)!r} has {config.vocab_size}: choose another agent"
        )
    taken = {name: arguments[name] for name in _ARGUMENTS if name in arguments}
    for name, value in taken.items():
        if not isinstance(value, _ARGUMENTS[name]):
            raise ValueError(f"model must have a sound {name}, but in {str(path)!r} it is {value!r}: choose another agent")
    weights = read_torch(weights_file, "model")
    widths = _value_widths(arguments.get("value_net_arch", ()), path)
    _check(config, widths, weights)
    policy = GPT2Policy(observation_space, action_space, lambda _: 0.0, config=config.to_dict(), value_net_arch=widths, **taken)
    policy.load_state_dict(weights)
    policy.set_training_mode(False)
    return policy


def _value_widths(value: Any, path: Path) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not all(type(width) is int and width > 0 for width in value):
        raise ValueError(f"model must have widths as value_net_arch, but {str(path)!r} has {value!r}: choose another agent")
    return tuple(value)


def _check(config: GPT2Config, widths: tuple[int, ...], weights: dict[str, Tensor]) -> None:
    """Refuse sizes that are not those of the weights, before the memory for them is taken."""
    shapes: dict[str, tuple[int, ...]] = {}
    for part in ("language_model.", "reference."):
        check_blocks(config, weights, "model", prefix=part)
        shapes |= {part + name: shape for name, shape in weight_shapes(config).items()}
        shapes |= {f"{part}lm_head.weight": (config.vocab_size, config.n_embd)}
    ins, outs = (config.n_embd, *widths), (*widths, 1)
    for index, (inner, outer) in enumerate(zip(ins, outs, strict=True)):
        shapes |= {f"value_net.{2 * index}.weight": (outer, inner), f"value_net.{2 * index}.bias": (outer,)}
    check_weights(weights, shapes, "model")
