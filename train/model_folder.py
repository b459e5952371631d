"""What a pre-trained folder or a saved agent says about itself, and how to load either as a policy."""

import json
from pathlib import Path

import torch
from gymnasium import spaces

from addition_gym import PAD_TOKEN_ID, VOCAB_SIZE
from addition_gym.env import MAX_TOKENS_MARGIN, token_space
from addition_gym.scratchpad import longest_text
from agents import PrioritizedKLPPO
from policies import GPT2Policy
from policies.gpt2 import TINY

PRETRAINING = "pretraining.json"
"""Beside a model's weights: how they were made. ``digits`` is N."""

AGENT = "agent.zip"
"""The agent at the end of a fine-tuning run, in its run folder; ``config.json`` beside it says N as ``pretrained_digits``."""


def resolve_model(model: str | Path) -> Path:
    """The folder or file that a ``--model`` or ``--pretrained`` argument means.

    :param model: ``"tiny"``, a folder in Hugging Face format, a run folder, or a saved agent (``.zip``)
    :raises ValueError: if there is no such thing
    """
    path = TINY if str(model) == "tiny" else Path(model)
    if (path / AGENT).is_file():
        path = path / AGENT
    if (path.suffix == ".zip" and path.is_file()) or (path / "config.json").is_file():
        return path
    raise ValueError(
        "model must be 'tiny', a folder in Hugging Face format, a run folder with an agent, or a saved agent (.zip), "
        f"but {str(model)!r} is none of these: check the path"
    )


def pretrained_digits(model: str | Path) -> int:
    """N of a model: how long the operands of its pre-training were.

    :param model: as for :func:`resolve_model`
    :raises ValueError: if it does not exist, or nothing beside it says N
    """
    path = resolve_model(model)
    if path.suffix == ".zip":
        sources = [(folder / "config.json", "pretrained_digits") for folder in path.absolute().parents[:2]]
    else:
        sources = [(path / PRETRAINING, "digits")]
    for source, key in sources:
        if source.is_file() and (digits := json.loads(source.read_text()).get(key)):
            return int(digits)
    raise ValueError(f"pretrained_digits is not written beside {str(model)!r}: pass --pretrained-digits N")


def longest_digits(n_positions: int) -> int:
    """The longest operands, in digits, whose problems a model with so many positions can solve; 0 if it can solve none."""
    digits = 0
    while longest_text(digits + 1) + MAX_TOKENS_MARGIN <= n_positions:
        digits += 1
    return digits


def load_policy(model: str | Path, device: str = "cpu") -> GPT2Policy:
    """A policy from a model or an agent; an agent's ``.zip`` is an SB3 pickle, so trust its source.

    :param model: as for :func:`resolve_model`
    :param device: where to put it
    :raises ValueError: if there is no such model
    """
    path = resolve_model(model)
    if path.suffix == ".zip":
        return PrioritizedKLPPO.load(path, device=device).policy
    shortest = token_space(longest_text(1) + MAX_TOKENS_MARGIN)  # any length does: evaluation brings its own
    policy = GPT2Policy(shortest, spaces.Discrete(VOCAB_SIZE), lambda _: 0.0, pretrained=path, pad_token_id=PAD_TOKEN_ID)
    return policy.to(torch.device(device))
