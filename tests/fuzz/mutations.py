"""Texts, JSON values and bytes that are nearly right, or not at all."""

import json
import struct
from typing import Any

import numpy as np

from addition_gym.vocabulary import CHARACTERS

STRANGE = "\0\r\x0b\u2028é٣😀"
"""Characters that the vocabulary does not have; some are line breaks or digits elsewhere."""

_WRITABLE: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 3, 10**9, 10**18, -(10**9), 2**63, 0.5, -0.0, 1e308),
    *(float("nan"), float("inf"), "", "1", "up_to", "all", "binary", "none", "\0", "x" * 5000, "../..", "é٣"),
    *([], [1], [[]], [-1, 2], (), (1, 2), (1, -2), (1, 2, 3), (True, 1), (1.0, 2), ("1", 2), {}, {"operands": 1}, b"1"),
]

HOSTILE: list[Any] = [*_WRITABLE, 10**1000, 10**5000, -(10**5000), [10**5000], (10**5000, 1, 2)]
"""Python refuses to write the last ones, even into an error message."""

WORDS = ["1" + "0" * 5000, *map(str, _WRITABLE)]
"""For a command line."""

FRAGMENTS = ("\n", "</scratch>", "\n</scratch>\n", "<scratch>", " ", "1 2", "[", "]", ",", "END", "C=", "A->", "1+1+0=2", "0")


def pick(rng: np.random.Generator, values: Any) -> Any:
    """One of a sequence."""
    return values[int(rng.integers(len(values)))]


def operand(rng: np.random.Generator) -> int:
    """Mostly short; sometimes all nines, so that carries run through."""
    length = int(rng.integers(1, 13)) if rng.random() < 0.97 else int(rng.integers(13, 60))
    if rng.random() < 0.1:
        return 10**length - 1 - int(rng.integers(2))
    return int("".join(map(str, rng.integers(0, 10, size=length))))


def text(rng: np.random.Generator, right: str, other: str) -> str:
    """A completion: right, edited in some places, cut, spliced with another one, or noise.

    :param right: the solution
    :param other: that of another problem
    """
    kind = rng.random()
    if kind < 0.02:
        return right
    if kind < 0.1:
        return "".join(pick(rng, (*FRAGMENTS, *CHARACTERS, *STRANGE)) for _ in range(rng.integers(30)))
    if kind < 0.2:
        return right[: rng.integers(len(right) + 1)] + other[rng.integers(len(other)) :]
    if kind < 0.3:
        lines = right.split("\n")
        index, target = rng.integers(len(lines), size=2)
        lines[target] = lines[index] if rng.random() < 0.5 else lines[target] + pick(rng, FRAGMENTS)
        return "\n".join(lines if rng.random() < 0.5 else [*lines[:index], *lines[index + 1 :]])
    near_the_end = rng.random() < 0.4
    for _ in range(rng.geometric(0.5)):
        position = len(right) - int(rng.integers(min(30, len(right)) if near_the_end else len(right), endpoint=True))
        piece = pick(rng, (*CHARACTERS, *CHARACTERS, *FRAGMENTS, *STRANGE))
        right = right[:position] + pick(rng, ("", piece, piece)) + right[position + int(rng.integers(2)) :]
    return right[: rng.integers(len(right) + 1)] if rng.random() < 0.1 else right


def blob(rng: np.random.Generator, content: bytes) -> bytes:
    """Bytes flipped, cut, doubled, zeroed, or all random."""
    if rng.random() < 0.03:
        return rng.bytes(int(rng.integers(200)))
    changed = bytearray(content)
    for _ in range(rng.geometric(0.4)):
        start = int(rng.integers(len(changed) + 1)) if rng.random() < 0.5 else int(rng.integers(min(len(changed), 300) + 1))
        length = int(rng.integers(1, 40))
        match int(rng.integers(5)):
            case 0 if start < len(changed):
                changed[start] ^= 1 << int(rng.integers(8))
            case 1:
                changed[start : start + length] = rng.bytes(length)
            case 2:
                changed[start:start] = changed[:length]
            case 3:
                changed[start : start + length] = bytes(length)
            case _:
                del changed[start : start + length if rng.random() < 0.7 else None]
    return bytes(changed)


def value(rng: np.random.Generator, content: Any) -> Any:
    """A JSON value with a part replaced, removed or added."""
    if isinstance(content, dict) and content and rng.random() < 0.9:
        changed = dict(content)
        key = pick(rng, list(content))
        match int(rng.integers(5)):
            case 0:
                del changed[key]
            case 1:
                changed[pick(rng, ("extra", "auto_map", "attn_implementation", "quantization_config", *content))] = content[key]
            case _:
                changed[key] = value(rng, content[key])
        return changed
    if isinstance(content, list) and content and rng.random() < 0.7:
        index = int(rng.integers(len(content)))
        return [*content[:index], value(rng, content[index]), *content[index + 1 :]]
    if isinstance(content, int) and rng.random() < 0.5:
        return content + int(rng.integers(-3, 4))
    return pick(rng, HOSTILE)


def json_text(rng: np.random.Generator, content: Any) -> str:
    """JSON of a changed value, sometimes with its characters changed instead."""
    if rng.random() < 0.02:
        return "[" * 100_000
    sound = json.dumps(content)
    if rng.random() < 0.2:
        return blob(rng, sound.encode()).decode("utf-8", "replace")
    try:
        return json.dumps(value(rng, content), default=repr)
    except ValueError:  # a number too long to be written by Python
        return sound.replace("1", "1" + "0" * 5000, 1)


def safetensors(rng: np.random.Generator, content: bytes) -> bytes:
    """A file whose header lies."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json_text(rng, json.loads(content[8 : 8 + length])).encode()
    size = len(header) if rng.random() < 0.9 else int(rng.integers(2**63))
    return struct.pack("<Q", size) + header + content[8 + length :]
