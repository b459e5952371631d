"""Write a model, an agent or a nanoGPT checkpoint as a plain GPT-2 folder."""

from collections.abc import Mapping
from pathlib import Path

from transformers import GPT2LMHeadModel

from addition_gym import PAD_TOKEN_ID
from addition_gym.vocabulary import CHARACTERS
from policies.model_files import save_gpt2
from policies.nanogpt import convert_nanogpt, read_nanogpt
from policies.safe_files import read_json
from train.run.files import write_json
from train.run.models import PRETRAINING, Model

VOCABULARY = "vocab.json"
"""In a folder: token id of every character."""

PAD = "<pad>"
"""The padding token's name there."""

_BYTE_LEVEL = {" ": "Ġ", "\n": "Ċ"}
"""How GPT-2's own tokenizer spells the two characters that cannot be seen."""


def our_vocabulary() -> dict[str, int]:
    """Token id of every character, and of ``PAD``."""
    return {PAD: PAD_TOKEN_ID, **{character: token for token, character in enumerate(CHARACTERS, start=1)}}


def read_vocabulary(path: Path) -> dict[str, int]:
    """The ids of a character tokenizer.

    :param path: JSON, ``{character: id}``; space and line break may be spelt as GPT-2's tokenizer does
    :raises ValueError: if there is no such file, or it is no such dict
    """
    if not path.is_file():
        raise ValueError(
            f"vocabulary must be a JSON file with the id of every character, but {str(path)!r} does not exist: write one, or "
            "pass --vocabulary. nanoGPT's meta.pkl is a pickle, which can run any code, and is not read: where you trust it, "
            "json.dump its 'stoi'"
        )
    content = read_json(path, "vocabulary")
    if not all(type(token) is int for token in content.values()):
        raise ValueError(f"vocabulary must be a JSON object of integers, but {str(path)!r} is not: write {{character: id}}")
    return content


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


def load_nanogpt(path: Path, vocabulary: Path | None, activation: str) -> GPT2LMHeadModel:
    """A nanoGPT checkpoint as a GPT-2 over our vocabulary.

    :param path: a torch file, or a folder with one
    :param vocabulary: as for :func:`read_vocabulary`; None for the ``vocab.json`` beside the checkpoint
    :param activation: ``"gelu_new"`` or ``"gelu"``
    :raises ValueError: see :func:`read_vocabulary`, :func:`rows_of` and :mod:`policies.nanogpt`
    """
    state, n_head = read_nanogpt(path)
    beside = (path if path.is_dir() else path.parent) / VOCABULARY
    rows = rows_of(read_vocabulary(vocabulary or beside))
    return convert_nanogpt(state, n_head, rows, PAD_TOKEN_ID, activation)


def export(model: GPT2LMHeadModel, folder: Path, origin: str, pretrained_digits: int | None, temperature: float = 1.0) -> None:
    """Write a model as a folder that ``GPT2LMHeadModel.from_pretrained``, ``--model`` and ``--pretrained`` take.

    :param model: over our vocabulary
    :param folder: made if need be
    :param origin: what the model was, for the README
    :param pretrained_digits: N, if known
    :param temperature: the softmax temperature at which the model was trained, which a plain model does not apply
    :raises ValueError: if the folder already holds a model
    """
    if (folder / "config.json").exists():
        raise ValueError(f"output must not hold a model yet, but {str(folder)!r} does: choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    save_gpt2(model, folder)
    write_json(folder / VOCABULARY, our_vocabulary())
    if pretrained_digits is not None:
        write_json(folder / PRETRAINING, {"digits": pretrained_digits})
    (folder / "README.md").write_text(_readme(model, origin, pretrained_digits, temperature), encoding="utf-8")


def _readme(model: GPT2LMHeadModel, origin: str, pretrained_digits: int | None, temperature: float) -> str:
    config = model.config
    n = "" if pretrained_digits is None else f" Pre-trained on operands of 1 to {pretrained_digits} digits."
    softmax = "" if temperature == 1 else f" Its softmax temperature is {temperature}: divide the logits by it before sampling."
    return f"""# A GPT-2 that adds two numbers on a scratchpad

Exported by `python -m train.export` of addition-gym from `{origin}`: {config.n_layer} layers, {config.n_head} heads, width
{config.n_embd}, {config.n_positions} positions, {model.num_parameters():,} parameters.{n}{softmax}

One token a character; `{VOCABULARY}` holds their ids. Greedy decoding:

```python
import json
import torch
from transformers import GPT2LMHeadModel

model = GPT2LMHeadModel.from_pretrained(".")
ids = json.load(open("{VOCABULARY}"))
characters = {{token: character for character, token in ids.items()}}
text = "Input:\\n34+7\\nTarget:"
prompt = torch.tensor([[ids[character] for character in text]])
tokens = model.generate(prompt, do_sample=False, max_new_tokens=200, pad_token_id={PAD_TOKEN_ID})
print("".join(characters[int(token)] for token in tokens[0]))
```

The completion ends with the line after `</scratch>`; what follows it means nothing.
"""


def known_digits(model: Model) -> int | None:
    """N of a model; None if nothing says it, since an export can do without."""
    try:
        return model.pretrained_digits
    except ValueError:
        return None
