"""Episodes that start in the middle of a scratchpad equal those that wrote it token by token."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from addition_gym import ScratchpadAddEnv, ScratchpadAddVectorEnv, encode, prompt, solution
from tests.addition_gym.helpers import SOLUTION, few, fragments, mutate

PROBLEM = (345, 67)


def texts(seed: int, fragment: str) -> list[str]:
    """Ways to end an episode of 345+67, all within the budget."""
    mutant = mutate(SOLUTION, np.random.default_rng(seed))
    return [SOLUTION, mutant, f"{fragment}\n</scratch>\n4 1 2\n", fragment]


def cut(text: str, share: float) -> str:
    """A part of the text after which the episode continues."""
    env = ScratchpadAddEnv()
    env.reset(options={"operands": PROBLEM})
    for index, token in enumerate(encode(text)):
        if env.step(token)[2]:
            return text[: int(share * index)]
    return text[: int(share * len(text))]


@few
@given(st.integers(0, 2**32 - 1), fragments, st.floats(0, 1))
def test_it_equals_writing_the_text(seed, fragment, share):
    for text in texts(seed, fragment):
        written = cut(text, share)
        slow, fast, lanes = ScratchpadAddEnv(), ScratchpadAddEnv(), ScratchpadAddVectorEnv(2)
        obs, _ = slow.reset(options={"operands": PROBLEM})
        for token in encode(written):
            obs, *_ = slow.step(token)
        np.testing.assert_array_equal(fast.reset(options={"operands": PROBLEM, "completion": written})[0], obs)
        both = {"operands": [PROBLEM, (1, 2)], "completion": [written, ""]}
        np.testing.assert_array_equal(lanes.reset(options=both)[0][0], obs)
        for token in [*encode(text[len(written) :]), 0]:
            expected, given, of_lanes = slow.step(token), fast.step(token), lanes.step(np.array([token, 1]))
            assert given[1:] == expected[1:]
            assert (of_lanes[1][0], of_lanes[2][0]) == expected[1:3]
            if expected[2]:
                final = {key: values[0] for key, values in of_lanes[4]["final_info"].items() if key[0] != "_"}
                assert final == expected[4]
                break
            np.testing.assert_array_equal(given[0], expected[0])
        assert expected[2]


def test_the_next_episode_starts_at_a_prompt():
    env, lanes = ScratchpadAddEnv(), ScratchpadAddVectorEnv(1)
    env.reset(seed=0, options={"operands": PROBLEM, "completion": SOLUTION[:-1]})
    lanes.reset(seed=0, options={"operands": [PROBLEM], "completion": [SOLUTION[:-1]]})
    obs, rewards, *_ = lanes.step(encode("\n"))
    assert rewards[0] == env.step(encode("\n")[0])[1] == 1
    np.testing.assert_array_equal(obs[0], env.reset()[0])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"completion": "\n"}, "completion needs operands"),
        ({"operands": PROBLEM, "completion": 3}, "completion must be a string"),
        ({"operands": PROBLEM, "completion": "\nhello"}, "text must hold only characters"),
        ({"operands": PROBLEM, "completion": SOLUTION}, "completion must leave something to write .*'4 1 2'"),
        ({"operands": PROBLEM, "completion": "1" * 1000}, "completion must leave something to write"),
    ],
)
def test_a_bad_completion_is_refused(options, error):
    with pytest.raises((TypeError, ValueError), match=error):
        ScratchpadAddEnv().reset(options=options)
    with pytest.raises((TypeError, ValueError), match=error):
        ScratchpadAddVectorEnv(1).reset(options={name: [value] for name, value in options.items()})


@pytest.mark.parametrize("completion", ["\n", ["\n"], [1, 2], 3])
def test_one_completion_per_lane(completion):
    with pytest.raises((TypeError, ValueError), match=r"^completion must be a "):
        ScratchpadAddVectorEnv(2).reset(options={"operands": [PROBLEM, PROBLEM], "completion": completion})


def test_the_budget_is_that_of_prompt_and_completion_together():
    env = ScratchpadAddEnv()
    room = env.max_tokens - len(prompt(*PROBLEM))
    env.reset(options={"operands": PROBLEM, "completion": " " * (room - 1)})
    assert env.step(encode("1")[0])[2]
    assert solution(*PROBLEM) == SOLUTION
