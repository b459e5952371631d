"""Rollouts with the environment's drafts: the very tokens of rollouts without."""

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from addition_gym.drafts import draft
from agents import PrioritizedKLPPO
from tests.token_env import RepeatEnv


def rollout(env, drafts: bool, n_episodes: int = 8) -> PrioritizedKLPPO:
    """One rollout, with learning rates of 0."""
    agent = PrioritizedKLPPO(
        "GPT2Policy",
        env,
        learning_rate=0.0,
        value_learning_rate=0.0,
        n_episodes=n_episodes,
        policy_kwargs=dict(pretrained="tiny"),
        seed=0,
        device="cpu",
    )
    if not drafts:
        agent.policy.draft = None
    agent.learn(1)
    return agent


def lanes() -> gym.vector.VectorEnv:
    return gym.make_vec("ScratchpadAdd-v0", num_envs=4, digits=6, pretrained_digits=5)


@pytest.mark.parametrize("make_env", [lanes, lambda: DummyVecEnv([lambda: gym.make("ScratchpadAdd-v0", digits=6)] * 4)])
def test_a_rollout_is_the_same_with_and_without_drafts(make_env) -> None:
    """Two episodes a lane; the drafts save most of the forward passes."""
    with_drafts, without = (rollout(make_env(), drafts) for drafts in (True, False))
    ours, theirs = with_drafts.rollout_buffer, without.rollout_buffer
    for name in ("tokens", "mask", "actions", "rewards"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    for name in ("values", "log_probs", "old_logits", "advantages"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-4, err_msg=name)
    assert with_drafts._cache.kv.n_reads < 0.3 * without._cache.kv.n_reads
    assert with_drafts._cache.kv.n_tokens_read < 2 * ours.mask.sum()


def test_agents_predict_with_the_drafts_of_their_environment() -> None:
    env = lanes()
    agent = PrioritizedKLPPO("GPT2Policy", env, n_episodes=4, batch_size=4, policy_kwargs=dict(pretrained="tiny"), device="cpu")
    obs, _ = env.reset(seed=1)
    state, reads = None, []
    for _ in range(30):
        actions, state = agent.predict(obs, state, deterministic=True)
        reads.append(state.kv.n_reads)
        obs, *_ = env.step(actions)
    assert reads[0] == 1  # the first token alone
    assert reads[1] == reads[-1]  # then all others were foreseen


def test_the_environments_of_a_sync_vector_env_have_drafts() -> None:
    same_step = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
    env = gym.make_vec("ScratchpadAdd-v0", num_envs=4, vectorization_mode="sync", vector_kwargs=same_step)
    agent = PrioritizedKLPPO("GPT2Policy", env, n_episodes=4, batch_size=4, policy_kwargs=dict(pretrained="tiny"), device="cpu")
    assert agent.policy.draft is draft
    agent.set_env(gym.make_vec("ScratchpadAdd-v0", num_envs=4, vectorization_mode="sync", vector_kwargs=same_step))
    assert agent.policy.draft is draft


def test_environments_without_drafts_decode_token_by_token() -> None:
    env = DummyVecEnv([RepeatEnv] * 2)
    agent = PrioritizedKLPPO("GPT2Policy", env, n_episodes=2, batch_size=2, policy_kwargs=dict(n_embd=8), device="cpu")
    assert agent.policy.draft is None
