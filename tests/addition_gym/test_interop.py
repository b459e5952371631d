"""Code that knows Gymnasium, and nothing of this project but its name, runs on the task."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.wrappers import RecordEpisodeStatistics, RecordVideo, TimeLimit
from gymnasium.wrappers.vector import RecordEpisodeStatistics as RecordVectorEpisodeStatistics
from sb3_contrib.common.maskable.utils import get_action_masks
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from torch import nn

import addition_gym
from tests.addition_gym.helpers import write

ONE_DIGIT = {"digits": 1, "distribution": "identical"}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Agent(nn.Module):
    """Any actor-critic on a box of integers and a discrete action."""

    def __init__(self, envs: gym.vector.VectorEnv):
        super().__init__()
        space = envs.single_observation_space
        self.trunk = nn.Sequential(nn.Linear(int(np.prod(space.shape)), 32), nn.Tanh())
        self.actor = nn.Linear(32, int(envs.single_action_space.n))
        self.critic = nn.Linear(32, 1)
        self.scale = float(space.high.max())

    def forward(self, obs: np.ndarray) -> tuple[torch.distributions.Categorical, torch.Tensor]:
        features = self.trunk(torch.as_tensor(obs, dtype=torch.float32) / self.scale)
        return torch.distributions.Categorical(logits=self.actor(features)), self.critic(features).squeeze(-1)


def native() -> gym.vector.VectorEnv:
    return RecordVectorEpisodeStatistics(gym.make_vec("ScratchpadAdd-v0", num_envs=4, reward="signed", **ONE_DIGIT))


def sync() -> gym.vector.VectorEnv:
    return gym.vector.SyncVectorEnv(
        [lambda: RecordEpisodeStatistics(gym.make("ScratchpadAdd-v0", reward="signed", **ONE_DIGIT))] * 4,
        autoreset_mode=gym.vector.AutoresetMode.SAME_STEP,
    )


@pytest.mark.parametrize("make_envs", [native, sync])
def test_an_actor_critic_script_learns_to_put_off_the_end(make_envs):
    """Discounting makes a late -1 cheaper, so padding, which ends the episode at once, loses half its first share."""
    torch.manual_seed(0)
    envs = make_envs()
    agent = Agent(envs)
    optimizer = torch.optim.Adam(agent.parameters(), lr=1e-2)
    obs, _ = envs.reset(seed=0)
    with torch.no_grad():
        before = agent(obs)[0].probs[:, addition_gym.PAD_TOKEN_ID].mean()
    finished = 0
    for _ in range(25):
        log_probs, values, rewards, dones = [], [], [], []
        for _ in range(24):
            policy, value = agent(obs)
            actions = policy.sample()
            obs, reward, terminations, truncations, _ = envs.step(actions.numpy())
            done = terminations | truncations
            finished += int(done.sum())
            log_probs.append(policy.log_prob(actions))
            values.append(value)
            rewards.append(torch.as_tensor(reward, dtype=torch.float32))
            dones.append(torch.as_tensor(done, dtype=torch.float32))
        with torch.no_grad():
            target = agent(obs)[1]
        loss = torch.zeros(())
        for log_prob, value, reward, done in reversed(list(zip(log_probs, values, rewards, dones, strict=True))):
            target = reward + 0.9 * target * (1 - done)
            loss = loss - ((target - value.detach()) * log_prob).mean() + (target - value).pow(2).mean()
        optimizer.zero_grad()
        (loss / len(rewards)).backward()
        optimizer.step()
    assert finished > 10
    with torch.no_grad():
        assert agent(obs)[0].probs[:, addition_gym.PAD_TOKEN_ID].mean() < before / 2
    envs.close()


def test_sb3_contrib_finds_the_action_masks():
    """Training with them is an example: ``examples/sb3_algorithms.py``."""
    masks = get_action_masks(make_vec_env(lambda: gym.make("ScratchpadAdd-v0"), n_envs=2))
    assert masks.shape == (2, addition_gym.VOCAB_SIZE)
    assert masks.all()


def test_sb3_makes_the_environment_from_its_name():
    """SB3 asks for ``render_mode="rgb_array"``; an environment without it makes Gymnasium warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert make_vec_env("ScratchpadAdd-v0", n_envs=2, seed=0).reset().shape[0] == 2
        assert PPO("MlpPolicy", "ScratchpadAdd-v0", n_steps=8, batch_size=8, device="cpu").action_space.n == 41


def test_a_video_of_an_episode(tmp_path):
    pytest.importorskip("moviepy")
    env = RecordVideo(gym.make("ScratchpadAdd-v0", digits=2, render_mode="rgb_array"), str(tmp_path), lambda episode: True)
    env.reset(seed=0, options={"operands": (12, 9)})
    write(env, addition_gym.solution(12, 9))
    env.close()
    (video,) = tmp_path.glob("*.mp4")
    assert video.stat().st_size > 1000


def test_episode_statistics_of_one_environment():
    env = RecordEpisodeStatistics(gym.make("ScratchpadAdd-v0", digits=2))
    completion = addition_gym.solution(12, 9)
    env.reset(seed=0, options={"operands": (12, 9)})
    *_, info = write(env, completion)
    assert info["episode"]["r"] == 1
    assert info["episode"]["l"] == len(completion)
    assert info["is_success"]


def test_episode_statistics_of_many_lanes():
    envs = RecordVectorEpisodeStatistics(gym.make_vec("ScratchpadAdd-v0", num_envs=2, digits=2))
    completion = addition_gym.encode(addition_gym.solution(12, 9))
    envs.reset(seed=0, options={"operands": [(12, 9), (80, 1)]})
    for token in completion:
        *_, infos = envs.step(np.array([token, token]))
    assert infos["episode"]["r"].tolist() == [1, 0]
    assert infos["episode"]["l"].tolist() == [len(completion)] * 2


def test_a_time_limit_truncates():
    env = TimeLimit(gym.make("ScratchpadAdd-v0"), max_episode_steps=3)
    env.reset(seed=0)
    newline = addition_gym.encode("\n")[0]
    assert [env.step(newline)[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]
    assert gym.make("ScratchpadAdd-v0").spec.max_episode_steps is None
