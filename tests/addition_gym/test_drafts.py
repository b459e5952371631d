"""Drafts of any text: right ones for right texts, consistent ones for wrong texts."""

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from addition_gym import PAD_TOKEN_ID, VOCAB_SIZE, decode, encode, prompt, solution
from addition_gym.drafts import continuation, draft
from addition_gym.vocabulary import CHARACTERS

operands = st.integers(0, 10**9)
texts = st.text(CHARACTERS, max_size=80)


@given(operands, operands, st.data())
def test_the_draft_of_a_beginning_of_the_solution_is_the_rest(a: int, b: int, data: st.DataObject) -> None:
    right = solution(a, b)
    cut = data.draw(st.integers(0, len(right)))
    assert continuation(prompt(a, b) + right[:cut]) == right[cut:]


@given(operands, operands, texts, st.data())
def test_it_never_fails_on_a_text_with_errors(a: int, b: int, noise: str, data: st.DataObject) -> None:
    right = solution(a, b)
    start = data.draw(st.integers(0, len(right)))
    end = data.draw(st.integers(start, len(right)))
    text = prompt(a, b) + right[:start] + noise + right[end:]
    for cut in (len(text), data.draw(st.integers(0, len(text)))):
        assert set(continuation(text[:cut])) <= set(CHARACTERS)


@given(st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=60))
def test_it_never_fails_on_any_tokens(tokens: list[int]) -> None:
    draft(np.array(tokens, dtype=np.int64))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("\n<scratch>\n[3,4] +", " [6,7] , A=[] , C=0 , 4+7+0=11 , A->1 , C->1\n[3] + [6] , A=[1] , C=1"),  # stopped early
        ("\n<scratch>\n[3,4,5,", "0] + [6,7] , A=[] , C=0 , 0+7+0=7 , A->7 , C->0\n[3,4,5] + [6]"),  # continued a list
        ("\n<scratch>\n[3,4,9", "] + [6,7] , A=[] , C=0 , 9+7+0=16 , A->6 , C->1\n[3,4] + [6]"),  # wrong copied digit
        ("\n<scratch>\n[3,4,5] + [6,7] , A=[] , C=1", " , 5+7+1=13 , A->3 , C->1\n[3,4]"),  # wrong carry
        ("\n<scratch>\n[3,4,5] + [6,7] , A=[] , C=0 , 5+7+0=13", " , A->3 , C->1\n[3,4] + [6] , A=[3]"),  # wrong sum
        ("\n<scratch>\n[] + [] , A=[] C=0 , END\n</scratch>\n", "\n"),  # the empty result of an empty list
    ],
)
def test_errors_are_taken_as_the_truth(written: str, expected: str) -> None:
    assert continuation(prompt(345, 67) + written).startswith(expected)


def test_a_consistent_error_ends_in_the_answer_that_follows_from_it() -> None:
    found = continuation(prompt(345, 67) + "\n<scratch>\n[3,4]")
    assert found.endswith("[] + [] , A=[0,1] C=1 , END\n</scratch>\n1 0 1\n")  # 34 + 67


def test_nothing_follows_what_is_complete_or_no_problem() -> None:
    for text in ("", "Input:\n1+", prompt(1, 2)[:-1], prompt(1, 2) + solution(1, 2)):
        assert continuation(text) == ""
        assert (draft(encode(text)) == PAD_TOKEN_ID).all()


def test_the_environments_have_it() -> None:
    scalar, lanes = gym.make("ScratchpadAdd-v0", digits=2), gym.make_vec("ScratchpadAdd-v0", num_envs=3, digits=2)
    for env in (scalar, lanes):
        obs, info = env.reset(seed=0)
        found = np.atleast_2d(env.unwrapped.draft(obs))
        problems = [info["operands"]] if env is scalar else [tuple(pair) for pair in info["operands"]]
        assert [decode(row) for row in found] == [solution(*problem) for problem in problems]
