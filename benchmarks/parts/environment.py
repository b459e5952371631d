"""Steps of the environment, alone and as a share of a rollout."""

import time
from collections import deque
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper

from addition_gym import ScratchpadAddEnv, encode, solution
from benchmarks.contenders.ours import Ours
from benchmarks.measure import Part, Row, Settings, compare, interleave

LANES = 64
SEED = 0


def measure(settings: Settings) -> list[Row]:
    """Native vector environment against two that step scalar environments one after another."""
    digits = settings.digits + 1

    def make_env() -> ScratchpadAddEnv:
        return ScratchpadAddEnv(digits=digits)

    native = gym.make_vec("ScratchpadAdd-v0", num_envs=LANES, digits=digits)
    dummy = DummyVecEnv([make_env] * LANES)
    sync = SyncVectorEnv([make_env] * LANES, autoreset_mode=AutoresetMode.SAME_STEP)
    actions = solving_actions(native, settings.env_steps)
    rates = interleave(
        {
            "native": lambda: replay_vector(native, actions),
            "DummyVecEnv": lambda: replay_sb3(dummy, actions),
            "SyncVectorEnv": lambda: replay_vector(sync, actions),
        },
        settings.repeats,
        settings.device,
    )
    rows = compare(f"{LANES} lanes", "steps/s", rates, at_least={"DummyVecEnv": 15.0})
    return rows + share_of_a_rollout(settings)


def solving_actions(envs: VectorEnv, steps: int) -> np.ndarray:
    """Tokens that solve one problem after another in every lane of a freshly seeded environment, ``(steps, lanes)``."""
    _, infos = envs.reset(seed=SEED)
    waiting: list[deque[int]] = [deque() for _ in range(envs.num_envs)]
    actions = np.zeros((steps, envs.num_envs), dtype=np.int64)
    for step in range(steps):
        for lane, tokens in enumerate(waiting):
            if not tokens:
                tokens.extend(encode(solution(*infos["operands"][lane])))
            actions[step, lane] = tokens.popleft()
        infos = {**infos, **envs.step(actions[step])[4]}
    return actions


def replay_vector(envs: VectorEnv, actions: np.ndarray) -> int:
    """:return: steps of all lanes together"""
    envs.reset(seed=SEED)
    for tokens in actions:
        envs.step(tokens)
    return actions.size


def replay_sb3(envs: VecEnv, actions: np.ndarray) -> int:
    """:return: steps of all lanes together"""
    envs.seed(SEED)
    envs.reset()
    for tokens in actions:
        envs.step(tokens)
    return actions.size


class Timed(VecEnvWrapper):
    """Adds up the time that an environment takes."""

    seconds = 0.0

    def reset(self) -> Any:
        start = time.perf_counter()
        obs = self.venv.reset()
        self.seconds += time.perf_counter() - start
        return obs

    def step_wait(self) -> Any:
        start = time.perf_counter()
        result = self.venv.step_wait()
        self.seconds += time.perf_counter() - start
        return result


def share_of_a_rollout(settings: Settings) -> list[Row]:
    """Environment with adapter and monitor, timed inside our rollout."""
    lanes = settings.train_lanes
    ours = Ours(lanes, settings.digits, device=settings.device)
    assert ours.agent.env is not None
    timed = ours.agent.env = Timed(ours.agent.env)
    whole, environment = [], []
    for _ in range(settings.repeats):
        timed.seconds = 0.0
        start = time.perf_counter()
        tokens = ours.rollout()
        whole.append(tokens / (time.perf_counter() - start))
        environment.append(tokens / timed.seconds)
    values = {"whole rollout": whole, "environment in it": environment}
    return compare(f"our rollout, {lanes} lanes", "tokens/s", values, at_most={"environment in it": 0.05})


PART = Part(
    "Environment",
    "All replay the same right solutions, so that episodes end and begin as in training; DummyVecEnv is SB3's, SyncVectorEnv "
    "Gymnasium's. The last ratio is the share of our rollout's time that the environment takes, adapter and monitor included.",
    measure,
    ratio="first / this",
)
