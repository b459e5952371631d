import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from addition_gym import (
    PAD_TOKEN_ID,
    VOCAB_SIZE,
    ScratchpadAddEnv,
    ScratchpadAddVectorEnv,
    decode,
    encode,
    prompt,
    solution,
)
from tests.addition_gym.helpers import PROMPT, SOLUTION, Writer, fragments

arguments = st.integers(1, 3).flatmap(
    lambda digits: st.fixed_dictionaries(
        {
            "digits": st.just(digits),
            "distribution": st.sampled_from(["identical", "varying", "up_to", "longer", "mixture"][: 5 if digits > 1 else 4]),
            "split": st.sampled_from(["all", "train", "test"]),
            "reward": st.sampled_from(["binary", "signed"]),
        }
    )
)
habits = st.lists(st.sampled_from(Writer.HABITS) | fragments, min_size=1, max_size=4)


@settings(max_examples=40, deadline=None)
@given(arguments, st.integers(1, 4), st.integers(0, 2**40), habits, st.integers(0, 2**32))
def test_row_i_replays_the_scalar_environment_seeded_seed_plus_i(arguments, num_envs, seed, habits, writer_seed):
    vector_env = ScratchpadAddVectorEnv(num_envs, **arguments)
    envs = [ScratchpadAddEnv(**arguments) for _ in range(num_envs)]
    writers = [Writer(habits, writer_seed + row) for row in range(num_envs)]
    observations, infos = vector_env.reset(seed=seed)
    for row, env in enumerate(envs):
        obs, info = env.reset(seed=seed + row)
        writers[row].start(info["operands"])
        assert (observations[row] == obs).all()
        assert infos["operands"][row] == info["operands"]

    for _ in range(150):
        actions = np.array([writer.next() for writer in writers])
        observations, rewards, terminations, truncations, infos = vector_env.step(actions)
        assert observations in vector_env.observation_space
        assert not truncations.any()
        if not terminations.any():
            assert infos == {}
        for row, env in enumerate(envs):
            obs, reward, terminated, _, info = env.step(actions[row])
            assert rewards[row] == reward
            assert terminations[row] == terminated
            if terminated:
                assert (infos["final_obs"][row] == obs).all()
                assert {key: infos["final_info"][key][row] for key in info} == info
                obs, info = env.reset()
                writers[row].start(info["operands"])
                assert infos["operands"][row] == info["operands"]
            assert (observations[row] == obs).all()
        for key in ("final_obs", "final_info", "operands") if terminations.any() else ():
            assert (infos[f"_{key}"] == terminations).all()


def assert_same(ours: Any, theirs: Any) -> None:
    """Equal values, types and shapes, all the way down."""
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert set(ours) == set(theirs)
        for key in ours:
            assert_same(ours[key], theirs[key])
    elif isinstance(ours, tuple):
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    elif isinstance(ours, np.ndarray):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        if ours.dtype == object:
            for one, other in zip(ours, theirs, strict=True):
                assert_same(one, other)
        else:
            assert (ours == theirs).all()
    else:
        assert ours == theirs


def test_it_equals_the_vectorisation_of_gymnasium():
    arguments = {"digits": 2, "reward": "signed"}
    ours = gym.make_vec("ScratchpadAdd-v0", num_envs=5, **arguments)
    theirs = SyncVectorEnv([lambda: gym.make("ScratchpadAdd-v0", **arguments)] * 5, autoreset_mode=AutoresetMode.SAME_STEP)
    assert ours.observation_space == theirs.observation_space
    assert ours.single_observation_space == theirs.single_observation_space
    assert ours.action_space == theirs.action_space
    assert ours.single_action_space == theirs.single_action_space
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"]

    writers = [Writer(list(Writer.HABITS), row) for row in range(5)]
    (our_obs, our_info), (their_obs, their_info) = ours.reset(seed=11), theirs.reset(seed=11)
    assert_same(our_obs, their_obs)
    assert_same(our_info, their_info)
    assert ours.np_random_seed == theirs.np_random_seed == (11, 12, 13, 14, 15)
    for writer, operands in zip(writers, our_info["operands"], strict=True):
        writer.start(operands)
    endings = set()
    for _ in range(600):
        actions = np.array([writer.next() for writer in writers])
        our_step, their_step = ours.step(actions), theirs.step(actions)
        assert_same(our_step, their_step)
        for row in np.flatnonzero(our_step[2]):
            spent = (our_step[4]["final_obs"][row] != PAD_TOKEN_ID).all()
            answered = our_step[4]["final_info"]["answer"][row] is not None
            endings.add((our_step[1][row], answered, spent))
            writers[row].start(our_step[4]["operands"][row])
    assert endings >= {(1, True, False), (-1, True, False), (-1, False, False), (-1, False, True)}


def test_make_vec_gives_the_native_class():
    envs = gym.make_vec("ScratchpadAdd-v0", num_envs=3, digits=2, max_tokens=200, render_mode="ansi")
    assert type(envs.unwrapped) is ScratchpadAddVectorEnv
    assert envs.num_envs == 3
    assert envs.single_observation_space.shape == (200,)
    assert envs.observation_space.shape == (3, 200)
    assert envs.action_space.shape == (3,)
    assert envs.spec.id == "ScratchpadAdd-v0"
    observations, _ = envs.reset()
    assert observations in envs.observation_space


def test_a_lane_that_ends_shows_its_next_problem_at_once():
    envs = ScratchpadAddVectorEnv(2, digits=3)
    envs.reset(seed=0, options={"operands": [(345, 67), (1, 2)]})
    tokens = encode(SOLUTION)
    for index, token in enumerate(tokens):
        blank = encode(" ")[0]
        observations, rewards, terminations, _, infos = envs.step(np.array([token, blank]))
        assert terminations.tolist() == [index == len(tokens) - 1, False]
    assert rewards.tolist() == [1, 0]
    assert decode(infos["final_obs"][0]) == PROMPT + SOLUTION
    assert infos["final_info"]["text"][0] == PROMPT + SOLUTION
    assert infos["final_info"]["is_success"].tolist() == [True, False]
    assert infos["_final_info"].tolist() == [True, False]
    assert decode(observations[0]) == prompt(*infos["operands"][0])
    assert decode(observations[1]) == prompt(1, 2) + " " * len(tokens)


def test_given_operands_take_nothing_from_the_streams():
    envs = ScratchpadAddVectorEnv(2, digits=3, max_tokens=400)
    envs.reset(seed=5)
    _, drawn = envs.reset()
    envs.reset(seed=5)
    observations, given_infos = envs.reset(options={"operands": [(345, 67), np.array([1000, 1])]})
    assert given_infos["operands"].tolist() == [(345, 67), (1000, 1)]
    assert [decode(row) for row in observations] == [PROMPT, prompt(1000, 1)]
    _, after = envs.reset()
    assert after["operands"].tolist() == drawn["operands"].tolist()


def test_returned_arrays_are_fresh():
    envs = ScratchpadAddVectorEnv(2, digits=2)
    observations, _ = envs.reset(seed=0)
    prompts = [decode(row) for row in observations]
    observations[:] = 3
    stepped, *_ = envs.step(np.array([1, 1]))
    assert [decode(row) for row in stepped] == [text + "\n" for text in prompts]
    kept = stepped.copy()
    _, _, _, _, infos = envs.step(np.array([1, PAD_TOKEN_ID]))
    final = infos["final_obs"][1].copy()
    envs.step(np.array([1, 1]))
    assert (stepped == kept).all()
    assert (infos["final_obs"][1] == final).all()


def test_the_actions_are_left_alone():
    envs = ScratchpadAddVectorEnv(2, digits=2)
    envs.reset(seed=0)
    actions = np.array([PAD_TOKEN_ID, 5])
    envs.step(actions)
    assert actions.tolist() == [PAD_TOKEN_ID, 5]


def operands_of(envs: ScratchpadAddVectorEnv, **reset) -> list[tuple[int, int]]:
    return envs.reset(**reset)[1]["operands"].tolist()


def test_every_lane_may_have_its_own_seed():
    envs = ScratchpadAddVectorEnv(3, digits=8)
    drawn = operands_of(envs, seed=[7, 3, 7])
    assert envs.np_random_seed == (7, 3, 7)
    assert drawn[0] == drawn[2] != drawn[1]
    assert drawn[1] == ScratchpadAddEnv(digits=8).reset(seed=3)[1]["operands"]


def test_a_lane_without_a_seed_continues_its_stream():
    envs = ScratchpadAddVectorEnv(2, digits=8)
    operands_of(envs, seed=[4, 5])
    second = operands_of(envs)
    operands_of(envs, seed=[4, 5])
    mixed = operands_of(envs, seed=[None, 5])
    assert mixed[0] == second[0]
    assert mixed[1] == operands_of(envs, seed=5)[0]
    assert envs.np_random_seed == (5, 6)


def test_without_any_seed_the_lanes_differ():
    envs = ScratchpadAddVectorEnv(4, digits=12, distribution="identical")
    assert len(set(operands_of(envs))) == 4
    assert len(set(envs.np_random_seed)) == 4
    assert len(envs.np_random) == 4


def test_reset_restarts_every_lane():
    envs = ScratchpadAddVectorEnv(2, digits=2)
    envs.reset(seed=1)
    for token in encode("\n</scratch>\n"):
        envs.step(np.array([token, token]))
    envs.reset(options={"operands": [(1, 2), (3, 4)]})
    for token in encode(solution(1, 2))[:-1]:
        _, _, terminations, _, _ = envs.step(np.array([token, 1]))
        assert not terminations.any()


def problems_by_lane(envs: ScratchpadAddVectorEnv, lengths: list[int], **reset) -> list[list[tuple[int, int]]]:
    """What every lane is asked from a reset on; lane i ends an episode after every ``lengths[i]`` steps."""
    asked = [[pair] for pair in operands_of(envs, **reset)]
    for step in range(1, 13):
        ends = np.array([step % length == 0 for length in lengths])
        *_, infos = envs.step(np.where(ends, PAD_TOKEN_ID, 1))
        for row in np.flatnonzero(ends):
            asked[row].append(infos["operands"][row])
    return asked


def test_lanes_of_a_group_ask_the_same_problems():
    """From every reset on, however many episodes each lane has played, and the group's stream is that of its first lane."""
    envs = ScratchpadAddVectorEnv(6, digits=8, n_samples_per_problem=3)
    assert envs.reset(seed=7)[0].shape == (6, envs.max_tokens)
    for reset in (dict(seed=7), {}, {}):
        asked = problems_by_lane(envs, [1, 2, 3, 4, 6, 2], **reset)
        for group in (asked[:3], asked[3:]):
            longest = max(group, key=len)
            assert len(set(longest)) == len(longest)
            assert all(lane == longest[: len(lane)] for lane in group)
        assert not set(asked[0]) & set(asked[3])
        if reset:
            scalars = [ScratchpadAddEnv(digits=8) for _ in range(2)]
            firsts = [env.reset(seed=seed)[1]["operands"] for env, seed in zip(scalars, (7, 10), strict=True)]
            assert [asked[0][0], asked[3][0]] == firsts
    assert envs.np_random_seed == (7, 7, 7, 10, 10, 10)


def test_the_seed_of_the_first_lane_of_a_group_counts():
    envs = ScratchpadAddVectorEnv(4, digits=8, n_samples_per_problem=2)
    first, second = operands_of(envs, seed=[7, 1, 9, 2])[::2]
    alone = ScratchpadAddVectorEnv(2, digits=8)
    assert operands_of(alone, seed=[7, 9]) == [first, second]


def test_given_operands_need_no_groups():
    envs = ScratchpadAddVectorEnv(2, digits=3, n_samples_per_problem=2)
    assert operands_of(envs, options={"operands": [(1, 2), (3, 4)]}) == [(1, 2), (3, 4)]


def test_render_gives_one_text_a_lane():
    envs = ScratchpadAddVectorEnv(2, digits=3, render_mode="ansi")
    envs.reset(options={"operands": [(345, 67), (1, 2)]})
    envs.step(encode("\n<"))
    assert envs.render() == (PROMPT + "\n", prompt(1, 2) + "<")
    assert ScratchpadAddVectorEnv(2).render() is None


def test_every_token_is_legal_in_every_lane():
    masks = ScratchpadAddVectorEnv(3).action_masks()
    assert masks.dtype == np.bool_
    assert masks.shape == (3, VOCAB_SIZE)
    assert masks.all()


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("num_envs", 0, ValueError),
        ("num_envs", -1, ValueError),
        ("num_envs", 2.0, TypeError),
        ("num_envs", True, TypeError),
        ("digits", 0, ValueError),
        ("digits", 1.5, TypeError),
        ("pretrained_digits", 3, ValueError),
        ("distribution", "gauss", ValueError),
        ("split", "dev", ValueError),
        ("reward", "dense", ValueError),
        ("max_tokens", 50, ValueError),
        ("max_tokens", 500.0, TypeError),
        ("render_mode", "human", (TypeError, ValueError)),
        ("n_samples_per_problem", 0, ValueError),
        ("n_samples_per_problem", 3, ValueError),
        ("n_samples_per_problem", 1.0, TypeError),
    ],
)
def test_a_bad_argument_is_named(name, value, error):
    with pytest.raises(error, match=rf"^{name} must") as caught:
        ScratchpadAddVectorEnv(**{"num_envs": 2, "digits": 3} | {name: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("actions", "error"),
    [
        ([1, -1], ValueError),
        ([1, VOCAB_SIZE], ValueError),
        ([1], ValueError),
        ([1, 2, 3], ValueError),
        ([[1, 2]], ValueError),
        (1, ValueError),
        ([1.0, 2.0], TypeError),
        ([True, False], TypeError),
        (None, TypeError),
    ],
)
def test_bad_actions_are_refused_and_change_nothing(actions, error):
    envs = ScratchpadAddVectorEnv(2, digits=3)
    envs.reset(options={"operands": [(345, 67), (1, 2)]})
    with pytest.raises(error, match=r"^actions must be"):
        envs.step(actions)
    observations, *_ = envs.step([1, 2])
    assert [decode(row) for row in observations] == [PROMPT + "\n", prompt(1, 2) + " "]


def test_step_needs_reset():
    with pytest.raises(ValueError, match=r"^step needs running episodes.*reset"):
        ScratchpadAddVectorEnv(2).step(np.array([1, 1]))


@pytest.mark.parametrize("seed", [[1], [1, 2, 3], []])
def test_one_seed_per_lane(seed):
    with pytest.raises(ValueError, match=rf"^seed must .*num_envs = 2 lanes, but it is {re.escape(str(seed))}:"):
        ScratchpadAddVectorEnv(2).reset(seed=seed)


@pytest.mark.parametrize(
    ("operands", "error"),
    [
        ([(1, 2)], ValueError),
        ([(1, 2)] * 3, ValueError),
        ([(1, 2), (-1, 2)], ValueError),
        ([(1, 2), (10**9, 10**9)], ValueError),
        ([(1, 2), (1.0, 2)], TypeError),
        ([(1, 2), 3], TypeError),
        ((1, 2), TypeError),
    ],
)
def test_bad_operands_are_refused(operands, error):
    with pytest.raises(error, match=r"operands?\b.* must"):
        ScratchpadAddVectorEnv(2, digits=3).reset(options={"operands": operands})


def test_unknown_options_are_refused():
    with pytest.raises((TypeError, ValueError), match=r"^options must .*'operand'"):
        ScratchpadAddVectorEnv(2).reset(options={"operand": [(1, 2), (3, 4)]})
