"""Character vocabularies: ours, and those that come with other people's models."""

from collections.abc import Mapping
from pathlib import Path

from addition_gym import PAD_TOKEN_ID
from addition_gym.vocabulary import CHARACTERS
from policies.checks import between
from policies.safe_files import read_json

VOCABULARY = "vocab.json"
"""In a folder: token id of every character."""

TOKENIZER = "tokenizer.json"
"""In a folder: a tokenizer of the library ``tokenizers``."""

PAD = "<pad>"
"""The padding token's name in both."""

_BYTE_LEVEL = {" ": "Ġ", "\n": "Ċ"}
"""How GPT-2's own tokenizer spells the two characters that cannot be seen."""


def our_vocabulary() -> dict[str, int]:
    """Token id of every character, and of ``PAD``."""
    return {PAD: PAD_TOKEN_ID, **{character: token for token, character in enumerate(CHARACTERS, start=1)}}


def read_vocabulary(path: Path) -> dict[str, int]:
    """The ids of a character tokenizer.

    :param path: JSON, ``{character: id}``, or a ``tokenizer.json``; space and line break may be spelt as GPT-2's tokenizer does
    :raises ValueError: if there is no such file, or it is neither, or its tokenizer merges characters
    """
    if not path.is_file():
        raise ValueError(
            f"vocabulary must be a JSON file with the id of every character, but {str(path)!r} does not exist: write one, or "
            "pass --vocabulary. nanoGPT's meta.pkl is a pickle, which can run any code, and is not read: where you trust it, "
            "json.dump its 'stoi'"
        )
    content = read_json(path, "vocabulary")
    model = content.get("model")
    if isinstance(model, dict):
        if model.get("merges"):
            raise ValueError(
                f"vocabulary must be that of a character tokenizer, but {str(path)!r} merges characters: choose a model that "
                "reads the scratchpad character by character"
            )
        content = vocab if isinstance(vocab := model.get("vocab"), dict) else {"vocab": None}
    if not all(type(token) is int for token in content.values()):
        raise ValueError(f"vocabulary must be a JSON object of integers, but {str(path)!r} is not: write {{character: id}}")
    return content


def vocabulary_beside(path: Path) -> Path:
    """The file with the vocabulary of a model, in its folder: ``vocab.json``, or else ``tokenizer.json``.

    :param path: a folder, or a file in it
    :return: the path; where there is neither, that of ``vocab.json``
    """
    folder = path if path.is_dir() else path.parent
    found = (folder / name for name in (VOCABULARY, TOKENIZER) if (folder / name).is_file())
    return next(found, folder / VOCABULARY)


def rows_of(vocabulary: Mapping[str, int]) -> list[int | None]:
    """Of each of our tokens, its id in another vocabulary; None for the padding token, which ends an episode only here.

    :param vocabulary: ids of characters; those that the scratchpad does not use are left out
    :raises ValueError: if it lacks a character of the scratchpad
    """
    rows: list[int | None] = [None] * (len(CHARACTERS) + 1)
    for token, character in enumerate(CHARACTERS, start=1):
        rows[token] = vocabulary.get(character, vocabulary.get(_BYTE_LEVEL.get(character, character)))
    missing = [character for character, row in zip(CHARACTERS, rows[1:], strict=True) if row is None]
    if missing:
        raise ValueError(
            f"vocabulary must hold every character of the scratchpad, but it lacks {missing}: a model without them cannot "
            "write it; choose another one"
        )
    return rows


def check_vocabulary(vocabulary: Mapping[str, int], vocab_size: int, pad_token_id: int) -> dict[str, int]:
    """The vocabulary of a model of another task, with a name for its padding token.

    :param vocabulary: ids of characters; the padding token may be among them, under any name
    :param vocab_size: V of the model
    :param pad_token_id: its padding token
    :raises ValueError: if a token has no name or two, an id is not in [0, V), or a token is not one character
    """
    complete = dict(vocabulary) if pad_token_id in vocabulary.values() else {PAD: pad_token_id, **vocabulary}
    for token in complete.values():
        between("each id of vocabulary", token, 0, vocab_size, "pass the vocabulary of this model", ends="[)")
    if len(complete) != vocab_size or len(set(complete.values())) != vocab_size:
        raise ValueError(
            f"vocabulary must name each of the model's {vocab_size} tokens once, but it names {len(set(complete.values()))} in "
            f"{len(complete)} entries: pass the vocabulary of this model"
        )
    long = [name for name, token in complete.items() if len(name) != 1 and token != pad_token_id]
    if long:
        raise ValueError(
            f"vocabulary must hold single characters, but it holds {long[:5]}: only padding may have a longer name"
        )
    return complete
