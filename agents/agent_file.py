"""The policy of a saved agent, without the agent, and without running any code in its file.

SB3 saves an agent as a zip file. ``PrioritizedKLPPO.load`` unpickles some of its content, which can run any code. A policy
consists of JSON and tensors alone, in two of the members:

- ``data``, JSON with pickles in it: ``policy_kwargs`` are the arguments of ``GPT2Policy`` that the user passed, and ``config``,
  which ``PrioritizedKLPPO._setup_model`` (agents/ppo.py) adds;
- ``policy.pth``, a torch file: the ``state_dict`` of ``GPT2Policy`` (policies/policy.py), which are the weights of
  ``language_model``, ``reference`` and ``value_net``.

Those two files define the layout; this is its only other reader.
"""

import io
import json
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from torch import Tensor
from transformers import GPT2Config

from policies import GPT2Policy
from policies.model_files import check_blocks, checked_config, weight_shapes
from policies.safe_files import check_weights, read_torch

_ARGUMENTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "value_net_arch": (
        "widths as value_net_arch",
        lambda value: isinstance(value, list) and all(type(width) is int and width > 0 for width in value),
    ),
    "detach_value": ("a sound detach_value", lambda value: isinstance(value, bool)),
    "temperature": ("a sound temperature", lambda value: isinstance(value, int | float)),
    "autocast": ("a sound autocast", lambda value: isinstance(value, bool)),
    "pad_token_id": ("a sound pad_token_id", lambda value: isinstance(value, int)),
}
"""Arguments that are taken from ``policy_kwargs`` besides ``config``: what they must be, and whether they are."""


def load_agent_policy(
    path: Path, observation_space: spaces.Box | None = None, action_space: spaces.Discrete | None = None
) -> GPT2Policy:
    """The policy of an agent that may come from a stranger.

    :param path: what ``PrioritizedKLPPO.save`` wrote
    :param observation_space: of the environment that it is for, ``Box(0, V - 1, (T,))``; by default as long as the model's
        position table
    :param action_space: likewise, ``Discrete(V)``; by default the model's tokens
    :return: the policy on the CPU, in eval mode
    :raises ValueError: if the file is damaged, or the policy's sizes are not those of its weights
    """
    entries, arguments, weights_file = _read(path)
    config = checked_config(entries, str(path))
    if action_space and config.vocab_size != action_space.n:
        raise ValueError(
            f"model must have {action_space.n} tokens, but {str(path)!r} has {config.vocab_size}: choose another agent"
        )
    for name, value in arguments.items():
        wanted, is_sound = _ARGUMENTS[name]
        if not is_sound(value):
            raise ValueError(f"model must have {wanted}, but in {str(path)!r} it is {value!r}: choose another agent")
    weights = read_torch(weights_file, "model")
    _check_sizes(config, arguments.get("value_net_arch", []), weights)
    action_space = action_space or spaces.Discrete(config.vocab_size)
    observation_space = observation_space or spaces.Box(0, config.vocab_size - 1, (config.n_positions,), np.int64)
    policy = GPT2Policy(observation_space, action_space, lambda _: 0.0, config=config.to_dict(), **arguments)
    policy.load_state_dict(weights)
    policy.set_training_mode(False)
    return policy


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any], io.BytesIO]:
    """Entries of the configuration, the other arguments of the policy, and the file of its weights, all of them unchecked."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
                raise ValueError("it is compressed, which SB3 does not do")
            given = dict(json.loads(archive.read("data"))["policy_kwargs"])
            weights_file = io.BytesIO(archive.read("policy.pth"))
        return dict(given["config"]), {name: given[name] for name in _ARGUMENTS if name in given}, weights_file
    except Exception as error:  # zipfile and json raise anything on a damaged file
        raise ValueError(
            f"model must be an agent that PrioritizedKLPPO.save wrote, but {str(path)!r} is not, or it is damaged: take "
            f"another checkpoint ({type(error).__name__}: {str(error)[:200]})"
        ) from error


def _check_sizes(config: GPT2Config, value_net_arch: list[int], weights: dict[str, Tensor]) -> None:
    """Refuse sizes that are not those of the weights, before memory for them is allocated."""
    shapes: dict[str, tuple[int, ...]] = {}
    for part in ("language_model.", "reference."):
        check_blocks(config, weights, "model", prefix=part)
        shapes |= {part + name: shape for name, shape in weight_shapes(config).items()}
        shapes |= {f"{part}lm_head.weight": (config.vocab_size, config.n_embd)}
    widths = [config.n_embd, *value_net_arch, 1]
    for layer, (inner, outer) in enumerate(pairwise(widths)):
        shapes |= {f"value_net.{2 * layer}.weight": (outer, inner), f"value_net.{2 * layer}.bias": (outer,)}
    check_weights(weights, shapes, "model")
