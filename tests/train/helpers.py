"""Slow and obvious counterparts of what train/ does, on plain Hugging Face models and plain text."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from gymnasium import spaces
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from transformers import GPT2LMHeadModel

from addition_gym import PAD_TOKEN_ID, VOCAB_SIZE, decode, encode, prompt, solution
from addition_gym.env import ScratchpadAddEnv
from addition_gym.episode import token_space
from policies import GPT2Policy
from policies.text_cache import Decoded
from train.pretraining.arguments import PretrainArgs
from train.pretraining.pretrain import train

PRETRAIN_RUN = dict(
    digits=1,
    longest_digits=2,
    n_layer=1,
    n_head=2,
    n_embd=32,
    steps=150,
    origin_steps=30,
    tokens_per_step=800,
    optimizer="muon",
    learning_rate=1e-2,
    muon_learning_rate=2e-2,
    warmup_steps=10,
    eval_problems=15,
    seed=0,
    device="cpu",
)
SHORT = {**PRETRAIN_RUN, "steps": 3, "origin_steps": 0, "tokens_per_step": 200}

N_ENVS, N_EPISODES, EVAL_PROBLEMS = 4, 8, 12
PPO_RUN = [
    *("--total-timesteps", "1500", "--n-envs", str(N_ENVS), "--n-episodes", str(N_EPISODES), "--batch-size", "4"),
    *(
        "--n-epochs",
        "1",
        "--learning-rate",
        "1e-3",
        "--ent-coef",
        "0.1",
        "--eval-problems",
        str(EVAL_PROBLEMS),
        "--eval-every",
        "2",
    ),
    *("--eval-every-problems", "6", "--checkpoint-every", "1", "--seed", "5", "--device", "cpu"),
]
"""Two rollouts or more. The entropy bonus trains even where no problem is solved."""


def hugging_face(folder: Path) -> GPT2LMHeadModel:
    return GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()


@torch.no_grad()
def next_token_log_probs(model: GPT2LMHeadModel, text: str, start: int = 0) -> Tensor:
    """Of one text, without a cache, ``(V,)``; the text stands at ``start`` in the position table."""
    tokens = torch.from_numpy(encode(text))[None]
    positions = torch.arange(start, start + tokens.shape[1])[None]
    return (
        model(tokens, attention_mask=torch.ones_like(tokens), position_ids=positions, use_cache=False)
        .logits[0, -1]
        .log_softmax(0)
    )


def budget(digits: int) -> int:
    """Tokens of the longest episode of the task."""
    return ScratchpadAddEnv(digits=digits, distribution="identical").max_tokens


def greedy_text(model: GPT2LMHeadModel, problem: tuple[int, int], max_tokens: int) -> str:
    """Prompt and completion by plain argmax, until the end that section 3 of the design defines."""
    question = prompt(*problem)
    text = question
    while len(text) < max_tokens:
        token = int(next_token_log_probs(model, text).argmax())
        if token == PAD_TOKEN_ID:
            break
        text += decode([token])
        if re.search(r"\n</scratch>\n[^\n]*\n", text[len(question) :]):
            break
    return text


def bucket(a: int, b: int) -> int:
    """The fixed hash of the splits, bit by bit: CRC-32 of the problem's text, its last digit. 0 is test, 1 validation."""
    crc = 0xFFFFFFFF
    for byte in f"{a}+{b}".encode():
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xEDB88320 if crc & 1 else 0)
    return (crc ^ 0xFFFFFFFF) % 10


def critical(problem: tuple[int, int], n: int) -> dict[int, tuple[int, int, str]]:
    """``(line, operand, kind)`` by position in the solution, read off the lists that are written there."""
    text = solution(*problem)
    found = {}
    start = text.index("[")
    for line, written in enumerate(text[start:].split("\n")[:3], start=1):
        lists = list(re.finditer(r"\[([0-9,]*)\]", written))[:2]
        if "END" not in written:
            for operand, match in enumerate(lists, start=1):
                for digit in list(re.finditer(r"[0-9]", match[1]))[max(n - (line - 1), 0) :]:
                    position = start + match.start(1) + digit.start()
                    found[position] = (line, operand, "digit")
                    if digit.start():
                        found[position - 1] = (line, operand, "comma")
        start += len(written) + 1
    return found


def random_policy(digits: int, temperature: float = 1.0, seed: int = 0, cls: type[GPT2Policy] = GPT2Policy) -> GPT2Policy:
    """A policy with random weights, far from uniform, for operands of up to ``digits`` digits."""
    torch.manual_seed(seed)
    space = token_space(budget(digits))
    sizes = dict(n_layer=1, n_head=2, n_embd=16, temperature=temperature, pad_token_id=PAD_TOKEN_ID)
    policy = cls(space, spaces.Discrete(VOCAB_SIZE), lambda _: 0.0, **sizes)
    with torch.no_grad():
        for parameter in policy.language_model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return policy


class ScriptedPolicy(GPT2Policy):
    """Writes what ``completion(a, b)`` says, then padding."""

    completion: Callable[[int, int], str] = staticmethod(solution)

    def decode(self, obs, cache, deterministic=False):
        actions = np.zeros(len(obs), dtype=np.int64)
        for row, tokens in enumerate(obs):
            match = re.fullmatch(r"Input:\n(\d+)\+(\d+)\nTarget:(.*)", decode(tokens), re.DOTALL)
            wanted = self.completion(int(match[1]), int(match[2]))
            written = len(match[3])
            actions[row] = int(encode(wanted[written])[0]) if written < len(wanted) else PAD_TOKEN_ID
        zeros = np.zeros(len(obs), dtype=np.float32)
        return Decoded(actions, zeros, zeros, None)


def scripted_policy(completion: Callable[[int, int], str], digits: int = 3) -> ScriptedPolicy:
    policy = random_policy(digits, cls=ScriptedPolicy)
    policy.completion = completion
    return policy


def events(folder: Path) -> EventAccumulator:
    """Everything that TensorBoard would show."""
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


def scalar(folder: Path, tag: str) -> list[float]:
    return [event.value for event in events(folder).Scalars(tag)]


def text_summaries(folder: Path, tag: str = "samples/text_summary") -> list[str]:
    return [event.tensor_proto.string_val[0].decode() for event in events(folder).Tensors(tag)]


def weights(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: weight.detach().numpy().copy() for name, weight in module.state_dict().items()}


def same_weights(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    assert first.keys() == second.keys()
    return all(np.array_equal(first[name], second[name]) for name in first)


def trained_weights(folder: Path, **changes: object) -> dict[str, np.ndarray]:
    """Of a short pre-training."""
    args = PretrainArgs(**{**SHORT, "eval_problems": 1, "run_folder": folder, **changes})
    return weights(hugging_face(train(args, Console(quiet=True)) / "model"))
