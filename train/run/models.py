"""What a pre-trained folder or a saved agent says about itself, and how to load either as a policy."""

import re
from pathlib import Path

import torch
from gymnasium import spaces
from huggingface_hub import snapshot_download

from addition_gym import PAD_TOKEN_ID, VOCAB_SIZE
from addition_gym.checks import check_digits
from addition_gym.episode import resolve_max_tokens, token_space
from agents.agent_file import load_agent_policy
from policies import GPT2Policy
from policies.model_files import TINY
from policies.nanogpt import is_nanogpt
from policies.safe_files import read_json
from train.device import check_device

PRETRAINING = "pretraining.json"
"""Beside a model's weights: how they were made. ``digits`` is N."""

AGENT = "agent.zip"
"""The agent at the end of a fine-tuning run, in its run folder; ``config.json`` beside it says N as ``pretrained_digits``."""


_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")

_HUB_FILES = ["*.json", "*.safetensors", "*.bin", "*.pt"]


def local_path(model: str | Path) -> Path:
    """Where a ``--model`` or ``--pretrained`` argument lies on this machine, whatever it holds.

    :param model: ``"tiny"``, a path, or the id of a model on the Hugging Face hub (``owner/name``), which is downloaded into
        the hub's cache. What exists as a path is no id
    :return: the path; it need not exist, unless it is that of a download
    :raises ValueError: if an id cannot be downloaded and is not in the cache
    """
    if str(model) == "tiny":
        return TINY
    path = Path(model)
    try:
        exists = path.exists()
    except (OSError, ValueError) as error:
        raise ValueError(f"model must be a path, but it is {str(model)[:200]!r}: {error}") from error
    if exists or not _HUB_ID.fullmatch(str(model)) or path.suffix == ".zip":
        return path
    try:
        return Path(snapshot_download(str(model), allow_patterns=_HUB_FILES))
    except OSError as error:  # so are those of huggingface_hub: no such model, no access, no network
        raise ValueError(
            f"model {str(model)!r} is not a path here, and could not be downloaded from the Hugging Face hub "
            f"({type(error).__name__}): check the path or id and the network, or download it elsewhere and pass the folder"
        ) from error


def resolve_model(model: str | Path) -> Path:
    """The folder or file that a ``--model`` or ``--pretrained`` argument means.

    :param model: ``"tiny"``, a folder in Hugging Face format, a run folder, a saved agent (``.zip``), or a model on the hub
        (``owner/name``)
    :raises ValueError: if there is no such thing
    """
    path = local_path(model)
    if (path / AGENT).is_file():
        path = path / AGENT
    if is_nanogpt(path):
        raise ValueError(
            f"model must be in Hugging Face format, but {str(model)!r} is a nanoGPT checkpoint: convert it with "
            f"`python -m train.export --model {model} --output FOLDER`, and pass FOLDER"
        )
    if (path.suffix == ".zip" and path.is_file()) or (path / "config.json").is_file():
        return path
    raise ValueError(
        "model must be 'tiny', a folder in Hugging Face format, a run folder with an agent, a saved agent (.zip), or a model "
        f"on the Hugging Face hub (owner/name), but {str(model)!r} is none of these: check the path"
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
        if source.is_file() and (digits := read_json(source, "model").get(key)):
            check_digits(f"{key} in {str(source)!r}", digits)
            return int(digits)
    raise ValueError(f"pretrained_digits is not written beside {str(model)!r}: pass --pretrained-digits N")


def longest_digits(n_positions: int) -> int:
    """The longest operands, in digits, whose problems a model with so many positions can solve; 0 if it can solve none."""
    digits = 0
    while resolve_max_tokens(None, digits + 1) <= n_positions:
        digits += 1
    return digits


def load_policy(model: str | Path, device: str = "cpu") -> GPT2Policy:
    """A policy from a model or an agent, which may come from a stranger: no code in them is run.

    :param model: as for :func:`resolve_model`
    :param device: where to put it
    :raises ValueError: if there is no such model or device, or the model is damaged
    """
    check_device(device)
    path = resolve_model(model)
    if path.suffix == ".zip":
        return load_agent_policy(path, *spaces_of_any_length()).to(torch.device(device))
    policy = GPT2Policy(*spaces_of_any_length(), lambda _: 0.0, pretrained=path, pad_token_id=PAD_TOKEN_ID)
    return policy.to(torch.device(device))


def spaces_of_any_length() -> tuple[spaces.Box, spaces.Discrete]:
    """Observations and actions of a policy that is only evaluated: any length does, since evaluation brings its own."""
    return token_space(resolve_max_tokens(None, 1)), spaces.Discrete(VOCAB_SIZE)
