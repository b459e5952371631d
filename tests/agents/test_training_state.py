"""A checkpoint holds all that the rest of the run depends on."""

import random
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

import addition_gym  # noqa: F401
from agents import PrioritizedKLPPO
from tests.agents.test_baselines import Classes
from tests.agents.test_health import Count
from tests.agents.test_ppo import Record, learn, make_agent

TOTAL = 250


class SaveAt(BaseCallback):
    """Saves a checkpoint before the rollout that follows an update."""

    def __init__(self, path: Path, updates: int):
        super().__init__()
        self.path, self.updates, self.episodes = path, updates, 0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.model.updates_done == self.updates:
            self.model.save_checkpoint(self.path)
            self.episodes = self.model.episodes_done


def new_env():
    return DummyVecEnv([Classes] * 4)


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    agent = make_agent(new_env())
    learn(agent, 1)
    agent.save_checkpoint(tmp_path / "agent.zip")
    return tmp_path / "agent.zip"


def recorded(agent: PrioritizedKLPPO) -> list[dict[str, float]]:
    record = Record()
    agent.set_logger(Logger(None, [record]))
    return record.rows


def without_clock(rows: list[dict[str, float]]) -> list[dict[str, str]]:
    of_the_process = ("time/time_elapsed", "time/fps", "time/iterations")
    return [{key: str(value) for key, value in row.items() if key not in of_the_process} for row in rows]


@pytest.mark.parametrize("by", ["load", "set_env", "set_env, not forced"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        dict(kl_in="reward", kl_target=0.5, n_epochs=2, weighting="shuffled"),
        dict(kl_in="reward", kl_coef=lambda progress: 3 * progress),
        dict(baseline="class", class_horizon=5),
        dict(value_epochs=2),
    ],
)
def test_a_resumed_run_is_the_uninterrupted_one(by: str, settings: dict, tmp_path) -> None:
    """Weights, optimizer, generators and log, bit for bit; the log of the update before the checkpoint is in it."""
    agent = make_agent(new_env(), learning_rate=lambda progress: 1e-3 * progress, **settings)
    rows = recorded(agent)
    torch.manual_seed(1)
    save = SaveAt(tmp_path / "agent.zip", updates=2)
    agent.learn(TOTAL, callback=save)
    assert agent.updates_done >= 4
    generators = torch.get_rng_state(), np.random.get_state()[1], random.getstate(), agent.batch_rng.bit_generator.state

    torch.manual_seed(99)
    resumed = PrioritizedKLPPO.load(tmp_path / "agent.zip", env=new_env() if by == "load" else None, device="cpu")
    if by != "load":
        resumed.set_env(new_env(), force_reset=by == "set_env")
    assert (resumed.updates_done, resumed.episodes_done) == (2, save.episodes)
    rows_after = recorded(resumed)
    resumed.resume()
    resumed.learn(TOTAL - resumed.num_timesteps, reset_num_timesteps=False)

    assert resumed.num_timesteps == agent.num_timesteps
    assert without_clock(rows_after) == without_clock(rows)[2:]
    assert "train/loss" in rows_after[0]  # of the update before the checkpoint
    for name, weight in agent.policy.state_dict().items():
        assert torch.equal(weight, resumed.policy.state_dict()[name]), name
    ours, theirs = (a.policy.optimizer.state_dict()["state"] for a in (agent, resumed))
    assert all(torch.equal(ours[i]["exp_avg_sq"], theirs[i]["exp_avg_sq"]) for i in ours)
    again = torch.get_rng_state(), np.random.get_state()[1], random.getstate(), resumed.batch_rng.bit_generator.state
    assert torch.equal(generators[0], again[0])
    assert (generators[1] == again[1]).all()
    assert generators[2:] == again[2:]


def test_in_the_vector_environment_of_the_task(tmp_path) -> None:
    def env():
        return gym.make_vec("ScratchpadAdd-v0", num_envs=4, digits=2)

    agent = make_agent(env(), n_episodes=4)
    agent.learn(700, callback=SaveAt(tmp_path / "agent.zip", updates=1))
    resumed = PrioritizedKLPPO.load(tmp_path / "agent.zip", env=env(), device="cpu")
    resumed.resume()  # with SB3's default logger, which is made later
    resumed.learn(700 - resumed.num_timesteps, reset_num_timesteps=False)
    assert agent.updates_done == resumed.updates_done > 1
    for name, weight in agent.policy.state_dict().items():
        assert torch.equal(weight, resumed.policy.state_dict()[name]), name


def test_the_clock_continues(checkpoint) -> None:
    agent = PrioritizedKLPPO.load(checkpoint, env=new_env(), device="cpu")
    assert 0 < agent.seconds_learned < 100
    agent.seconds_learned = 1000.0
    agent.resume()
    (row,) = learn(agent, 1, reset_num_timesteps=False)
    assert 1000 <= row["time/time_elapsed"] < 1100
    assert row["time/fps"] == int(agent.num_timesteps / row["time/time_elapsed"])
    assert 1000 < agent.seconds_learned < 1100
    learn(agent, 1)
    assert 0 < agent.seconds_learned < 100


def test_an_open_file(tmp_path, checkpoint) -> None:
    agent = PrioritizedKLPPO.load(checkpoint, env=new_env(), device="cpu")
    agent.set_logger(Logger(None, []))
    with (tmp_path / "other.zip").open("wb") as file:
        agent.save_checkpoint(file)
    other = PrioritizedKLPPO.load(tmp_path / "other.zip", env=new_env())
    assert other.training_state.minibatches == agent.training_state.minibatches


def test_what_cannot_be_resumed(tmp_path, checkpoint) -> None:
    make_agent().save(tmp_path / "saved")
    with pytest.raises(ValueError, match="training_state must be that of a checkpoint, but it is None"):
        PrioritizedKLPPO.load(tmp_path / "saved", env=new_env()).resume()
    with pytest.raises(ValueError, match="env must be that of the run, but it is None: call set_env"):
        PrioritizedKLPPO.load(checkpoint).resume()
    with pytest.raises(ValueError, match="env must have the checkpoint's number of lanes, 4, but it has 2"):
        PrioritizedKLPPO.load(checkpoint, env=DummyVecEnv([Classes] * 2)).resume()


def test_before_anything_was_learned(tmp_path, checkpoint) -> None:
    for agent in (make_agent(), PrioritizedKLPPO.load(checkpoint, env=new_env())):
        with pytest.raises(ValueError, match="has begun to learn, but this one has no logger yet: call learn first"):
            agent.save_checkpoint(tmp_path / "agent")
    assert not list(tmp_path.glob("agent"))


def test_a_state_of_the_past_is_not_saved(tmp_path, checkpoint) -> None:
    agent = PrioritizedKLPPO.load(checkpoint, env=new_env(), device="cpu")
    agent.resume()
    agent.learn(1000, callback=Count(1), reset_num_timesteps=False)
    agent.save(tmp_path / "later")
    with pytest.raises(ValueError, match="training_state"):
        PrioritizedKLPPO.load(tmp_path / "later", env=new_env()).resume()


def test_lanes_without_generators_can_be_saved(tmp_path) -> None:
    class Hidden(Classes):
        def __getattribute__(self, name: str):
            if name == "np_random" and hidden:
                raise AttributeError(name)
            return super().__getattribute__(name)

    hidden = False
    agent = make_agent(DummyVecEnv([Hidden] * 4))
    learn(agent, 1)
    hidden = True
    agent.save(tmp_path / "agent")
    with pytest.raises(AttributeError, match="np_random"):
        agent.save_checkpoint(tmp_path / "agent")
