from collections import Counter

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from addition_gym.tasks import PermutationTrack

TASK = PermutationTrack()
EXAMPLE = "12,35,24"
WORKED = "12,35,24|abcde\n35,24|bacde\n24|baedc\n=bdeac\n"
problems = st.lists(st.sampled_from(["12", "13", "14", "15", "23", "24", "25", "34", "35", "45"]), min_size=1, max_size=12)


def test_the_example_of_the_manual():
    assert TASK.prompt(EXAMPLE) == "12,35,24:"
    assert TASK.solution(EXAMPLE) == WORKED
    assert TASK.vocabulary.size == 16


@given(problems)
def test_solutions_by_an_oracle(swaps):
    """Permutation matrices, multiplied."""
    where = np.eye(5, dtype=int)
    for first, second in swaps:
        swap = np.eye(5, dtype=int)
        swap[[int(first) - 1, int(second) - 1]] = swap[[int(second) - 1, int(first) - 1]]
        where = swap @ where
    objects = "".join("abcde"[row.argmax()] for row in where)
    problem = ",".join(swaps)
    assert TASK.check(problem) == problem
    assert TASK.expected(problem) == objects
    assert TASK.is_correct(f"={objects}\n", problem)
    assert not TASK.is_correct(f"={objects[::-1]}\n", problem) or objects == objects[::-1]
    lists = [line.split("|")[0] for line in TASK.solution(problem).splitlines()[:-1]]
    assert lists == [",".join(swaps[done:]) for done in range(len(swaps))]


def test_each_swap_is_as_likely():
    rng = np.random.default_rng(0)
    counts = Counter(swap for _ in range(2000) for swap in TASK.draw(rng, 5).split(","))
    assert len(counts) == 10
    assert all(count == pytest.approx(1000, abs=150) for count in counts.values())


def test_critical_tokens_are_where_a_list_goes_on_that_pretraining_saw_end():
    task, problem = PermutationTrack(size=4, pretrained_size=2), "12,13,14,15"
    assert task.solution(problem) == "12,13,14,15|abcde\n13,14,15|bacde\n14,15|cabde\n15|dabce\n=eabcd\n"
    marked = list(task.solution(problem))
    for index in task.critical_tokens(problem):
        marked[index] = "X"
    assert "".join(marked) == "12,13X14,15|abcde\n13X14,15|bacde\nX4,15|cabde\nX5|dabce\n=eabcd\n"
    assert task.critical_tokens("12,13") == []


def test_a_list_that_is_closed_too_early_is_followed():
    """Where the model stops, the draft does; the swaps that are lost do not come back."""
    draft = TASK.continuation(f"{EXAMPLE}:12,35|")
    assert draft == "abcde\n35|bacde\n=baedc\n"
    env = gym.make("PermutationTrack-v0")
    env.reset(options={"problem": EXAMPLE, "completion": "12,35|"})
    for token in TASK.vocabulary.encode(draft):
        _, reward, terminated, _, info = env.step(token)
    assert terminated
    assert reward == 0
    assert info["first_error"] == 5
    assert info["answer"] == "baedc"


@pytest.mark.parametrize(
    ("written", "rest"),
    [
        ("", WORKED),
        ("12,35,24|ab", WORKED[11:]),
        ("12,34", ",24|abcde\n34,24|bacde\n24|badce\n=bcdae\n"),  # a wrong swap is taken as the right one
        ("12,35,24|abcde\n35,24|cab", "de\n24|caedb\n=cdeab\n"),  # as are wrong objects
        ("12=ab", "cde\n"),
        ("=", "abcde\n"),
        ("35,24|bacde", "\n24|baedc\n=bdeac\n"),
        ("|abcde", "\n"),
    ],
)
def test_errors_are_taken_as_the_truth(written, rest):
    assert TASK.continuation(f"{EXAMPLE}:{written}") == rest


@pytest.mark.parametrize("text", ["", "12", "12,35", "12,:", "16:", "12;"])
def test_what_is_no_problem_has_no_draft(text):
    assert TASK.continuation(text) == ""


@pytest.mark.parametrize("written", ["nonsense\n", "12|ab\n", WORKED])
def test_after_a_line_that_is_none_or_the_answer_there_is_no_draft(written):
    assert TASK.continuation(f"{EXAMPLE}:{written}") == ""


@pytest.mark.parametrize("problem", ["21", "11", "12,", "12;13", "16", "1", ",".join(["12"] * 13)])
def test_what_is_no_list_of_swaps_is_refused(problem):
    with pytest.raises(ValueError, match=r"^problem must have 1 to 12 swaps"):
        gym.make("PermutationTrack-v0").reset(options={"problem": problem})
