"""The problems of a run follow from its seed, and no two seeds share any."""

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

import addition_gym
from agents.episodic_algorithm import lane_seeds
from tests.agents.test_ppo import make_agent

LANES, EPISODES = 64, 3
ARGUMENTS = dict(digits=9, distribution="identical", split="train")


def native():
    return gym.make_vec("ScratchpadAdd-v0", num_envs=LANES, **ARGUMENTS)


def dummy() -> DummyVecEnv:
    return DummyVecEnv([lambda: gym.make("ScratchpadAdd-v0", **ARGUMENTS)] * LANES)


def streams(make_env, seed: int) -> list[tuple[tuple[int, int], ...]]:
    """The first problems that each lane of an agent's environment asks; every episode is given up at once."""
    env = make_agent(make_env(), n_episodes=LANES, seed=seed).env
    env.reset()
    asked: list[list[tuple[int, int]]] = [[] for _ in range(LANES)]
    for _ in range(EPISODES):
        infos = env.step(np.full(LANES, addition_gym.PAD_TOKEN_ID))[3]
        for problems, info in zip(asked, infos, strict=True):
            problems.append(info["operands"])
    return [tuple(problems) for problems in asked]


@pytest.mark.parametrize("make_env", [native, dummy])
def test_two_seeds_share_no_problem(make_env) -> None:
    """Seeding lane i with seed + i, seeds 0 and 1 shared the streams of 63 of 64 lanes."""
    first, second = streams(make_env, 0), streams(make_env, 1)
    assert len({*first}) == len({*second}) == LANES
    problems = [{problem for stream in found for problem in stream} for found in (first, second)]
    assert problems[0].isdisjoint(problems[1])
    assert streams(make_env, 0) == first


def test_both_kinds_of_lanes_ask_the_same() -> None:
    assert streams(native, 5) == streams(dummy, 5)


def test_no_two_of_many_runs_share_a_lane() -> None:
    seeds = [lane for run in range(200) for lane in lane_seeds(run, LANES)]
    assert len(set(seeds)) == len(seeds)
    assert lane_seeds(3, LANES)[:8] == lane_seeds(3, 8)
