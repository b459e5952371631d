"""Stable-Baselines3's own PPO and A2C with our GPT2Policy: the pre-trained model as a stock policy.

Stock algorithms ignore the frozen reference (no KL penalty), cut episodes after n_steps, and read the whole text at every
token; PrioritizedKLPPO does none of this. Where you need stock SB3, this is how.

Run it, in full or in short:

    python examples/sb3_gpt2_policy.py --algorithm A2C
    python examples/sb3_gpt2_policy.py --digits 1 --n-steps 128 --timesteps 256 --eval-episodes 4
"""

from typing import Any, Literal

import gymnasium as gym
import torch
import tyro
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

import addition_gym  # noqa: F401  registers ScratchpadAdd-v0
from policies import GPT2Policy


def main(
    algorithm: Literal["PPO", "A2C"] = "PPO",
    digits: int = 3,
    n_steps: int = 256,
    timesteps: int = 4096,
    eval_episodes: int = 20,
    seed: int = 0,
) -> tuple[BaseAlgorithm, float, float]:
    """Fine-tune, and evaluate before and after.

    :param algorithm: which one
    :param digits: of the longest operand; the bundled model was pre-trained on up to 5
    :param n_steps: tokens per lane in a rollout; more than an episode has, for the reward comes at its end
    :param timesteps: tokens to train on
    :param eval_episodes: held-out problems before and after
    :param seed: of problems and sampling
    """

    def make_env(split: str) -> gym.Env:
        return gym.make("ScratchpadAdd-v0", digits=digits, distribution="varying", split=split)

    training = make_vec_env(lambda: make_env("train"), n_envs=2, seed=seed)
    held_out = make_vec_env(lambda: make_env("test"), n_envs=eval_episodes)
    # Small steps: no penalty holds the model where it was.
    common: dict[str, Any] = dict(
        policy_kwargs=dict(pretrained="tiny"), n_steps=n_steps, gamma=1.0, learning_rate=1e-5, seed=seed, device="cpu"
    )
    if algorithm == "PPO":
        model: BaseAlgorithm = PPO(GPT2Policy, training, batch_size=64, n_epochs=1, **common)
    else:
        model = A2C(GPT2Policy, training, **common)

    def accuracy() -> float:
        held_out.seed(seed + 1000)
        return float(evaluate_policy(model, held_out, eval_episodes)[0])

    before = accuracy()
    model.learn(timesteps)
    after = accuracy()
    policy = model.policy
    moved = torch.dist(policy.language_model.lm_head.weight, policy.reference.lm_head.weight)
    print(f"{algorithm}: accuracy {before:.0%} before, {after:.0%} after; the embedding has moved by {moved:.1e}")
    return model, before, after


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
