"""What holds for the environments of all tasks, whatever they ask."""

import json
import pickle
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from addition_gym.tasks import TASKS, Task

GOLDEN = Path(__file__).with_name("golden_problems.json")
"""The first problems of each task; written again by ``python -m tests.addition_gym.tasks.test_every_task``, which breaks every
user's seeds. Those of addition are elsewhere."""
NEW = sorted(TASKS.keys() - {"ScratchpadAdd-v0"})
PAD = 0

every_task = pytest.mark.parametrize("env_id", NEW)


def small(env_id: str, **arguments) -> Task:
    """A task that goes from the easiest problems to moderate ones."""
    return TASKS[env_id](**{"size": 6, "pretrained_size": 3, "distribution": "up_to"} | arguments)


def some(task: Task, count: int = 50, seed: int = 0) -> list:
    rng = np.random.default_rng(seed)
    return [task.sample(rng) for _ in range(count)]


@every_task
@pytest.mark.parametrize("arguments", [{}, {"reward": "signed", "split": "test", "render_mode": "ansi"}])
@pytest.mark.parametrize("check", [gymnasium_check_env, sb3_check_env])
def test_the_checkers_have_nothing_to_say(check, env_id, arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(gym.make(env_id, **arguments).unwrapped)


def first_problems(env_id: str) -> list[str]:
    task = gym.make(env_id).unwrapped.task
    return [task.prompt(problem) + task.solution(problem) for problem in some(task, 5)]


@every_task
def test_a_seed_gives_the_same_problems_for_ever(env_id):
    assert first_problems(env_id) == json.loads(GOLDEN.read_text())[env_id]


@every_task
@pytest.mark.parametrize("vector", [False, True])
def test_the_solution_is_rewarded(env_id, vector):
    task = small(env_id)
    env = gym.make_vec(env_id, num_envs=1) if vector else gym.make(env_id)
    for problem in some(task, 10):
        env.reset(options={"problem": [problem] if vector else problem})
        tokens = task.vocabulary.encode(task.solution(problem))
        for index, token in enumerate(tokens):
            _, reward, terminated, truncated, info = env.step(np.array([token]) if vector else token)
            assert (bool(terminated), bool(truncated)) == (index == len(tokens) - 1, False)
        assert reward == 1
        if not vector:
            assert info["is_success"] is True
            assert info["answer"] == info["expected"]
            assert info["first_error"] == -1
            assert info["text"] == task.prompt(problem) + task.solution(problem)
            assert all(len(task.prompt(problem)) <= index < len(info["text"]) for index in info["critical_tokens"])


def habits(task: Task, rng: np.random.Generator):
    """Tokens of one lane for ever: right solutions, right ones with one wrong token, noise, padding."""

    def write(problem) -> list[int]:
        tokens = task.vocabulary.encode(task.solution(problem)).tolist()
        habit = rng.integers(4)
        if habit == 1:
            tokens[rng.integers(len(tokens))] = int(rng.integers(1, task.vocabulary.size))
        if habit == 2:
            tokens = rng.integers(1, task.vocabulary.size, size=200).tolist()
        if habit == 3:
            tokens = tokens[: rng.integers(len(tokens))]
        return [*tokens, PAD]

    return write


@every_task
def test_row_i_replays_the_scalar_environment_seeded_seed_plus_i(env_id):
    arguments = {"size": 5, "pretrained_size": 2, "reward": "signed"}
    ours = gym.make_vec(env_id, num_envs=4, **arguments)
    theirs = SyncVectorEnv([lambda: gym.make(env_id, **arguments)] * 4, autoreset_mode=AutoresetMode.SAME_STEP)
    task = ours.unwrapped.task
    (our_obs, our_info), (their_obs, _) = ours.reset(seed=11), theirs.reset(seed=11)
    np.testing.assert_array_equal(our_obs, their_obs)
    write = habits(task, np.random.default_rng(0))
    waiting = [write(problem) for problem in our_info["problem"]]
    rewards_seen, ends = set(), 0
    for _ in range(400):
        actions = np.array([tokens.pop(0) for tokens in waiting])
        our_step, their_step = ours.step(actions), theirs.step(actions)
        for mine, other in zip(our_step[:4], their_step[:4], strict=True):
            np.testing.assert_array_equal(mine, other)
        for row in np.flatnonzero(our_step[2]):
            mine, other = (
                {name: values[row] for name, values in step[4]["final_info"].items()} for step in (our_step, their_step)
            )
            assert mine == other
            rewards_seen.add(float(our_step[1][row]))
            ends += 1
            waiting[row] = write(our_step[4]["problem"][row])
    assert ends > 20
    assert rewards_seen == {1.0, -1.0}


@every_task
def test_every_token_is_legal_and_padding_ends_the_episode(env_id):
    env, lanes = gym.make(env_id).unwrapped, gym.make_vec(env_id, num_envs=3)
    assert env.action_masks().all()
    assert env.action_masks().shape == (env.action_space.n,)
    assert lanes.unwrapped.action_masks().shape == (3, env.action_space.n)
    env.reset(seed=0)
    assert env.step(PAD)[1:4] == (0.0, True, False)


@every_task
def test_both_pictures_and_text_are_rendered(env_id):
    env = gym.make(env_id, render_mode="ansi")
    _, info = env.reset(seed=0)
    task = env.unwrapped.task
    env.step(task.vocabulary.encode(task.solution(info["problem"]))[0])
    assert env.render() == task.prompt(info["problem"]) + task.solution(info["problem"])[0]
    picture = gym.make(env_id, render_mode="rgb_array")
    picture.reset(seed=0)
    assert picture.render().std() > 0


@every_task
@pytest.mark.parametrize("distribution", ["identical", "up_to", "mixture"])
def test_sizes_are_those_of_the_distribution(env_id, distribution):
    """The size of a problem is that of the smallest task that has it: here, by the length of prompts."""
    task = small(env_id, distribution=distribution)
    lengths = {
        size: {len(task.prompt(problem)) for problem in some(small(env_id, size=size, distribution="identical"))}
        for size in range(1, 7)
    }
    expected = {"identical": range(6, 7), "up_to": range(1, 7), "mixture": range(4, 7)}[distribution]
    allowed = set().union(*(lengths[size] for size in expected))
    found = {len(task.prompt(problem)) for problem in some(task, 300)}
    assert found <= allowed
    for size in expected:
        assert found & lengths[size]


@every_task
def test_splits_are_disjoint_and_of_the_promised_shares(env_id):
    sets = {
        split: {task.key(p) for task in [small(env_id, split=split)] for p in some(task, 300)} for split in ("train", "test")
    }
    assert sets["train"]
    assert sets["test"]
    assert not sets["train"] & sets["test"]


@every_task
def test_the_longest_text_is_reached_and_never_passed(env_id):
    for size in range(1, 7):
        task = small(env_id, size=size, distribution="identical")
        lengths = [len(task.prompt(problem) + task.solution(problem)) for problem in some(task, 200)]
        assert max(lengths) == task.longest_text


@every_task
def test_demonstrations_are_right_answers_of_pretraining_problems(env_id):
    task = gym.make(env_id).unwrapped.task.pretraining
    assert task.split == "train"
    rng = np.random.default_rng(0)
    for problem in some(task, 200):
        assert task.is_correct(task.demonstration(problem, rng), problem)


@every_task
def test_the_draft_of_a_beginning_of_the_solution_is_the_rest(env_id):
    task = small(env_id)
    for problem in some(task):
        prompt, right = task.prompt(problem), task.solution(problem)
        for cut in range(len(right) + 1):
            assert task.continuation(prompt + right[:cut]) == right[cut:]


@every_task
def test_drafts_of_any_tokens_are_tokens(env_id):
    task = small(env_id)
    rng, vocabulary = np.random.default_rng(0), task.vocabulary
    for problem in some(task, 200):
        text = task.prompt(problem) + task.solution(problem)
        cut, end = sorted(rng.integers(len(text) + 1, size=2))
        noise = vocabulary.decode(rng.integers(0, vocabulary.size, size=rng.integers(6)))
        for given in (text[:cut] + noise + text[end:], text[:cut] + noise, noise):
            drafts = task.draft(np.stack([vocabulary.encode(given)] * 2))
            assert drafts.shape[0] == 2
            assert set(vocabulary.decode(drafts[0])) <= set(vocabulary.characters)


@every_task
def test_a_task_is_a_value(env_id):
    assert pickle.loads(pickle.dumps(small(env_id))) == small(env_id)
    assert small(env_id, size=4) != small(env_id)
    assert gym.spec(env_id).to_json()


@every_task
@pytest.mark.parametrize(
    ("name", "value"),
    [("size", 0), ("size", 10**5), ("size", 2.0), ("pretrained_size", 6), ("distribution", "varying"), ("split", "dev")],
)
def test_a_bad_argument_is_named(env_id, name, value):
    with pytest.raises((TypeError, ValueError), match=rf"^{name} must"):
        gym.make(env_id, **{"size": 6, "pretrained_size": 3} | {name: value})


@every_task
@pytest.mark.parametrize("problem", [7, "x", (1,), (), "", object(), 1.5, ((1, 2), "a"), [[]]])
def test_what_is_no_problem_is_refused(env_id, problem):
    with pytest.raises((TypeError, ValueError), match=r"^problem must"):
        gym.make(env_id).reset(options={"problem": problem})


def test_an_unknown_argument_is_named():
    with pytest.raises(TypeError, match="'digits' is neither"):
        gym.make(NEW[0], digits=3)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({env_id: first_problems(env_id) for env_id in NEW}, indent=1) + "\n")
