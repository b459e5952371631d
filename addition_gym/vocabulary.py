"""The character vocabulary: one token per character that a scratchpad text can hold, plus padding.

Token 0 is padding, tokens 1 to ``VOCAB_SIZE - 1`` are the characters in code-point order. The order is part of every
checkpoint, so it never changes.
"""

import numpy as np
import numpy.typing as npt

from addition_gym.checks import shown

CHARACTERS = "".join(sorted(set("Input:\nTarget:\n<scratch>[0123456789] + , A=[] C=0 ->\nEND</scratch>\n")))
PAD_TOKEN_ID = 0
VOCAB_SIZE = len(CHARACTERS) + 1

_PAD_CHARACTER = "\0"
_CODE_POINTS = np.array([ord(c) for c in _PAD_CHARACTER + CHARACTERS], dtype=np.uint32)
_TOKEN_OF_CODE_POINT = np.full(_CODE_POINTS.max() + 1, -1, dtype=np.int64)
_TOKEN_OF_CODE_POINT[_CODE_POINTS[1:]] = np.arange(1, VOCAB_SIZE)


def encode(text: str) -> npt.NDArray[np.int64]:
    """Turn a text into token ids.

    :param text: characters of the vocabulary (``CHARACTERS``)
    :return: token ids, int64 of shape ``(len(text),)``
    :raises TypeError: if ``text`` is not a string
    :raises ValueError: if a character is not in the vocabulary
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, but it is {shown(text)}: pass the characters to encode")
    if not text:
        return np.empty(0, dtype=np.int64)
    code_points = np.array([ord(c) for c in text])
    tokens = _TOKEN_OF_CODE_POINT[np.minimum(code_points, len(_TOKEN_OF_CODE_POINT) - 1)]
    unknown = (tokens < 0) | (code_points >= len(_TOKEN_OF_CODE_POINT))
    if unknown.any():
        index = int(unknown.argmax())
        raise ValueError(
            f"text must hold only characters of the vocabulary {CHARACTERS!r}, "
            f"but character {index} is {text[index]!r}: remove or replace it"
        )
    return tokens


def decode(tokens: npt.ArrayLike) -> str:
    """Turn token ids back into text; padding is left out.

    :param tokens: token ids, integers of shape ``(n,)``, each in ``[0, VOCAB_SIZE)``
    :return: the text, at most ``n`` characters
    :raises TypeError: if the ids are not integers
    :raises ValueError: if an id lies outside the vocabulary or ``tokens`` is not one-dimensional
    """
    ids = np.asarray(tokens)
    if ids.size == 0:
        return ""
    if not np.issubdtype(ids.dtype, np.integer):
        raise TypeError(f"tokens must be integers, but their dtype is {ids.dtype}: pass token ids as encode returns")
    if ids.ndim != 1:
        raise ValueError(f"tokens must have shape (n,), but it has shape {ids.shape}: decode one row at a time")
    if ids.min() < 0 or ids.max() >= VOCAB_SIZE:
        raise ValueError(
            f"tokens must lie in [0, {VOCAB_SIZE}), but they span [{ids.min()}, {ids.max()}]: pass ids of this vocabulary"
        )
    return "".join(map(chr, _CODE_POINTS[ids[ids != PAD_TOKEN_ID]]))
