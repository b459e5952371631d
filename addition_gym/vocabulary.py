"""A character vocabulary: one token per character that the texts of a task can hold, plus padding.

Token 0 is padding, tokens 1 to V - 1 are the characters in code-point order. The order is part of every checkpoint, so it never
changes. :func:`encode` and :func:`decode` are those of scratchpad addition.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from addition_gym.checks import shown

PAD_TOKEN_ID = 0

_PAD_CHARACTER = "\0"


class Vocabulary:
    """The characters of a task.

    :param characters: all of them, in any order and as often as you like
    """

    def __init__(self, characters: str):
        self.characters = "".join(sorted(set(characters)))
        self.size = len(self.characters) + 1
        self._code_points = np.array([ord(c) for c in _PAD_CHARACTER + self.characters], dtype=np.uint32)
        self._token_of_code_point = np.full(self._code_points.max() + 1, -1, dtype=np.int64)
        self._token_of_code_point[self._code_points[1:]] = np.arange(1, self.size)

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """Turn a text into token ids.

        :param text: characters of the vocabulary
        :return: token ids, int64 of shape ``(len(text),)``
        :raises TypeError: if ``text`` is not a string
        :raises ValueError: if a character is not in the vocabulary
        """
        if not isinstance(text, str):
            raise TypeError(f"text must be a string, but it is {shown(text)}: pass the characters to encode")
        if not text:
            return np.empty(0, dtype=np.int64)
        code_points = np.array([ord(c) for c in text])
        tokens = self._token_of_code_point[np.minimum(code_points, len(self._token_of_code_point) - 1)]
        unknown = (tokens < 0) | (code_points >= len(self._token_of_code_point))
        if unknown.any():
            index = int(unknown.argmax())
            raise ValueError(
                f"text must hold only characters of the vocabulary {self.characters!r}, "
                f"but character {index} is {text[index]!r}: remove or replace it"
            )
        return tokens

    def encode_rows(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """Turn texts into token ids, padded right to the longest: int64 of shape ``(len(texts), K)``."""
        rows = [self.encode(text) for text in texts]
        tokens = np.full((len(rows), max(map(len, rows), default=0)), PAD_TOKEN_ID, dtype=np.int64)
        for row, ids in enumerate(rows):
            tokens[row, : len(ids)] = ids
        return tokens

    def continue_rows(self, observation: npt.NDArray[np.int64], continuation: Callable[[str], str]) -> npt.NDArray[np.int64]:
        """Token ids of how texts go on.

        :param observation: token ids padded right, int64 ``(T,)``, or of several texts ``(B, T)``
        :param continuation: of a text
        :return: token ids padded right, int64 ``(K,)`` or ``(B, K)``
        """
        rows = self.encode_rows([continuation(self.decode(row)) for row in np.atleast_2d(observation)])
        return rows if observation.ndim == 2 else rows[0]

    def decode(self, tokens: npt.ArrayLike) -> str:
        """Turn token ids back into text; padding is left out.

        :param tokens: token ids, integers of shape ``(n,)``, each in ``[0, V)``
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
        if ids.min() < 0 or ids.max() >= self.size:
            raise ValueError(
                f"tokens must lie in [0, {self.size}), but they span [{ids.min()}, {ids.max()}]: pass ids of this vocabulary"
            )
        return "".join(map(chr, self._code_points[ids[ids != PAD_TOKEN_ID]]))


ADDITION = Vocabulary("Input:\nTarget:\n<scratch>[0123456789] + , A=[] C=0 ->\nEND</scratch>\n")
CHARACTERS = ADDITION.characters
VOCAB_SIZE = ADDITION.size


def encode(text: str) -> npt.NDArray[np.int64]:
    """Turn a text of scratchpad addition into token ids; see :meth:`Vocabulary.encode`."""
    return ADDITION.encode(text)


def decode(tokens: npt.ArrayLike) -> str:
    """Turn token ids of scratchpad addition back into text; padding is left out; see :meth:`Vocabulary.decode`."""
    return ADDITION.decode(tokens)
