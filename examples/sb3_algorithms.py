"""Stable-Baselines3's PPO, A2C and DQN and sb3-contrib's MaskablePPO and RecurrentPPO on the task, with their own networks.

A network that starts from nothing never writes a right sum by chance: that is why the task comes with a pre-trained model.
What it can learn is that padding ends the episode: with the signed reward and a discount the -1 of a wrong answer hurts less
the later it comes, so all five learn to put it off, and episodes grow several times longer.

Run it, in full or in short:

    python examples/sb3_algorithms.py --algorithm DQN
    python examples/sb3_algorithms.py --algorithm A2C --timesteps 2000
"""

from typing import Any, Literal

import gymnasium as gym
import numpy as np
import tyro
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.env_util import make_vec_env

import addition_gym  # noqa: F401  registers ScratchpadAdd-v0

SHORT_PPO = dict(n_steps=64, batch_size=256, learning_rate=3e-3)
ALGORITHMS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "PPO": (PPO, "MlpPolicy", SHORT_PPO),
    "A2C": (A2C, "MlpPolicy", dict(n_steps=16)),
    "DQN": (DQN, "MlpPolicy", dict(learning_rate=1e-3, learning_starts=200, target_update_interval=200)),
    # The environment's action_masks() allows every token; wrap it in sb3-contrib's ActionMasker to forbid some.
    "MaskablePPO": (MaskablePPO, "MlpPolicy", SHORT_PPO),
    "RecurrentPPO": (RecurrentPPO, "MlpLstmPolicy", {**SHORT_PPO, "policy_kwargs": dict(lstm_hidden_size=32)}),
}


def make_env() -> gym.Env:
    return gym.make("ScratchpadAdd-v0", digits=1, distribution="identical", reward="signed")


def main(
    algorithm: Literal["PPO", "A2C", "DQN", "MaskablePPO", "RecurrentPPO"] = "PPO", timesteps: int = 10_000, seed: int = 0
) -> dict[str, float]:
    """Train, and compare the first ten episodes with the last ten.

    :param algorithm: which one
    :param timesteps: tokens to train on
    :param seed: of problems, weights and sampling
    """
    make, policy, arguments = ALGORITHMS[algorithm]
    env = make_vec_env(make_env, n_envs=4, seed=seed)
    # stats_window_size: SB3 keeps that many episodes; this is all of them.
    model = make(policy, env, gamma=0.9, seed=seed, device="cpu", stats_window_size=timesteps, **arguments)
    model.learn(timesteps)
    lengths = [episode["l"] for episode in model.ep_info_buffer]
    result = {"first": float(np.mean(lengths[:10])), "last": float(np.mean(lengths[-10:]))}
    print(f"{algorithm}: {result['first']:.0f} tokens per episode at first, {result['last']:.0f} at last")
    return result


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
