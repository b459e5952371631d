"""Reading files that a stranger may have written: no code in them runs, and they take no more memory than they have on disk."""

import json
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import safetensors.torch
import torch
from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]


def read_json(path: Path, name: str) -> dict[str, Any]:
    """A JSON object.

    :param path: of the file, in UTF-8
    :param name: of the argument that led here, for the message
    :raises ValueError: if it is not JSON, or not an object
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{name} must come with readable JSON, but {str(path)!r} is not: correct it ({_brief(error)})"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{name} must come with a JSON object, but {str(path)!r} holds a {type(content).__name__}: write {{key: value}}"
        )
    return content


def read_safetensors(path: Path, name: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    :param path: of the file
    :param name: of the argument, for the message
    :return: tensors on the CPU
    :raises ValueError: if it is damaged, or its header lies about sizes
    """
    try:
        return safetensors.torch.load(path.read_bytes())
    except Exception as error:  # the format's own errors, and what torch says of sizes and types that it cannot have
        raise ValueError(
            f"{name} must be a sound safetensors file, but {str(path)!r} is damaged: take another copy ({_brief(error)})"
        ) from error


def safetensors_shapes(path: Path, name: str) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors of a safetensors file, from its header.

    :param path: of the file
    :param name: of the argument, for the message
    :raises ValueError: if it is damaged
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118  it is no dict
    except Exception as error:
        raise ValueError(
            f"{name} must be a sound safetensors file, but {str(path)!r} is damaged: take another copy ({_brief(error)})"
        ) from error


def read_torch(file: Path | IO[bytes], name: str) -> dict[str, Any]:
    """A dict in a file of ``torch.save`` since torch 1.6, which is a zip file without compression.

    :param file: a path, or an open file
    :param name: of the argument, for the message
    :raises ValueError: if it is damaged, holds more than tensors, numbers and texts, or would grow in memory
    """
    shown = repr(str(file)) if isinstance(file, Path) else "the file"
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > _size(file):
            raise ValueError(f"it unpacks to {unpacked} bytes, more than it has")
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{name} must hold only tensors, numbers and texts, but {shown} holds more, which could run any code: "
            "save its weights and sizes again, without the rest"
        ) from error
    except Exception as error:  # zipfile, the unpickler and torch raise anything on a damaged file
        raise ValueError(
            f"{name} must be a sound torch file, but {shown} is not: take another copy ({_brief(error)})"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{name} must be a dict, but {shown} holds a {type(content).__name__}: save a state dict")
    return content


def check_weights(weights: Mapping[str, Any], shapes: Shapes, name: str) -> None:
    """Refuse weights that are not exactly those of a model, before the model is made.

    :param weights: tensors by name
    :param shapes: those of the model
    :param name: of the argument, for the message
    :raises ValueError: if one is missing, surplus, of another shape, not of floating-point numbers, or not finite
    """
    for key, shape in shapes.items():
        if key not in weights:
            raise ValueError(f"{name} must hold {key} of {shape}, but it is missing: choose another model")
        check_tensor(weights[key], key, name)
        if weights[key].shape != shape:
            found = tuple(weights[key].shape)
            raise ValueError(f"{name} must hold {key} of {shape}, but it is of shape {found}: choose another model")
        if not weights[key].isfinite().all():
            raise ValueError(f"{name} must hold finite numbers, but {key} has NaN or infinity: download or train it again")
    if surplus := [str(key) for key in weights if key not in shapes]:
        raise ValueError(f"{name} must hold nothing but its model, but it also holds {', '.join(surplus[:5])}: leave it out")


def check_tensor(tensor: Any, key: str, name: str) -> None:
    """Refuse what is not a plain tensor of floating-point numbers, each with its own place in memory.

    A tensor may say that it repeats one number 10**18 times; a copy of it would then need all that memory.

    :raises ValueError: naming ``name`` and ``key``
    """
    plain = isinstance(tensor, Tensor) and tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not plain or not tensor.is_floating_point() or tensor.nbytes > tensor.untyped_storage().nbytes():
        raise ValueError(f"{name} must hold {key} as a plain tensor of floating-point numbers, but it does not: save it again")


def _size(file: Path | IO[bytes]) -> int:
    if isinstance(file, Path):
        return file.stat().st_size
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]
