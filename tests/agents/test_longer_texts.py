"""An agent moves to an environment with longer or shorter observations, as far as its model has positions."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv

import addition_gym
from agents import PrioritizedKLPPO
from policies.gpt2 import gpt2_config
from tests.agents.test_ppo import SIZE, learn, make_agent
from tests.token_env import MAX_TOKENS, PAD, VOCAB_SIZE, RepeatEnv

POSITIONS = 400


def addition(digits: int, num_envs: int = 4):
    return gym.make_vec("ScratchpadAdd-v0", num_envs=num_envs, digits=digits, split="train")


def rows(digits: int) -> int:
    return addition(digits).single_observation_space.shape[0]


@pytest.fixture
def agent() -> PrioritizedKLPPO:
    """It has learned on N+1 = 3 digits, with room for more."""
    config = gpt2_config(addition_gym.VOCAB_SIZE, POSITIONS, pad_token_id=0, **SIZE).to_dict()
    settings = dict(n_episodes=4, learning_rate=1e-2, ent_coef=0.1)  # there is no reward to learn from
    agent = make_agent(addition(3), policy_kwargs=dict(config=config), **settings)
    learn(agent, 1)
    return agent


def moved(agent: PrioritizedKLPPO, by: str, env, path) -> PrioritizedKLPPO:
    if by == "set_env":
        agent.set_env(env)
        return agent
    agent.save(path)
    return PrioritizedKLPPO.load(path, env=env, device="cpu")


@pytest.mark.parametrize("by", ["load", "set_env"])
@pytest.mark.parametrize("digits", [2, 4])
def test_it_trains_on_longer_and_shorter_numbers_and_says_the_same_of_the_same_text(
    agent, by: str, digits: int, tmp_path
) -> None:
    texts = torch.as_tensor(addition_gym.encode(addition_gym.prompt(4, 5) + addition_gym.solution(4, 5)))[None]
    mask = torch.ones_like(texts, dtype=torch.bool)
    before, reference = agent.policy.evaluate_sequences(texts, mask), agent.policy.reference_logits(texts, mask)
    observation = addition(2).reset(seed=0)[0][0]
    wide = np.pad(observation, (0, rows(3) - len(observation)))
    action, cache = agent.policy.predict(wide, deterministic=True)

    other = moved(agent, by, addition(digits), tmp_path / "agent")
    for now, then in zip(other.policy.evaluate_sequences(texts, mask), before, strict=True):
        assert torch.equal(now, then)
    assert torch.equal(other.policy.reference_logits(texts, mask), reference)
    row = np.pad(observation, (0, rows(digits) - len(observation)))
    assert other.predict(row, deterministic=True)[0] == other.policy.predict(row, cache, deterministic=True)[0] == action

    steps = other.num_timesteps
    learn(other, 1, reset_num_timesteps=False)
    assert other.num_timesteps > steps
    assert other.rollout_buffer.tokens.shape == (4, rows(digits))
    assert other.observation_space.shape == other.policy.observation_space.shape == (rows(digits),)
    assert not torch.equal(other.policy.evaluate_sequences(texts, mask)[0], before[0])


def test_a_curriculum_is_saved_with_its_last_length(agent, tmp_path) -> None:
    agent.set_env(addition(4))
    learn(agent, 1)
    agent.save(tmp_path / "agent")
    assert PrioritizedKLPPO.load(tmp_path / "agent").policy.max_tokens == rows(4)


@pytest.mark.parametrize("by", ["load", "set_env"])
def test_a_table_that_is_too_short(agent, by: str, tmp_path) -> None:
    message = f"must have at most the model's {POSITIONS} positions, but it has {rows(6)} tokens"
    with pytest.raises(ValueError, match=message):
        moved(agent, by, addition(6), tmp_path / "agent")
    assert agent.policy.max_tokens == rows(3)
    learn(agent, 1)


@pytest.mark.parametrize("by", ["load", "set_env"])
def test_another_vocabulary(agent, by: str, tmp_path) -> None:
    with pytest.raises(ValueError, match="spaces do not match"):
        moved(agent, by, DummyVecEnv([RepeatEnv] * 4), tmp_path / "agent")


def test_an_agent_that_was_loaded_without_an_environment_has_no_rollout_until_it_has_one(tmp_path) -> None:
    make_agent().save(tmp_path / "agent")
    agent = PrioritizedKLPPO.load(tmp_path / "agent", device="cpu")
    assert not hasattr(agent, "rollout_buffer")
    agent.set_env(DummyVecEnv([RepeatEnv] * 4))
    learn(agent, 1)


def test_random_weights_have_as_many_positions_as_the_observations() -> None:
    class Longer(RepeatEnv):
        def __init__(self) -> None:
            super().__init__()
            self.observation_space = gym.spaces.Box(PAD, VOCAB_SIZE - 1, (MAX_TOKENS + 1,), np.int64)

    with pytest.raises(ValueError, match=f"at most the model's {MAX_TOKENS} positions, but it has {MAX_TOKENS + 1}"):
        make_agent().set_env(DummyVecEnv([Longer] * 4))
