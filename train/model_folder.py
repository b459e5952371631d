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


def pretrained_digits(pretrained: str | Path) -> int:
    """N of ``"tiny"`` or of a folder that ``train.pretrain`` wrote.

    :raises ValueError: if the folder does not say
    """
    path = model_folder(pretrained) / PRETRAINING
    if not path.is_file():
        raise ValueError(
            f"pretrained must be 'tiny' or hold a {PRETRAINING}, but {str(pretrained)!r} does not: pass --pretrained-digits"
        )
    return int(json.loads(path.read_text())["digits"])


def model_folder(pretrained: str | Path) -> Path:
    """The folder that a ``pretrained`` argument means."""
    return TINY if str(pretrained) == "tiny" else Path(pretrained)


def longest_digits(n_positions: int) -> int:
    """The longest operands, in digits, whose problems a model with so many positions can solve."""
    digits = 1
    while longest_text(digits + 1) + MAX_TOKENS_MARGIN <= n_positions:
        digits += 1
    return digits


def load_policy(model: str | Path, device: str = "cpu") -> GPT2Policy:
    """A policy from ``"tiny"``, a folder in Hugging Face format, or a saved agent (``.zip``, an SB3 pickle: trust its source).

    :raises ValueError: if there is no such model
    """
    if str(model).endswith(".zip"):
        if not Path(model).is_file():
            raise ValueError(f"model must be an existing file, but {str(model)!r} is not: check the path")
        return PrioritizedKLPPO.load(model, device=device).policy
    folder = model_folder(model)
    shortest = token_space(longest_text(1) + MAX_TOKENS_MARGIN)  # any length does: evaluation brings its own
    policy = GPT2Policy(shortest, spaces.Discrete(VOCAB_SIZE), lambda _: 0.0, pretrained=folder, pad_token_id=PAD_TOKEN_ID)
    return policy.to(torch.device(device))
