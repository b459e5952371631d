"""Checkpoints in nanoGPT's layout, as the authors of arXiv:2502.06533 publish theirs, turned into GPT-2 models.

The layout (https://github.com/karpathy/nanoGPT, ``model.py``): GPT-2's names, but the four matrices of a block are ``Linear``,
``(out, in)``, where GPT-2 in ``transformers`` has ``Conv1D``, ``(in, out)``; the output head shares the embedding's weights;
biases may be left out; a compiled model's names start with ``_orig_mod.``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel

from policies.checks import one_of
from policies.gpt2 import ACTIVATIONS, gpt2_config
from policies.model_files import MODEL_FILE, TORCH_FILE, gpt2_of, has_linear_layout, weight_shapes
from policies.safe_files import check_tensor, read_json, read_safetensors, read_torch

CHECKPOINT_FILES = ("ckpt.pt", MODEL_FILE, TORCH_FILE)
"""What the file with the weights may be called: nanoGPT's name, and the two of ``huggingface_hub.PyTorchModelHubMixin``."""

_TRANSPOSED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
_MASKS = (".attn.bias", ".attn.masked_bias")  # buffers, not parameters


def is_nanogpt(path: Path) -> bool:
    """Whether a path is a torch file, or a folder with ``ckpt.pt``, with nanoGPT's ``block_size`` in its ``config.json``, or
    with weights that are laid out as nanoGPT's."""
    if path.is_file():
        return path.suffix in (".pt", ".pth", ".bin")
    if (path / CHECKPOINT_FILES[0]).is_file():
        return True
    config = path / "config.json"
    return config.is_file() and ("block_size" in read_json(config, "model") or has_linear_layout(path))


def read_nanogpt(path: Path) -> tuple[dict[str, Tensor], int]:
    """Read a checkpoint without running any code in it (``torch.load`` with ``weights_only=True``).

    :param path: a torch file with ``{"model": state dict, "model_args": config dict}``; or a folder that holds one, or weights
        and a ``config.json``
    :return: the state dict, and the number of attention heads, which the weights do not show
    :raises ValueError: if there are no weights, they cannot be read safely, or nothing says ``n_head``
    """
    file = next((path / name for name in CHECKPOINT_FILES if (path / name).is_file()), path)
    if not file.is_file():
        raise ValueError(
            f"checkpoint must be a torch file or a folder with one of {', '.join(CHECKPOINT_FILES)}, but {str(path)!r} is not: "
            "check the path"
        )
    content: dict[str, Any] = (
        read_safetensors(file, "checkpoint") if file.suffix == ".safetensors" else read_torch(file, "checkpoint")
    )
    state = content.get("model", content)
    beside = file.with_name("config.json")
    config = content.get("model_args") or (read_json(beside, "checkpoint") if beside.is_file() else {})
    for name, value in (("model", state), ("model_args", config)):
        if not isinstance(value, dict):
            raise ValueError(
                f"checkpoint must hold a dict as {name!r}, but {str(file)!r} holds a {type(value).__name__}: save it again"
            )
    if type(config.get("n_head")) is not int:
        raise ValueError(
            f"checkpoint must say n_head, an int, under 'model_args' or in a config.json beside it, but {str(file)!r} does "
            "not: write that config.json"
        )
    return state, config["n_head"]


@torch.no_grad()
def convert_nanogpt(
    state: Mapping[str, Tensor],
    n_head: int,
    rows: Sequence[int | None],
    pad_token_id: int,
    activation_function: str,
) -> GPT2LMHeadModel:
    """A GPT-2 with the weights of a checkpoint and a different order of tokens.

    A token that the checkpoint does not know gets the mean of the other rows, so its logit is the mean of theirs: it is never
    the most probable token, and the greedy completions do not change (Hewitt 2021, "Initializing new word embeddings for
    pretrained language models").

    :param state: nanoGPT's state dict
    :param n_head: attention heads per block
    :param rows: of each of our V tokens, its row in the checkpoint's embedding; None if it has no row there
    :param pad_token_id: our padding token
    :param activation_function: one of :data:`policies.gpt2.ACTIVATIONS`. nanoGPT's GELU is exact (``"gelu"``); that
        of its first versions, and of the authors' code, is the tanh approximation (``"gelu_new"``)
    :return: the model in float32, in eval mode; missing biases are 0
    :raises ValueError: if the state dict has another layout, the head is not tied, or a row is out of range
    """
    one_of("activation_function", activation_function, tuple(ACTIVATIONS))
    weights = {}
    for name, weight in state.items():
        check_tensor(weight, str(name), "state")
        if not str(name).endswith(_MASKS):
            weights[str(name).removeprefix("_orig_mod.").removeprefix("transformer.")] = weight.float()
    head = weights.pop("lm_head.weight", None)
    embedding, positions = weights.pop("wte.weight", head), weights.get("wpe.weight")
    if embedding is None or positions is None or embedding.dim() != 2 or positions.dim() != 2:
        raise ValueError("state must hold transformer.wte.weight and transformer.wpe.weight, but it does not: pass a nanoGPT")
    if head is not None and not torch.equal(head, embedding):
        raise ValueError("state must have a tied head, but lm_head.weight differs from transformer.wte.weight: pass a nanoGPT")
    n_layer = len({name.split(".")[1] for name in weights if name.startswith("h.")})
    config = gpt2_config(len(rows), len(positions), n_layer, n_head, embedding.shape[1], pad_token_id, activation_function)
    ours = {"transformer.wte.weight": _permuted(embedding, rows)}
    for name, weight in weights.items():
        ours[f"transformer.{name}"] = weight.T.contiguous() if name.endswith(_TRANSPOSED) and weight.dim() == 2 else weight
    for name, shape in weight_shapes(config).items():
        if name.endswith(".bias"):
            ours.setdefault(name, torch.zeros(shape))
    return gpt2_of(config, ours, "state")


def _permuted(embedding: Tensor, rows: Sequence[int | None]) -> Tensor:
    known = [row for row in rows if row is not None]
    if not known or min(known) < 0 or max(known) >= len(embedding):
        raise ValueError(
            f"rows must lie in [0, {len(embedding)}), the checkpoint's tokens, but they are {list(rows)}: pass None "
            "for a token that has no row"
        )
    mean = embedding[known].mean(dim=0)
    return torch.stack([mean if row is None else embedding[row] for row in rows])
