"""Stable-Baselines3's callbacks with PrioritizedKLPPO: checkpoints, evaluation, and a stop when the model is good enough.

Run it, in full or in short:

    python examples/sb3_callbacks.py                 # 6 digits, until half of the held-out problems are solved
    python examples/sb3_callbacks.py --digits 2 --n-envs 4 --every 100 --threshold 0.9 --total-timesteps 2000
"""

from pathlib import Path

import gymnasium as gym
import numpy as np
import tyro
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback, StopTrainingOnRewardThreshold
from stable_baselines3.common.vec_env import VecMonitor

import addition_gym  # noqa: F401  registers ScratchpadAdd-v0
from agents import PrioritizedKLPPO, VectorEnvAdapter


def main(
    digits: int = 6,
    threshold: float = 0.5,
    total_timesteps: int = 1_000_000,
    n_envs: int = 64,
    every: int = 2000,
    folder: Path = Path("runs/sb3_callbacks"),
) -> PrioritizedKLPPO:
    """Train until the mean reward, which is the accuracy, reaches the threshold.

    :param digits: of the longest operand; the bundled model was pre-trained on up to 5
    :param threshold: mean reward on held-out problems that ends the training
    :param total_timesteps: tokens after which it ends anyway
    :param n_envs: lanes, and held-out problems of an evaluation
    :param every: steps of the lanes between two evaluations, and between two checkpoints
    :param folder: where checkpoints, the best model and evaluations.npz go
    """
    training = gym.make_vec("ScratchpadAdd-v0", num_envs=n_envs, digits=digits, split="train")
    # The same adapter as the agent uses inside, so that all held-out problems are solved side by side.
    held_out = VecMonitor(
        VectorEnvAdapter(gym.make_vec("ScratchpadAdd-v0", num_envs=n_envs, digits=digits, split="validation"))
    )
    held_out.seed(0)

    stop = StopTrainingOnRewardThreshold(threshold, verbose=1)
    evaluate = EvalCallback(
        held_out,
        callback_on_new_best=stop,
        n_eval_episodes=n_envs,
        eval_freq=every,
        best_model_save_path=str(folder),
        log_path=str(folder),
    )
    checkpoint = CheckpointCallback(save_freq=every, save_path=str(folder), name_prefix="agent")

    agent = PrioritizedKLPPO(
        "GPT2Policy", training, policy_kwargs=dict(pretrained="tiny"), n_episodes=n_envs, batch_size=min(8, n_envs), seed=0
    )
    agent.learn(total_timesteps, callback=[checkpoint, evaluate])
    rewards = np.load(folder / "evaluations.npz")["results"].mean(axis=1)
    print(f"Accuracy at each evaluation: {rewards.round(2).tolist()}; trained on {agent.num_timesteps} tokens")
    return PrioritizedKLPPO.load(folder / "best_model")  # it stands alone: policy, reference, optimizer


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
