"""Write a model, an agent or a nanoGPT checkpoint as a plain GPT-2 folder."""

from collections.abc import Mapping
from pathlib import Path

from transformers import GPT2LMHeadModel

from addition_gym import PAD_TOKEN_ID, VOCAB_SIZE
from addition_gym.checks import check_digits
from agents.agent_file import load_agent_policy
from policies import GPT2Policy
from policies.model_files import save_gpt2
from policies.nanogpt import convert_nanogpt, read_nanogpt
from train.exporting.tokenizer import answer_endings, character_tokenizer, generation_config
from train.exporting.vocabulary import (
    VOCABULARY,
    check_vocabulary,
    our_vocabulary,
    read_vocabulary,
    rows_of,
    vocabulary_beside,
)
from train.run.files import write_json
from train.run.models import PRETRAINING, Model


def export_model(
    model: str | Path,
    output: str | Path,
    pretrained_digits: int | None = None,
    vocabulary: Path | None = None,
    activation: str = "gelu_new",
) -> None:
    """Write a model, an agent or a nanoGPT checkpoint as a plain GPT-2 folder.

    :param model: as for :meth:`train.run.models.Model.find`
    :param output: the folder, made if need be
    :param pretrained_digits: N; by default what is found beside the model, if anything is
    :param vocabulary: a file for :func:`train.exporting.vocabulary.read_vocabulary`: of a nanoGPT checkpoint, by default the
        one beside it; of an agent of another task, which is exported without a tokenizer otherwise
    :param activation: of a nanoGPT checkpoint, ``"gelu_new"`` or ``"gelu"``
    :raises ValueError: if there is no such model, it is damaged, or the folder already holds one
    """
    if pretrained_digits is not None:
        check_digits("pretrained_digits", pretrained_digits)
    found, temperature = Model.find(model), 1.0
    characters: dict[str, int] | None = our_vocabulary()
    if found.is_nanogpt:
        language_model = load_nanogpt(found.path, vocabulary, activation)
    else:
        policy = load_any_task(found)
        language_model, temperature = policy.language_model, policy.temperature
        characters = vocabulary_of(policy, vocabulary)
        pretrained_digits = known_digits(found) if pretrained_digits is None else pretrained_digits
    export(language_model, Path(output), str(model), characters, pretrained_digits, temperature)


def load_nanogpt(path: Path, vocabulary: Path | None, activation: str) -> GPT2LMHeadModel:
    """A nanoGPT checkpoint as a GPT-2 over our vocabulary.

    :param path: a torch file, or a folder with one
    :param vocabulary: as for :func:`read_vocabulary`; None for the one beside the checkpoint
    :param activation: ``"gelu_new"`` or ``"gelu"``
    :raises ValueError: see :mod:`train.exporting.vocabulary` and :mod:`policies.nanogpt`
    """
    state, n_head = read_nanogpt(path)
    rows = rows_of(read_vocabulary(vocabulary or vocabulary_beside(path)))
    return convert_nanogpt(state, n_head, rows, PAD_TOKEN_ID, activation)


def load_any_task(model: Model) -> GPT2Policy:
    """The policy of a model, or of an agent of any token-level task.

    :raises ValueError: if it is damaged, or a model that is not over our vocabulary
    """
    policy = load_agent_policy(model.path) if model.is_agent else model.load()
    policy.language_model.config.pad_token_id = policy.pad_token_id
    return policy


def vocabulary_of(policy: GPT2Policy, path: Path | None) -> dict[str, int] | None:
    """The vocabulary of a model: as given, ours if the model has as many tokens, or None.

    :param path: as for :func:`read_vocabulary`; None if none was given
    :raises ValueError: if it is not the vocabulary of this model
    """
    vocab_size = int(policy.language_model.config.vocab_size)
    if path is not None:
        return check_vocabulary(read_vocabulary(path), vocab_size, policy.pad_token_id)
    return our_vocabulary() if vocab_size == VOCAB_SIZE else None


def export(
    model: GPT2LMHeadModel,
    folder: Path,
    origin: str,
    vocabulary: Mapping[str, int] | None,
    pretrained_digits: int | None = None,
    temperature: float = 1.0,
) -> None:
    """Write a model as a folder that ``AutoModelForCausalLM``, ``--model`` and ``--pretrained`` take, with a tokenizer.

    :param model: its configuration gets the padding token as its end token, as in the environment
    :param folder: made if need be
    :param origin: what the model was, for the README
    :param vocabulary: token id of every character, and of the padding token; None for no tokenizer
    :param pretrained_digits: N, if known
    :param temperature: the softmax temperature at which the model was trained, which a plain model does not apply
    :raises ValueError: if the folder already holds a model
    """
    if (folder / "config.json").exists():
        raise ValueError(f"output must not hold a model yet, but {str(folder)!r} does: choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    config, pad_token_id = model.config, int(model.config.pad_token_id)
    is_addition = vocabulary == our_vocabulary()
    config.eos_token_id = pad_token_id
    model.generation_config = generation_config(pad_token_id, config.n_positions, answer_endings() if is_addition else ())
    save_gpt2(model, folder)
    if vocabulary is not None:
        write_json(folder / VOCABULARY, vocabulary)
        character_tokenizer(vocabulary, pad_token_id, config.n_positions).save_pretrained(folder)
    if pretrained_digits is not None:
        write_json(folder / PRETRAINING, {"digits": pretrained_digits})
    text = _readme(model, origin, pretrained_digits, temperature) + (_ADDITION if is_addition else "")
    (folder / "README.md").write_text(text, encoding="utf-8")


def _readme(model: GPT2LMHeadModel, origin: str, pretrained_digits: int | None, temperature: float) -> str:
    config = model.config
    n = "" if pretrained_digits is None else f" Pre-trained on operands of 1 to {pretrained_digits} digits."
    softmax = "" if temperature == 1 else f" Its softmax temperature is {temperature}: divide the logits by it before sampling."
    return f"""# A GPT-2 that writes one character at a time

Exported by `addition-gym export` from `{origin}`: {config.n_layer} layers, {config.n_head} heads, width
{config.n_embd}, {config.n_positions} positions, {model.num_parameters():,} parameters.{n}{softmax}
"""


_ADDITION = """
It adds two numbers on a scratchpad:

```python
from transformers import pipeline

solve = pipeline("text-generation", ".")
print(solve("Input:\\n34+7\\nTarget:")[0]["generated_text"])
```

A text ends with the answer, the line after `</scratch>`. The model was not trained to write an end: `generation_config.json`
makes the end token follow the answer's line break (`sequence_bias`). A line that is not digits with single spaces between them
is no right answer, and generation may continue after it.

The padding token is also the end token. Padding is on the left, as `generate` wants it. A forward pass of GPT-2 then needs
`position_ids`, `(attention_mask.cumsum(-1) - 1).clamp(min=0)`; with padding on the right (`padding_side="right"`) it does not.
"""


def known_digits(model: Model) -> int | None:
    """N of a model; None if nothing says it, since an export can do without."""
    try:
        return model.pretrained_digits
    except ValueError:
        return None
