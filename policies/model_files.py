"""GPT-2 models as files: read and checked from a folder that may come from a stranger, and written."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.utils import logging as transformers_logging

from policies.checks import between, one_of
from policies.gpt2 import ACTIVATIONS, gpt2_config
from policies.safe_files import check_weights, read_json, read_safetensors, read_torch, safetensors_shapes

BUNDLED = {path.parent.name: path.parent for path in sorted((Path(__file__).parent / "pretrained").glob("*/config.json"))}
"""The folders of the models that come with the package, by name."""
TINY = BUNDLED["tiny"]
"""The bundled pre-trained model; its ``README.md`` is the model card."""

MODEL_FILE = "model.safetensors"
"""The file with the weights of a model, in its folder."""

TORCH_FILE = "pytorch_model.bin"
"""What it was called before safetensors."""

_SIZES = ("vocab_size", "n_positions", "n_layer", "n_head", "n_embd")

_CHOICES = (
    "n_inner",
    "activation_function",
    "layer_norm_epsilon",
    "initializer_range",
    "scale_attn_weights",
    "scale_attn_by_inverse_layer_idx",
    "reorder_and_upcast_attn",
    "tie_word_embeddings",
)
"""What else a ``config.json`` decides. The other entries, some of which make transformers fetch code, are left out."""


def load_gpt2(pretrained: str | Path, vocab_size: int, n_positions: int, pad_token_id: int) -> GPT2LMHeadModel:
    """Load a GPT-2 from a folder, which may come from a stranger, and check that it fits the task.

    Only ``config.json`` and ``model.safetensors`` are read, and no code in either is run.

    :param pretrained: the name of a bundled model, such as ``"tiny"``, or a folder in Hugging Face format
    :param vocab_size: V of the task; the model must have exactly this many tokens
    :param n_positions: longest text of the task, in tokens; the model must have at least this many positions
    :param pad_token_id: the task's padding token, written into the model's configuration
    :return: the model in float32, in eval mode, dropout 0
    :raises ValueError: if the folder does not exist, holds no GPT-2, or does not fit
    """
    folder = BUNDLED.get(str(pretrained), Path(pretrained))
    if not os.path.isfile(folder / "config.json"):  # Path.is_file raises where a name is too long
        raise ValueError(
            f"pretrained must be one of {', '.join(map(repr, BUNDLED))} or the folder of a model, with a config.json, "
            f"but it is {str(pretrained)!r}: make one with `addition-gym pretrain`, or from an agent or a run with "
            "`addition-gym export`"
        )
    if has_linear_layout(folder):
        raise ValueError(
            f"pretrained must be laid out as a GPT-2 of transformers, but the matrices of {str(folder)!r} are transposed, as "
            f"nanoGPT's are: convert it with `addition-gym export --model {folder} --output FOLDER`, and pass FOLDER"
        )
    config = checked_config(read_json(folder / "config.json", "pretrained"), str(folder))
    if config.vocab_size != vocab_size:
        raise ValueError(
            f"pretrained must have the vocabulary size of the environment, {vocab_size}, but {str(folder)!r} has "
            f"{config.vocab_size}: pre-train on this environment's vocabulary"
        )
    if config.n_positions < n_positions:
        raise ValueError(
            f"pretrained must have at least {n_positions} positions (the environment's max_tokens), but {str(folder)!r} "
            f"has {config.n_positions}: lower the environment's digits or max_tokens, or pre-train with more digits"
        )
    if not (folder / MODEL_FILE).is_file():
        raise ValueError(
            f"pretrained must hold its weights as {MODEL_FILE}, but {str(folder)!r} does not: save it again with "
            "save_pretrained; other files of weights may be pickles, which can run any code"
        )
    config.pad_token_id = pad_token_id
    return gpt2_of(config, read_safetensors(folder / MODEL_FILE, "pretrained"), "pretrained")


def has_linear_layout(folder: Path) -> bool:
    """Whether the matrices of a folder's weights are ``(out, in)``, as nanoGPT's, and not ``(in, out)``, as GPT-2's in
    ``transformers``. False if there are no weights that can be read."""
    try:
        if (folder / MODEL_FILE).is_file():
            shapes = safetensors_shapes(folder / MODEL_FILE, "pretrained")
        elif (folder / TORCH_FILE).is_file():
            weights = read_torch(folder / TORCH_FILE, "pretrained")
            shapes = {name: tuple(weight.shape) for name, weight in weights.items() if isinstance(weight, Tensor)}
        else:
            return False
    except ValueError:
        return False
    return any(
        len(shape) == 2 and shape[0] == 3 * shape[1] for name, shape in shapes.items() if str(name).endswith(".c_attn.weight")
    )


def checked_config(content: Mapping[str, Any], source: str) -> GPT2Config:
    """The configuration of a standard GPT-2, without dropout, from those entries that say what is computed.

    :param content: of a ``config.json``, which may come from a stranger
    :param source: where it comes from, for the message
    :raises ValueError: if it is not the configuration of a standard GPT-2
    """
    if content.get("model_type") != "gpt2":
        raise ValueError(
            f"pretrained must hold a GPT-2, but {source!r} holds a {content.get('model_type')!r}: choose another folder"
        )
    sizes: dict[str, Any] = {name: content.get(name) for name in _SIZES}
    choices = {name: content[name] for name in _CHOICES if name in content}
    choices.setdefault("activation_function", "gelu_new")  # transformers leaves its defaults out of the file
    try:
        config = gpt2_config(**sizes, pad_token_id=None, **choices)
        one_of("activation_function", config.activation_function, tuple(ACTIVATIONS))
        between("layer_norm_epsilon", config.layer_norm_epsilon, 0, 1, "correct it", ends="()")
    except (TypeError, ValueError, StrictDataclassError) as error:
        raise ValueError(f"pretrained must have a sound configuration, but in {source!r} {error}") from error
    if not config.scale_attn_weights or config.scale_attn_by_inverse_layer_idx:
        raise ValueError(
            f"pretrained must scale its attention by 1 / sqrt(D / H), as a standard GPT-2, but {source!r} does not: "
            "choose another folder"
        )
    return config


def gpt2_of(config: GPT2Config, weights: dict[str, Tensor], name: str) -> GPT2LMHeadModel:
    """A GPT-2 with given weights, which are checked before memory for the model is allocated.

    :param weights: by name, of any floating-point type; ``lm_head.weight`` may be among them
    :param name: of the argument that they came by, for the message
    :return: the model in float32, in eval mode
    :raises ValueError: see :func:`policies.safe_files.check_weights`
    """
    check_blocks(config, weights, name)
    if config.tie_word_embeddings:
        embedding, head = weights.get("transformer.wte.weight"), weights.pop("lm_head.weight", None)
        if head is not None and (embedding is None or not torch.equal(head, embedding)):
            raise ValueError(f"{name} must have one embedding for input and head, but lm_head.weight is another: save it again")
    check_weights(weights, weight_shapes(config), name)
    with _no_progress_bar():
        model: GPT2LMHeadModel = GPT2LMHeadModel.from_pretrained(None, config=config, state_dict=weights, dtype=torch.float32)
    return model.eval()


def check_blocks(config: GPT2Config, weights: Mapping[str, Any], name: str, prefix: str = "") -> None:
    """Refuse a configuration that claims more blocks than there are: their names alone could fill the memory.

    :param prefix: of the names of the weights
    :raises ValueError: naming ``n_layer``
    """
    start = f"{prefix}transformer.h."
    found = len({str(key).removeprefix(start).split(".")[0] for key in weights if str(key).startswith(start)})
    if config.n_layer != found:
        raise ValueError(f"{name} must have as many blocks as n_layer = {config.n_layer}, but it has {found}: correct n_layer")


def weight_shapes(config: GPT2Config) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of a GPT-2, by name; the work is proportional to ``n_layer``."""
    d, inner = config.n_embd, 4 * config.n_embd if config.n_inner is None else config.n_inner
    block: dict[str, tuple[int, ...]] = {
        "attn.c_attn": (d, 3 * d),
        "attn.c_proj": (d, d),
        "mlp.c_fc": (d, inner),
        "mlp.c_proj": (inner, d),
        "ln_1": (d,),
        "ln_2": (d,),
    }
    biased = {f"h.{layer}.{name}": shape for layer in range(config.n_layer) for name, shape in block.items()} | {"ln_f": (d,)}
    shapes: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (config.vocab_size, d),
        "transformer.wpe.weight": (config.n_positions, d),
    }
    shapes |= {f"transformer.{name}.weight": shape for name, shape in biased.items()}
    shapes |= {f"transformer.{name}.bias": shape[-1:] for name, shape in biased.items()}
    if not config.tie_word_embeddings:
        shapes["lm_head.weight"] = (config.vocab_size, d)
    return shapes


def save_gpt2(model: GPT2LMHeadModel, folder: Path) -> None:
    """Write ``config.json`` and ``model.safetensors``, in Hugging Face format."""
    with _no_progress_bar():
        model.save_pretrained(folder)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep transformers from drawing a progress bar for a file of a few megabytes."""
    enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            transformers_logging.enable_progress_bar()
