"""What transformers needs to use a model by itself: a character tokenizer, and where ``generate`` stops."""

from collections.abc import Mapping, Sequence

from tokenizers import Regex, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import GenerationConfig, PreTrainedTokenizerFast

from addition_gym import encode

_CERTAIN = 1e4
"""Added to a logit, this leaves the other tokens no probability."""


def character_tokenizer(vocabulary: Mapping[str, int], pad_token_id: int, n_positions: int) -> PreTrainedTokenizerFast:
    """One token per character; padding, on the left as ``generate`` wants it, is also the end of a text.

    :param vocabulary: token id of every character, and of the padding token
    :param pad_token_id: the padding token
    :param n_positions: longest text, in tokens
    :return: a tokenizer that refuses characters it does not know
    """
    tokenizer = Tokenizer(WordLevel(dict(vocabulary)))
    tokenizer.pre_tokenizer = Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = Fuse()
    pad = next(name for name, token in vocabulary.items() if token == pad_token_id)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        eos_token=pad,
        padding_side="left",
        model_max_length=n_positions,
        clean_up_tokenization_spaces=False,
    )


def generation_config(pad_token_id: int, n_positions: int, endings: Sequence[Sequence[int]] = ()) -> GenerationConfig:
    """Greedy, until the end token or the last position.

    :param pad_token_id: the padding token, which ends a text
    :param n_positions: longest text, in tokens
    :param endings: what the end token follows, by its last tokens
    """
    sequence_bias = [[[*ending, pad_token_id], _CERTAIN] for ending in endings]
    return GenerationConfig(
        pad_token_id=pad_token_id,
        eos_token_id=pad_token_id,
        do_sample=False,
        max_length=n_positions,
        sequence_bias=sequence_bias or None,
    )


def answer_endings() -> list[list[int]]:
    """How a scratchpad's result line ends: in a digit after a space or a line break, and a line break. No other line of a
    scratchpad does, so the end needs no look further back."""
    return [encode(f"{before}{digit}\n").tolist() for before in " \n" for digit in range(10)]
