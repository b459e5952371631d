import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv

import addition_gym
from agents import VectorEnvAdapter
from tests.token_env import VOCAB_SIZE, RepeatEnv


def sync(n: int, truncate_after: int | None = None) -> SyncVectorEnv:
    return SyncVectorEnv([lambda: RepeatEnv(truncate_after)] * n, autoreset_mode=AutoresetMode.SAME_STEP)


@pytest.mark.parametrize("truncate_after", [None, 3])
def test_equals_dummy_vec_env_step_for_step(truncate_after: int | None) -> None:
    adapted, dummy = VectorEnvAdapter(sync(3, truncate_after)), DummyVecEnv([lambda: RepeatEnv(truncate_after)] * 3)
    for env in (adapted, dummy):
        env.seed(7)
    np.testing.assert_array_equal(adapted.reset(), dummy.reset())
    rng = np.random.default_rng(0)
    for _ in range(60):
        actions = rng.integers(0, VOCAB_SIZE, size=3)
        obs, rewards, dones, infos = adapted.step(actions)
        dummy_obs, dummy_rewards, dummy_dones, dummy_infos = dummy.step(actions)
        np.testing.assert_array_equal(obs, dummy_obs)
        np.testing.assert_array_equal(rewards, dummy_rewards)
        np.testing.assert_array_equal(dones, dummy_dones)
        for done, info, dummy_info in zip(dones, infos, dummy_infos, strict=True):
            if done:
                assert info["TimeLimit.truncated"] == dummy_info["TimeLimit.truncated"]
                np.testing.assert_array_equal(info["terminal_observation"], dummy_info["terminal_observation"])


def test_final_info_reaches_its_lane() -> None:
    env = VectorEnvAdapter(gym.make_vec("ScratchpadAdd-v0", num_envs=2, digits=1, distribution="identical"))
    env.set_options({"operands": (1, 2)})
    env.reset()
    solution = addition_gym.encode(addition_gym.solution(1, 2))
    for position, token in enumerate(solution):
        wrong = addition_gym.PAD_TOKEN_ID if position == 4 else 5  # lane 1 gives up at the fifth token, then scribbles
        _, rewards, dones, infos = env.step(np.array([token, wrong]))
        if position == 4:
            assert infos[1]["is_success"] is False
            assert infos[0] == {}
    assert infos[0]["is_success"] is True
    assert infos[0]["operands"] == (1, 2)
    assert infos[0]["text"] == addition_gym.prompt(1, 2) + addition_gym.solution(1, 2)
    assert rewards[0] == 1
    assert dones[0]


def test_attributes_and_methods_by_lane() -> None:
    env = VectorEnvAdapter(gym.make_vec("ScratchpadAdd-v0", num_envs=3, digits=2))
    assert len(env.get_attr("np_random_seed")) == 3
    assert env.get_attr("max_tokens", indices=[1]) == [env.env.max_tokens]
    masks = env.env_method("action_masks")
    assert [mask.shape for mask in masks] == [(addition_gym.VOCAB_SIZE,)] * 3
    env.set_attr("failure_reward", -2.0)
    assert env.env.failure_reward == -2.0
    with pytest.raises(ValueError, match="indices must name every lane"):
        env.set_attr("failure_reward", 0.0, indices=0)
    assert env.env_is_wrapped(gym.Wrapper) == [False] * 3
    env.close()


def test_other_environments_are_refused() -> None:
    with pytest.raises(TypeError, match=r"env must be a gymnasium.vector.VectorEnv"):
        VectorEnvAdapter(RepeatEnv())
    with pytest.raises(ValueError, match="SAME_STEP"):
        VectorEnvAdapter(SyncVectorEnv([RepeatEnv]))
