import math
from collections import Counter, defaultdict

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from addition_gym.tasks import PathStar

TASK = PathStar()
EXAMPLE = "ab,ca,de,cd>e:c"
tasks = st.builds(
    PathStar,
    size=st.integers(1, 6),
    distribution=st.sampled_from(["identical", "up_to"]),
    pretrained_size=st.integers(1, 6),
    arms=st.integers(2, 4),
    easy_share=st.sampled_from([0.0, 0.5, 1.0]),
)


def arms_of(problem: str) -> list[str]:
    """The arms by another way than the task's: outwards from the centre, edge by edge."""
    edges = problem.split(">")[0].split(",")
    neighbours = defaultdict(list)
    for start, end in edges:
        neighbours[start].append(end)
    arms = []
    for node in neighbours[problem[-1]]:
        arm = node
        while neighbours[arm[-1]]:
            (following,) = neighbours[arm[-1]]
            arm += following
        arms.append(arm)
    return arms


def test_the_example_of_the_manual():
    assert TASK.check(EXAMPLE) == TASK.prompt(EXAMPLE) == EXAMPLE
    assert TASK.solution(EXAMPLE) == "de\n"
    assert TASK.vocabulary.size == 31


@given(tasks, st.integers(0, 2**32 - 1))
def test_stars_and_ways_by_an_oracle(task, seed):
    problem = task.sample(np.random.default_rng(seed))
    assert task.check(problem) == problem
    arms, goal = arms_of(problem), problem[-3]
    lengths = {len(arm) for arm in arms}
    assert len(arms) == task.arms
    assert len(lengths) == 1
    assert lengths <= ({task.size} if task.distribution == "identical" else set(range(1, task.size + 1)))
    assert len(set("".join(arms))) == task.arms * len(arms[0])
    (way,) = (arm[: arm.index(goal) + 1] for arm in arms if goal in arm)
    assert task.solution(problem) == way + "\n"
    assert task.problem_class(problem) == str(len(way))
    assert len(way) == len(arms[0]) or (len(way) <= task.pretrained_size and task.easy_share > 0)
    for arm in arms:
        assert task.is_correct(arm[: len(way)] + "\n", problem) == (goal in arm)


@pytest.mark.parametrize(
    ("completion", "success", "first_error"),
    [
        ("de\n", True, -1),
        ("ab\n", False, 0),
        ("d\n", False, 1),
        ("e\n", False, 0),
        ("de,\n", False, 2),
        ("\n", False, 0),
    ],
)
def test_only_the_whole_way_is_right(completion, success, first_error):
    env = gym.make("PathStar-v0", reward="signed")
    env.reset(options={"problem": EXAMPLE})
    for token in TASK.vocabulary.encode(completion):
        _, reward, terminated, _, info = env.step(token)
    assert terminated
    assert (info["is_success"], info["first_error"]) == (success, first_error)
    assert reward == (1 if success else -1)
    assert info["critical_tokens"] == (len(EXAMPLE),)
    assert info["problem_class"] == "2"


@pytest.mark.parametrize(
    ("written", "rest"),
    [
        ("", "de\n"),
        ("d", "e\n"),
        ("a", "b\n"),  # a wrong arm is followed to its end
        ("ab", "\n"),
        ("ad", "e\n"),
        ("z:", "\n"),
        ("de\n", ""),
        ("a\n", ""),
    ],
)
def test_errors_are_taken_as_the_truth(written, rest):
    assert TASK.continuation(EXAMPLE + written) == rest


def test_a_draft_of_a_circle_ends():
    assert TASK.continuation("ab,ba,ce>e:ca").endswith("\n")


@pytest.mark.parametrize("text", ["", "ab", "ab,ca>b:", "ab,ca,de>e:c", "ab,ba>a:c", ">e:c", "ab,,ca>b:c"])
def test_what_is_no_problem_has_no_draft(text):
    assert TASK.continuation(text) == ""


@pytest.mark.parametrize(
    "problem",
    [
        "ab,ca,de,cd>e:",
        "ab,ca,de,cd>c:c",  # the centre is no goal
        "ab,ca,de,cd>z:c",  # nor is what is no node
        "ab,ca,de>b:c",  # an edge apart
        "ab,ca,cb>b:c",  # two ways
        "ab,ad,ca>b:c",  # an arm that forks
        "ab,ca,ac>b:c",  # a way back to the centre
        "ab,ca,ab>b:c",
        "ab,ca,>b:c",
        "ab,CA>b:C",
        "ab,ca>b:c\n",
    ],
)
def test_what_is_no_star_is_refused(problem):
    with pytest.raises(ValueError, match=r"^problem must be a star"):
        gym.make("PathStar-v0").reset(options={"problem": problem})


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_easy_graphs_is_a_dial(share):
    task, rng = PathStar(size=4, easy_share=share), np.random.default_rng(0)
    steps = [
        (len(arms_of(problem)[0]), int(task.problem_class(problem))) for problem in (task.sample(rng) for _ in range(3000))
    ]
    assert {length for length, _ in steps} == {3, 4}
    easy = Counter(taken for length, taken in steps if taken < length)
    assert set(easy) <= {1, 2}
    assert easy.total() / 3000 == pytest.approx(share, abs=0.04)
    assert easy[1] / 3000 == pytest.approx(share / 2, abs=0.04)


def test_no_place_in_the_prompt_gives_the_arm_away():
    """The right neighbour is the first, second, .. of the centre's neighbours in the prompt equally often."""
    rng, ranks = np.random.default_rng(0), Counter()
    for _ in range(2000):
        problem = TASK.sample(rng)
        ranks[[arm[0] for arm in arms_of(problem)].index(TASK.solution(problem)[0])] += 1
    assert all(count == pytest.approx(500, abs=5 * math.sqrt(500)) for count in ranks.values())
    assert set(ranks) == {0, 1, 2, 3}


def test_pretraining_shows_all_lengths():
    task, rng = TASK.pretraining, np.random.default_rng(0)
    assert {int(task.problem_class(task.sample(rng))) for _ in range(500)} == {1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("name", "value"),
    [("easy_share", -0.1), ("easy_share", float("nan")), ("arms", 1), ("arms", 5), ("arms", 2.0), ("size", 7)],
)
def test_a_bad_argument_of_the_star_is_named(name, value):
    with pytest.raises((TypeError, ValueError), match=rf"^{name} must"):
        gym.make("PathStar-v0", **{name: value})
