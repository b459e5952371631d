"""Models: what a pre-trained folder, a saved agent or a nanoGPT checkpoint says about itself, and how to load its policy."""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import torch
from gymnasium import spaces
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError

from addition_gym import PAD_TOKEN_ID, VOCAB_SIZE
from addition_gym.checks import check_digits
from addition_gym.episode import token_space
from addition_gym.tasks import TASKS, Task
from addition_gym.tasks.task import MAX_TOKENS_MARGIN
from agents.agent_file import load_agent_policy
from policies import GPT2Policy
from policies.device import resolve_device
from policies.model_files import BUNDLED
from policies.nanogpt import is_nanogpt
from policies.safe_files import read_json
from train.run.arguments import ADDITION
from train.run.checkpoints import AGENT
from train.run.named_task import named_task
from train.run.run import read_record

PRETRAINING = "pretraining.json"
"""Beside a model's weights: how they were made. ``digits`` is N."""

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_HUB_FILES = ["*.json", "*.safetensors", "*.bin", "*.pt"]


@dataclass(frozen=True)
class Model:
    """A model on this machine. Use :meth:`find`.

    :param name: what a person called it
    :param path: a folder in Hugging Face format, a saved agent (``.zip``), or a nanoGPT checkpoint
    """

    name: str
    path: Path

    @classmethod
    def find(cls, model: str | Path) -> Self:
        """What a ``--model`` or ``--pretrained`` argument means.

        :param model: the name of a bundled model, such as ``"tiny"``, a folder in Hugging Face format, a run folder, a saved
            agent (``.zip``), a nanoGPT checkpoint, or the id of a model on the Hugging Face hub (``owner/name``), which is
            downloaded into the hub's cache
        :raises ValueError: if there is no such thing
        """
        path = _local_path(model)
        if (path / AGENT).is_file():
            path = path / AGENT
        if not ((path.suffix == ".zip" and path.is_file()) or (path / "config.json").is_file() or is_nanogpt(path)):
            raise ValueError(
                "model must be 'tiny', a folder in Hugging Face format, a run folder with an agent, a saved agent (.zip), "
                f"another bundled model ({', '.join(BUNDLED)}), or a model on the Hugging Face hub (owner/name), but "
                f"{str(model)!r} is none of these: check the path"
            )
        return cls(str(model), path)

    @property
    def is_agent(self) -> bool:
        """Whether it is a saved agent."""
        return self.path.suffix == ".zip" and self.path.is_file()

    @property
    def is_nanogpt(self) -> bool:
        """Whether it is a nanoGPT checkpoint, which ``train.export`` converts."""
        return not self.is_agent and is_nanogpt(self.path)

    @property
    def pretrained_digits(self) -> int:
        """N: how long the operands of its pre-training were.

        :raises ValueError: if nothing beside it says N
        """
        if self.is_agent:
            records = [read_record(folder, "model") for folder in self.path.absolute().parents[:2]]
            said = [record["arguments"].get("pretrained_digits") for record in records if record]
        else:
            beside = self.path / PRETRAINING
            said = [read_json(beside, "model").get("digits")] if beside.is_file() else []
        for digits in said:
            if digits:
                check_digits(f"pretrained_digits beside {self.name!r}", digits)
                return int(digits)
        raise ValueError(f"pretrained_digits is not written beside {self.name!r}: pass --pretrained-digits N")

    def digits_or(self, given: int | None) -> int:
        """N: as a person gave it, or else :attr:`pretrained_digits`."""
        return self.pretrained_digits if given is None else given

    @property
    def folder(self) -> Path:
        """Its folder in Hugging Face format.

        :raises ValueError: if it is in another format
        """
        if self.is_agent or self.is_nanogpt:
            found = "a saved agent" if self.is_agent else "a nanoGPT checkpoint"
            raise ValueError(
                f"model must be in Hugging Face format, but {self.name!r} is {found}: convert it with "
                f"`addition-gym export --model {self.name} --output FOLDER`, and pass FOLDER"
            )
        return self.path

    def task_arguments(self, task_id: str) -> str:
        """With which arguments it was made for a task; none if it was made for another one."""
        made_for, arguments = self._made_for()
        return arguments if made_for == task_id else ""

    @property
    def task(self) -> Task | None:
        """The task that it was made for, at the size of fine-tuning; None for addition, or if nothing says which."""
        task_id, arguments = self._made_for()
        return named_task(task_id, arguments) if task_id in TASKS.keys() - {ADDITION} else None

    def _made_for(self) -> tuple[str, str]:
        if self.is_agent:
            records = [read_record(folder, "model") for folder in self.path.absolute().parents[:2]]
            said: dict[str, Any] = next((record["arguments"] for record in records if record), {})
        else:
            said = read_json(self.path / PRETRAINING, "model") if (self.path / PRETRAINING).is_file() else {}
        return str(said.get("env") or said.get("task")), str(said.get("task_arguments", ""))

    def check_addition(self) -> None:
        """Refuse a model of another task before anything is asked of it.

        :raises ValueError: if its vocabulary is not that of addition, it is damaged or a nanoGPT checkpoint
        """
        if self.is_agent:
            vocab_size = load_agent_policy(self.path).language_model.config.vocab_size
        else:
            vocab_size = read_json(self.folder / "config.json", "model").get("vocab_size")
        if vocab_size != VOCAB_SIZE:
            raise ValueError(
                f"model must be of addition, with its {VOCAB_SIZE} tokens, but {self.name!r} has {vocab_size}: this command is "
                "only for addition; a run of another task has its success in results.json"
            )

    def digest(self) -> str:
        """SHA-256 of its configuration and weights.

        :raises ValueError: if it is not in Hugging Face format, or has no weights
        """
        return _digest(self.folder)

    def load(self, device: str = "cpu", task: Task | None = None) -> GPT2Policy:
        """Its policy. It may come from a stranger: no code in it is run.

        :param device: where to put it
        :param task: by default :attr:`task`, or addition
        :raises ValueError: if there is no such device, or the model is damaged or a nanoGPT checkpoint
        """
        place = torch.device(resolve_device(device))
        # Any length does, since evaluation brings its own
        task = task or self.task
        vocab_size = VOCAB_SIZE if task is None else task.vocabulary.size
        observation_space = token_space(MAX_TOKENS_MARGIN, vocab_size)
        action_space = spaces.Discrete(vocab_size)
        if self.is_agent:
            policy = load_agent_policy(self.path, observation_space, action_space)
        else:
            policy = GPT2Policy(
                observation_space, action_space, lambda _: 0.0, pretrained=self.folder, pad_token_id=PAD_TOKEN_ID
            )
        return policy.to(place)


def _local_path(model: str | Path) -> Path:
    """Where a model lies on this machine; it need not exist, unless it was downloaded. What exists as a path is no id."""
    if str(model) in BUNDLED:
        return BUNDLED[str(model)]
    path = Path(model)
    try:
        exists = path.exists()
    except (OSError, ValueError) as error:
        raise ValueError(f"model must be a path, but it is {str(model)[:200]!r}: {error}") from error
    if exists or not _HUB_ID.fullmatch(str(model)) or path.suffix == ".zip":
        return path
    try:
        return Path(snapshot_download(str(model), allow_patterns=_HUB_FILES))
    except (OSError, HFValidationError) as error:  # OSError: no such model, no access, no network
        raise ValueError(
            f"model {str(model)!r} is not a path here, and could not be downloaded from the Hugging Face hub "
            f"({type(error).__name__}): check the path or id and the network, or download it elsewhere and pass the folder"
        ) from error


@cache
def _digest(folder: Path) -> str:
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ValueError(f"pretrained must hold weights (*.safetensors), but {str(folder)!r} does not: check the path")
    digest = hashlib.sha256()
    for path in (folder / "config.json", *weights):
        digest.update(path.read_bytes())
    return digest.hexdigest()
