"""GPT-2 models: built from a configuration or loaded from a checked folder; and the trunk that all code paths share."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging as transformers_logging

from policies.operators import causal_attention, gelu
from policies.safe_files import check_weights, read_json, read_safetensors

TINY = Path(__file__).parent / "pretrained" / "tiny"
"""The bundled pre-trained model; its ``README.md`` is the model card."""

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""Attention of one block: block index, queries, keys and values, each ``(B, H, T, D/H)``, to ``(B, H, T, D/H)``."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu_new": gelu, "gelu_pytorch_tanh": gelu, "gelu": F.gelu}
"""By their names in a ``GPT2Config``."""

WEIGHTS = "model.safetensors"
"""The weights of a model, in its folder."""

_SIZES = ("vocab_size", "n_positions", "n_layer", "n_head", "n_embd")
_DROPOUTS = ("resid_pdrop", "embd_pdrop", "attn_pdrop")
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


def gpt2_config(vocab_size: int, n_positions: int, n_layer: int, n_head: int, n_embd: int, pad_token_id: int) -> GPT2Config:
    """A GPT-2 of a given size, without dropout, so that sampling and training see one and the same distribution.

    :param vocab_size: V, number of tokens
    :param n_positions: longest text, in tokens
    :param n_layer: number of transformer blocks
    :param n_head: attention heads per block
    :param n_embd: width D, a multiple of ``n_head``
    :param pad_token_id: the padding token
    :raises TypeError: if a size is not an int
    :raises ValueError: if ``n_embd`` is not a multiple of ``n_head`` or a size is not positive
    """
    sizes = dict(vocab_size=vocab_size, n_positions=n_positions, n_layer=n_layer, n_head=n_head, n_embd=n_embd)
    for name, value in sizes.items():
        if type(value) is not int:
            raise TypeError(f"{name} must be an int, but it is {value!r}: pass a positive size")
        if value < 1:
            raise ValueError(f"{name} must be >= 1, but it is {value}: pass a positive size")
    if n_embd % n_head:
        raise ValueError(f"n_embd must be a multiple of n_head = {n_head}, but it is {n_embd}: change one of them")
    return GPT2Config(
        **sizes,
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=pad_token_id,
    )


def build_gpt2(config: GPT2Config) -> GPT2LMHeadModel:
    """A GPT-2 with random weights, except the position table, which starts as sinusoids: they learn to copy far sooner.

    :return: the model in float32, in eval mode
    """
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        table = sinusoids(config.n_positions, config.n_embd)
        model.transformer.wpe.weight.copy_(table * config.initializer_range)
    return model.eval()


def sinusoids(n_positions: int, n_embd: int) -> Tensor:
    """The fixed position table of Vaswani et al. (2017), section 3.5, scaled to mean square 1.

    :return: float32 of shape ``(n_positions, n_embd)``
    """
    position = torch.arange(n_positions, dtype=torch.float32)[:, None]
    frequency = torch.exp(torch.arange(0, n_embd, 2) * (-math.log(10_000.0) / n_embd))
    table = torch.zeros(n_positions, n_embd)
    table[:, 0::2] = torch.sin(position * frequency)
    table[:, 1::2] = torch.cos(position * frequency[: n_embd // 2])
    return table * math.sqrt(2)


def load_gpt2(pretrained: str | Path, vocab_size: int, n_positions: int, pad_token_id: int) -> GPT2LMHeadModel:
    """Load a GPT-2 from a folder, which may come from a stranger, and check that it fits the task.

    Only ``config.json`` and ``model.safetensors`` are read, and no code in either is run.

    :param pretrained: ``"tiny"`` for the bundled model, or a folder in Hugging Face format
    :param vocab_size: V of the task; the model must have exactly this many tokens
    :param n_positions: longest text of the task, in tokens; the model must have at least this many positions
    :param pad_token_id: the task's padding token, written into the model's configuration
    :return: the model in float32, in eval mode, dropout 0
    :raises ValueError: if the folder does not exist, holds no GPT-2, or does not fit
    """
    folder = TINY if str(pretrained) == "tiny" else Path(pretrained)
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"pretrained must be 'tiny' or the folder of a model, with a config.json, but it is {str(pretrained)!r}: "
            "make one with `python -m train.pretrain`, or from an agent or a run with `python -m train.export`"
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
    config.pad_token_id = pad_token_id
    if not (folder / WEIGHTS).is_file():
        raise ValueError(
            f"pretrained must hold its weights as {WEIGHTS}, but {str(folder)!r} does not: save it anew with "
            "save_pretrained; other files of weights may be pickles, which can run any code"
        )
    return gpt2_of(config, read_safetensors(folder / WEIGHTS, "pretrained"), "pretrained")


def checked_config(content: Mapping[str, Any], source: str) -> GPT2Config:
    """The configuration of a standard GPT-2, without dropout. Of its entries only those are taken that say what is computed.

    :param content: of a ``config.json``, which may come from a stranger
    :param source: where it stands, for the message
    :raises ValueError: if it is none
    """
    if content.get("model_type") != "gpt2":
        raise ValueError(
            f"pretrained must hold a GPT-2, but {source!r} holds a {content.get('model_type')!r}: choose another folder"
        )
    missing = [name for name in _SIZES if name not in content]
    if missing:
        raise ValueError(f"pretrained must say {missing[0]} in its configuration, but {source!r} does not: write it there")
    try:
        checked = gpt2_config(**{name: content[name] for name in _SIZES}, pad_token_id=0)
        config = GPT2Config(
            **{
                **{name: getattr(checked, name) for name in (*_SIZES, *_DROPOUTS)},
                **{name: content[name] for name in _CHOICES if name in content},
                "bos_token_id": None,
                "eos_token_id": None,
            }
        )
    except (TypeError, ValueError, StrictDataclassError) as error:
        raise ValueError(f"pretrained must have a sound configuration, but in {source!r} {error}") from error
    if config.activation_function not in ACTIVATIONS or not config.scale_attn_weights or config.scale_attn_by_inverse_layer_idx:
        raise ValueError(
            f"pretrained must be a standard GPT-2 (activation_function one of {', '.join(ACTIVATIONS)}, attention scaled by "
            f"1 / sqrt(D / H)), but {source!r} is not: choose another folder"
        )
    if not 0 < config.layer_norm_epsilon < 1:
        raise ValueError(
            f"pretrained must have a layer_norm_epsilon in (0, 1), but {source!r} has {config.layer_norm_epsilon}: mend it"
        )
    return config


def gpt2_of(config: GPT2Config, weights: dict[str, Tensor], name: str) -> GPT2LMHeadModel:
    """A GPT-2 with given weights, which are checked before the memory of the model is taken.

    :param weights: by name, of any floating-point type; ``lm_head.weight`` may be among them
    :param name: of the argument that they came by, for the message
    :return: the model in float32, in eval mode
    :raises ValueError: see :func:`policies.safe_files.check_weights`
    """
    check_blocks(config, weights, name)
    shapes = weight_shapes(config)
    if config.tie_word_embeddings:
        embedding, head = weights.get("transformer.wte.weight"), weights.pop("lm_head.weight", None)
        if head is not None and (embedding is None or not torch.equal(head, embedding)):
            raise ValueError(f"{name} must have one embedding for input and head, but lm_head.weight is another: save it anew")
    check_weights(weights, shapes, name)
    with _no_progress_bar():
        model: GPT2LMHeadModel = GPT2LMHeadModel.from_pretrained(None, config=config, state_dict=weights, dtype=torch.float32)
    return model.eval()


def check_blocks(config: GPT2Config, weights: Mapping[str, Any], name: str, prefix: str = "") -> None:
    """Refuse a configuration that claims more blocks than there are: their names alone could fill the memory.

    :param prefix: of the names of the weights
    :raises ValueError: naming ``n_layer``
    """
    start = f"{prefix}transformer.h."
    names = [str(key) for key in weights]
    found = len({key.removeprefix(start).split(".")[0] for key in names if key.startswith(start)})
    if config.n_layer != found:
        raise ValueError(f"{name} must have as many blocks as n_layer = {config.n_layer}, but it has {found}: mend n_layer")


def weight_shapes(config: GPT2Config) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of a GPT-2, by name; the work is proportional to ``n_layer``."""
    d, inner = config.n_embd, 4 * config.n_embd if config.n_inner is None else config.n_inner
    matrices = {"attn.c_attn": (d, 3 * d), "attn.c_proj": (d, d), "mlp.c_fc": (d, inner), "mlp.c_proj": (inner, d)}
    block: dict[str, tuple[int, ...]] = {}
    for name, shape in matrices.items():
        block |= {f"{name}.weight": shape, f"{name}.bias": shape[1:]}
    for name in ("ln_1", "ln_2"):
        block |= {f"{name}.weight": (d,), f"{name}.bias": (d,)}
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (config.vocab_size, d), "wpe.weight": (config.n_positions, d)}
    shapes |= {f"h.{layer}.{name}": shape for layer in range(config.n_layer) for name, shape in block.items()}
    shapes |= {"ln_f.weight": (d,), "ln_f.bias": (d,)}
    head: dict[str, tuple[int, ...]] = {} if config.tie_word_embeddings else {"lm_head.weight": (config.vocab_size, d)}
    return {f"transformer.{name}": shape for name, shape in shapes.items()} | head


def save_gpt2(model: GPT2LMHeadModel, folder: Path) -> None:
    """Write ``config.json`` and ``model.safetensors``, in Hugging Face format."""
    with _no_progress_bar():
        model.save_pretrained(folder)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep transformers from drawing a bar for a file of a few megabytes."""
    enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            transformers_logging.enable_progress_bar()


def hidden_states(model: GPT2Model, tokens: Tensor, positions: Tensor | None = None, attend: Attend | None = None) -> Tensor:
    """The GPT-2 trunk with its attention left open, so that whole texts and cached decoding run the same code.

    :param model: the trunk; its dropout is not applied
    :param tokens: token ids, int64 of shape ``(B, T)``
    :param positions: int64 of shape ``(B, T)`` or ``(1, T)``; ``0..T-1`` by default
    :param attend: the attention; by default every token attends to itself and to what stands before it
    :return: final hidden states, ``(B, T, D)``; those of padding are meaningless
    """
    batch, length = tokens.shape
    activation = ACTIVATIONS[model.config.activation_function]
    if positions is None:
        positions = torch.arange(length, device=tokens.device)[None]
    hidden = (F.embedding(tokens, model.wte.weight) + F.embedding(positions, model.wpe.weight)).flatten(0, 1)  # (B * T, D)
    for layer, block in enumerate(model.h):
        qkv = _linear(block.attn.c_attn, _layer_norm(block.ln_1, hidden)).view(batch, length, 3, model.config.n_head, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, T, D/H)
        attended = causal_attention(q, k, v) if attend is None else attend(layer, q, k, v)
        hidden = hidden + _linear(block.attn.c_proj, attended.transpose(1, 2).reshape(batch * length, -1))
        hidden = hidden + _linear(block.mlp.c_proj, activation(_linear(block.mlp.c_fc, _layer_norm(block.ln_2, hidden))))
    return _layer_norm(model.ln_f, hidden).view(batch, length, -1)


def _linear(layer: Conv1D, x: Tensor) -> Tensor:
    """The product without the module call, which costs as much as a small product. :param x: ``(M, D)``"""
    return torch.addmm(layer.bias, x, layer.weight)


def _layer_norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    return F.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)
