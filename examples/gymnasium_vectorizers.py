"""Three ways to many lanes: our native vector environment, and Gymnasium's sync and async vectorisers around the scalar one.

They play the same episodes, token for token; the native one is the fastest, so use it unless you wrap the scalar one.

Run it, in full or in short:

    python examples/gymnasium_vectorizers.py
    python examples/gymnasium_vectorizers.py --num-envs 2 --steps 50
"""

import time
from typing import Any

import gymnasium as gym
import numpy as np
import tyro
from gymnasium.vector import AutoresetMode, VectorEnv

import addition_gym

WAYS: dict[str, dict[str, Any]] = {
    "native": dict(vectorization_mode="vector_entry_point"),  # what make_vec does by default
    # SAME_STEP is the native environment's autoreset, and SB3's. Gymnasium's default spends one step on the reset.
    "sync": dict(vectorization_mode="sync", vector_kwargs=dict(autoreset_mode=AutoresetMode.SAME_STEP)),
    "async": dict(vectorization_mode="async", vector_kwargs=dict(autoreset_mode=AutoresetMode.SAME_STEP)),
}


def play(envs: VectorEnv, steps: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Write random tokens. :return: observations ``(steps, num_envs, T)``, rewards ``(steps, num_envs)``, finished episodes"""
    rng = np.random.default_rng(0)
    observations, rewards, episodes = [], [], 0
    envs.reset(seed=0)  # lane i is seeded with 0 + i
    for _ in range(steps):
        obs, reward, terminations, _, infos = envs.step(rng.integers(addition_gym.VOCAB_SIZE, size=envs.num_envs))
        observations.append(obs.copy())
        rewards.append(reward)
        episodes += int(terminations.sum())
        for lane in np.flatnonzero(terminations):  # obs is already the next prompt; the old episode's end is in infos
            assert not infos["final_info"]["is_success"][lane]
    return np.array(observations), np.array(rewards), episodes


def main(num_envs: int = 16, steps: int = 500) -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    """Play the same tokens in all three.

    :param num_envs: lanes
    :param steps: tokens per lane
    """
    played = {}
    for name, arguments in WAYS.items():
        envs = gym.make_vec("ScratchpadAdd-v0", num_envs=num_envs, reward="signed", **arguments)
        started = time.perf_counter()
        played[name] = play(envs, steps)
        speed = num_envs * steps / (time.perf_counter() - started)
        envs.close()
        print(f"{name:6}: {speed:10,.0f} tokens per second, {played[name][2]} episodes, return {played[name][1].sum():.0f}")
    return played


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
