import re
from functools import reduce

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from addition_gym.tasks import MixedParity

TASK = MixedParity()
bit_strings = st.text("01", min_size=1, max_size=16)


def is_odd(bits: str) -> str:
    """The answer by another way than the task's: the ones cancel in pairs."""
    ones = bits.replace("0", "")
    return str(len(re.sub("11", "", ones)))


def test_the_example_of_the_manual():
    assert TASK.prompt("0110") == "a0b1c1d0:"
    assert TASK.solution("0110") == ">a00b11c10d00=0\n"
    assert TASK.at_once("0110") == "=0\n"


@given(bit_strings)
def test_answers_and_chains_by_an_oracle(bits):
    chain = re.fullmatch(r">((?:[a-p][01][01])+)=([01])\n", TASK.solution(bits))
    assert chain is not None
    assert chain[1][::3] == "abcdefghijklmnop"[: len(bits)]
    assert chain[1][1::3] == bits
    assert list(chain[1][2::3]) == [is_odd(bits[: index + 1]) for index in range(len(bits))]
    assert TASK.expected(bits) == chain[2] == is_odd(bits)
    assert TASK.is_correct(TASK.at_once(bits), bits)
    assert not TASK.is_correct(f"={1 - int(is_odd(bits))}\n", bits)
    assert reduce(lambda a, b: a ^ b, map(int, bits)) == int(is_odd(bits))


@pytest.mark.parametrize(
    ("completion", "success", "first_error"),
    [
        ("=0\n", True, -1),
        ("=1\n", False, 1),
        (">a00b11c10d00=0\n", True, -1),
        (">a00b10c11d01=1\n", False, 6),
        (">a00=0\n", True, 4),
        ("\n\n:=0\n", True, 0),
        ("=0=\n", False, 2),
        ("=\n", False, 1),
    ],
)
def test_either_text_is_right(completion, success, first_error):
    env = gym.make("MixedParity-v0")
    env.reset(options={"problem": "0110"})
    for token in TASK.vocabulary.encode(completion):
        _, reward, terminated, _, info = env.step(token)
    assert terminated
    assert (info["is_success"], info["first_error"]) == (success, first_error)
    assert reward == float(success)
    assert info["critical_tokens"] == (len("a0b1c1d0:"),)
    assert info["problem_class"] == "4"


@pytest.mark.parametrize(
    ("written", "rest"),
    [
        ("=", "0\n"),
        (">a01", "b10c11d01=1\n"),  # a wrong parity is carried on
        (">a00b0", "0c11d01=1\n"),  # and so is a wrong bit
        (">a00b11=", "1\n"),  # closed too early
        (">a00b11c", "10d00=0\n"),
        ("=0\n", ""),
    ],
)
def test_errors_are_taken_as_the_truth(written, rest):
    assert TASK.continuation("a0b1c1d0:" + written) == rest


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_share_of_chains_is_a_dial_for_long_strings_only(share):
    task = MixedParity(chain_share=share).pretraining
    rng = np.random.default_rng(0)
    chains = {True: [], False: []}
    for _ in range(4000):
        problem = task.sample(rng)
        chains[len(problem) > 10].append(task.demonstration(problem, rng).startswith(">"))
    assert np.mean(chains[False]) == pytest.approx(0.95, abs=0.02)
    assert np.mean(chains[True]) == pytest.approx(share, abs=0.04)
    assert {len(task.sample(rng)) for _ in range(500)} == set(range(1, 17))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_lies_between_0_and_1(share):
    with pytest.raises(ValueError, match=r"^chain_share must"):
        gym.make("MixedParity-v0", chain_share=share)
