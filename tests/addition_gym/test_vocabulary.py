import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from addition_gym import PAD_TOKEN_ID, VOCAB_SIZE, decode, encode
from tests.addition_gym.helpers import ALPHABET, PROMPT, SOLUTION, few, many

GOLDEN = "\n +,-/0123456789:<=>ACDEINT[]aceghnprstu"
"""Token 1, token 2, ...: checkpoints depend on this order, so this line must never change."""

texts = st.text(alphabet=GOLDEN)


def test_order_of_the_tokens_never_changes():
    assert VOCAB_SIZE == 41
    assert PAD_TOKEN_ID == 0
    assert encode(GOLDEN).tolist() == list(range(1, 41))
    assert decode(np.arange(41)) == GOLDEN


def test_the_tokens_of_a_known_text():
    assert encode("A->2\n").tolist() == [21, 5, 20, 9, 1]


def test_vocabulary_is_the_characters_of_the_texts():
    every_digit = "0123456789"
    assert set(ALPHABET) == set(PROMPT + SOLUTION + every_digit)
    assert len(ALPHABET) == len(set(ALPHABET))


@many
@given(texts)
def test_decode_inverts_encode(text):
    tokens = encode(text)
    assert tokens.dtype == np.int64
    assert tokens.shape == (len(text),)
    assert decode(tokens) == text


@few
@given(texts, st.data())
def test_decode_leaves_padding_out(text, data):
    tokens = encode(text).tolist()
    for position in data.draw(st.lists(st.integers(0, len(tokens)), max_size=5)):
        tokens.insert(position, PAD_TOKEN_ID)
    assert decode(tokens) == text


def test_decode_takes_lists_and_small_integers():
    assert decode(encode("4 1 2").tolist()) == "4 1 2"
    assert decode(encode("4 1 2").astype(np.uint8)) == "4 1 2"
    assert decode([]) == ""


@pytest.mark.parametrize("character", ["\0", "\t", "?", "x", "é", "\u4e00", "\U0001f600"])
def test_encode_names_the_unknown_character(character):
    with pytest.raises(ValueError, match=r"^text must") as error:
        encode(f"12{character}3")
    assert repr(character) in str(error.value)
    assert "character 2" in str(error.value)


@pytest.mark.parametrize("tokens", [[1.0, 2.0], ["a"], [True, False], [None]])
def test_decode_refuses_what_is_no_integer(tokens):
    with pytest.raises(TypeError, match=r"^tokens must be integers"):
        decode(tokens)


@pytest.mark.parametrize("token", [-1, 41, 10**6])
def test_decode_refuses_ids_out_of_range(token):
    with pytest.raises(ValueError, match=rf"^tokens must lie in \[0, 41\).*{token}"):
        decode([1, token])


@pytest.mark.parametrize("tokens", [np.ones((2, 3), dtype=int), np.int64(3)])
def test_decode_refuses_other_shapes(tokens):
    with pytest.raises(ValueError, match=r"^tokens must have shape \(n,\)"):
        decode(tokens)
