"""What returns are compared with: against loops over episodes, and enumerations."""

import itertools
from collections import defaultdict

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

import addition_gym  # noqa: F401
from agents import PrioritizedKLPPO
from agents.baselines import GRPO_EPS, LEAST_SCALE, ClassMeans, estimate_advantages, normalize_advantages
from agents.episode_buffer import EpisodeBuffer
from tests.agents.test_episode_buffer import V, filled
from tests.agents.test_ppo import learn, make_agent
from tests.agents.test_ppo_terms import moved_agent, weights_after
from tests.token_env import RepeatEnv

BASELINES = ("critic", "class", "rloo", "grpo", "grpo_no_std")
GROUPS = BASELINES[2:]


class Classes(RepeatEnv):
    """Names a class: the length of the prompt."""

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        if terminated:
            info["problem_class"] = f"{len(self.text) - self.steps} tokens"
        return obs, reward, terminated, truncated, info


class Same(Classes):
    """Asks 1 and 2 in turn, so that all episodes of a rollout have one of two prompts."""

    asked = itertools.count()

    def reset(self, **kwargs):
        super().reset(**kwargs)
        self.text = [1 + next(self.asked) % 2]
        self.wanted = self.text[0]
        return self._observation(), {}


def rollout(lengths: list[int], returns: list[float], prompts: list[int], classes: list[str | None]) -> EpisodeBuffer:
    """Episodes with a prompt of two tokens; all of the reward comes at the end. Values of the critic are random."""
    buffer = filled(lengths, gamma=1.0, gae_lambda=1.0, max_tokens=14)
    buffer.rewards[:] = 0
    for row, (length, value, prompt) in enumerate(zip(lengths, returns, prompts, strict=True)):
        buffer.rewards[row, length] = value
        buffer.tokens[row, :2] = divmod(prompt, V)
    buffer.problem_classes = classes
    return buffer


def per_episode(buffer: EpisodeBuffer, array: np.ndarray) -> np.ndarray:
    """The number that all tokens of an episode share."""
    for row, mask in zip(array, buffer.mask, strict=True):
        assert len(set(row[mask])) == 1
        assert not row[~mask].any()
    return array[np.arange(len(array)), buffer.mask.argmax(axis=1)]


LENGTHS, RETURNS, PROMPTS = [3, 9, 1, 8, 2, 5, 4], [1.0, 0.0, 0.5, 0.0, 0.0, 1.0, 0.0], [7, 9, 7, 9, 9, 7, 9]


@pytest.mark.parametrize("baseline", GROUPS)
def test_groups_against_a_loop(baseline: str) -> None:
    buffer = rollout(LENGTHS, RETURNS, PROMPTS, [None] * 7)
    estimate_advantages(buffer, baseline, ClassMeans(64))
    expected = []
    for row in range(7):
        group = [RETURNS[other] for other in range(7) if PROMPTS[other] == PROMPTS[row]]
        others = [RETURNS[other] for other in range(7) if PROMPTS[other] == PROMPTS[row] and other != row]
        mean = sum(group) / len(group)
        variance = sum((each - mean) ** 2 for each in group) / (len(group) - 1)
        expected.append(
            {
                "rloo": RETURNS[row] - sum(others) / len(others),
                "grpo": (RETURNS[row] - mean) / (variance**0.5 + GRPO_EPS),
                "grpo_no_std": RETURNS[row] - mean,
            }[baseline]
        )
    np.testing.assert_allclose(per_episode(buffer, buffer.advantages), expected, atol=1e-6)
    np.testing.assert_allclose(per_episode(buffer, buffer.returns), RETURNS)
    if baseline != "grpo":
        np.testing.assert_allclose(buffer.advantages, buffer.returns - buffer.values, atol=1e-6)


@pytest.mark.parametrize("baseline", GROUPS)
def test_a_group_in_which_all_did_the_same_stays_at_zero(baseline: str) -> None:
    buffer = rollout([3, 9, 1, 8], [1, 1, 0, 1], [7, 7, 9, 9], [None] * 4)
    estimate_advantages(buffer, baseline, ClassMeans(64))
    normalize_advantages(buffer, baseline)
    advantages = per_episode(buffer, buffer.advantages)
    assert advantages[:2].tolist() == [0, 0]
    assert advantages[2] < 0 < advantages[3]


def test_leave_one_out_is_unbiased_by_enumeration() -> None:
    """Over all pairs of episodes of a policy with two actions, the mean of advantage times score is the exact gradient.

    GRPO's without the standard deviation is it times (k - 1) / k, for k = 2 episodes.
    """
    p, reward = 0.3, (0.2, 1.0)  # of action 1; dp/dlogit = p (1 - p)
    exact = p * (1 - p) * (reward[1] - reward[0])
    for baseline, share in (("rloo", 1.0), ("grpo_no_std", 0.5)):
        found = 0.0
        for actions in itertools.product((0, 1), repeat=2):
            buffer = rollout([1, 1], [reward[action] for action in actions], [7, 7], [None] * 2)
            estimate_advantages(buffer, baseline, ClassMeans(64))
            probability = np.prod([p if action else 1 - p for action in actions])
            scores = [action - p for action in actions]
            found += probability * np.mean(per_episode(buffer, buffer.advantages) * scores)
        assert found == pytest.approx(share * exact, rel=1e-5)


def test_classes_against_a_loop() -> None:
    """Three rollouts; a class that appears later begins then, and the horizon is shorter than what a class has seen."""
    rng, horizon, seen = np.random.default_rng(0), 5, defaultdict(list)
    class_means = ClassMeans(horizon)
    for names in ("aabbaba", "abababa", "abcbcaa"):
        returns = rng.normal(size=7).astype(np.float32).astype(float).tolist()
        buffer = rollout(LENGTHS, returns, PROMPTS, list(names))
        estimate_advantages(buffer, "class", class_means)
        expected = []
        for row, name in enumerate(names):
            if seen[name]:
                mean = 0.0
                for count, value in enumerate(seen[name], start=1):
                    rate = max(1 / count, 1 / horizon)
                    mean = (1 - rate) * mean + rate * value
            else:
                others = [returns[other] for other in range(7) if names[other] == name and other != row]
                mean = sum(others) / len(others)
            expected.append(returns[row] - mean)
        np.testing.assert_allclose(per_episode(buffer, buffer.advantages), expected, atol=1e-5)
        for name, value in zip(names, returns, strict=True):
            seen[name].append(value)
    assert len(seen["a"]) > horizon > len(seen["c"])


def test_the_only_episode_of_a_new_class_teaches_nothing() -> None:
    buffer = rollout([3, 9, 1], [1, 0, 1], [7, 7, 7], ["a", "b", "b"])
    estimate_advantages(buffer, "class", ClassMeans(64))
    assert per_episode(buffer, buffer.advantages).tolist() == [0, -1, 1]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("reward", [0.0, -1.0, 0.1])
@pytest.mark.parametrize("baseline", BASELINES)
def test_equal_returns_teach_nothing(baseline: str, reward: float, normalize: bool) -> None:
    """Neither the noise of the critic nor what earlier rollouts were worth."""
    buffer = rollout(LENGTHS, [reward] * 7, PROMPTS, list("aabbaba"))
    assert buffer.values.any()
    estimate_advantages(buffer, baseline, ClassMeans(64, {"a": 0.3, "b": 0.7}, {"a": 9, "b": 1}))
    if normalize:
        normalize_advantages(buffer, baseline)
    assert not buffer.advantages.any()


def test_returns_are_discounted() -> None:
    buffer = rollout([3, 5], [1, 0], [7, 7], [None] * 2)
    buffer.gamma = 0.5
    buffer.rewards[0, 1] = 2.0
    estimate_advantages(buffer, "rloo", ClassMeans(64))
    np.testing.assert_allclose(per_episode(buffer, buffer.returns), [2 + 0.5**2, 0])


@pytest.mark.parametrize("baseline", ["critic", "class"])
def test_normalised_to_mean_0_and_standard_deviation_1(baseline: str) -> None:
    buffer = rollout(LENGTHS, RETURNS, PROMPTS, list("aabbaba"))
    estimate_advantages(buffer, baseline, ClassMeans(64))
    normalize_advantages(buffer, baseline)
    advantages = buffer.advantages[buffer.mask]
    assert advantages.mean() == pytest.approx(0, abs=1e-6)
    assert advantages.std() == pytest.approx(1, abs=1e-5)
    assert not buffer.advantages[~buffer.mask].any()


@pytest.mark.parametrize("baseline", GROUPS)
def test_groups_are_never_shifted(baseline: str) -> None:
    plain, scaled = (rollout(LENGTHS, RETURNS, PROMPTS, [None] * 7) for _ in range(2))
    for buffer in (plain, scaled):
        estimate_advantages(buffer, baseline, ClassMeans(64))
    normalize_advantages(scaled, baseline)
    if baseline == "rloo":
        assert np.square(scaled.advantages[scaled.mask]).mean() == pytest.approx(1)
        np.testing.assert_allclose(scaled.advantages, plain.advantages * scaled.advantages.max() / plain.advantages.max())
    else:
        np.testing.assert_array_equal(scaled.advantages, plain.advantages)


def test_what_a_good_baseline_leaves_is_not_blown_up() -> None:
    """The means of two classes are right but for 1e-4, where dividing by the standard deviation would make that 1."""
    buffer = rollout([4, 4, 4, 4], [1, 0, 1, 0], [7, 7, 9, 9], list("abab"))
    estimate_advantages(buffer, "class", ClassMeans(64, {"a": 1 + 1e-4, "b": -1e-4}, {"a": 9, "b": 9}))
    normalize_advantages(buffer, "class")
    assert abs(buffer.advantages).max() == pytest.approx(1e-4 / (LEAST_SCALE * 0.5), rel=1e-2)


def test_no_class() -> None:
    with pytest.raises(ValueError, match=r"baseline must not be 'class' .* report problem_class, a string, in the last info"):
        learn(make_agent(baseline="class"), 1)


@pytest.mark.parametrize("baseline", GROUPS)
def test_a_group_of_one(baseline: str) -> None:
    buffer = rollout([3, 9, 1], [1, 0, 1], [7, 7, 9], [None] * 3)
    with pytest.raises(
        ValueError, match=rf"only one episode in a rollout, but it is '{baseline}': .*n_samples_per_problem >= 2"
    ):
        estimate_advantages(buffer, baseline, ClassMeans(64))


class Rollouts(BaseCallback):
    """What the agent learned from."""

    def __init__(self) -> None:
        super().__init__()
        self.explained: list[float] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer
        returns, values = buffer.returns[buffer.mask], buffer.values[buffer.mask]
        self.explained.append(1 - np.var(returns - values) / np.var(returns))


@pytest.mark.parametrize("baseline", BASELINES)
def test_the_agent_learns_with_each(baseline: str) -> None:
    """The policy moves; the value head only with a critic; what is explained is logged."""
    agent = make_agent(DummyVecEnv([Same] * 4), baseline=baseline, learning_rate=1e-3)
    before = {name: weight.clone() for name, weight in agent.policy.state_dict().items()}
    callback = Rollouts()
    rows = learn(agent, 2, callbacks=[callback])
    moved = {name for name, weight in agent.policy.state_dict().items() if not torch.equal(weight, before[name])}
    assert "language_model.transformer.wte.weight" in moved
    assert ("value_net.0.bias" in moved) == (baseline == "critic")
    assert all(("train/value_loss" in row) == (baseline == "critic") for row in rows)
    np.testing.assert_allclose([row["train/explained_variance"] for row in rows], callback.explained, atol=1e-4)


def test_without_a_critic_its_coefficients_change_nothing() -> None:
    first, second = (
        weights_after(moved_agent(env=DummyVecEnv([Classes] * 4), baseline="class", seed=3, **settings))
        for settings in ({}, dict(vf_coef=0.0, gae_lambda=0.5, value_learning_rate=9.0, value_epochs=7))
    )
    assert all(torch.equal(second[name], weight) for name, weight in first.items())


def test_groups_of_the_addition_environment() -> None:
    """Two episodes a lane: lanes 0 and 1, and 2 and 3, have the same first and the same second problem, in every rollout."""
    env = gym.make_vec("ScratchpadAdd-v0", num_envs=4, n_samples_per_problem=2, digits=2)
    agent = make_agent(env, baseline="rloo")
    learn(agent, 2)
    buffer = agent.rollout_buffer
    prompts = [bytes(row[: end + 1]) for row, end in zip(buffer.tokens, buffer.mask.argmax(axis=1), strict=True)]
    assert prompts[0:2] == prompts[2:4] != prompts[4:6] == prompts[6:8]
    assert len(set(prompts)) == 4


def test_vector_environments_name_classes_too() -> None:
    vector = SyncVectorEnv([Classes] * 4, autoreset_mode=AutoresetMode.SAME_STEP)
    single = DummyVecEnv([Classes] * 4)
    agents = [make_agent(env, baseline="class") for env in (vector, single)]
    for agent in agents:
        learn(agent, 2)
    assert agents[0].class_means == agents[1].class_means
    assert sum(agents[0].class_means.counts.values()) == 16
    assert set(agents[0].class_means.counts) <= {"1 tokens", "2 tokens", "3 tokens"}


def test_a_critic_of_its_own_reaches_least_squares() -> None:
    """A linear value head, many passes over the rollout before it: the residual of the closed form."""
    settings = dict(learning_rate=0.0, value_learning_rate=1e-2, value_epochs=1500, max_grad_norm=None)
    agent = moved_agent(n_episodes=32, batch_size=32, **settings)
    learn(agent, 1)
    buffer, policy = agent.rollout_buffer, agent.policy
    tokens, mask = torch.from_numpy(buffer.tokens), torch.from_numpy(buffer.mask)
    with torch.no_grad():
        hidden = policy.language_model.transformer(tokens).last_hidden_state[mask]
        residual = policy.value_net(hidden)[:, 0].numpy() - buffer.returns[buffer.mask]
    features = np.c_[hidden.numpy(), np.ones(len(hidden))]
    best = np.linalg.lstsq(features, buffer.returns[buffer.mask], rcond=None)[0]
    least = np.square(features @ best - buffer.returns[buffer.mask]).mean()
    assert np.square(residual).mean() == pytest.approx(least, rel=0.05)
    assert least < 0.9 * np.var(buffer.returns[buffer.mask])


def test_a_critic_of_its_own_leaves_the_language_model_alone() -> None:
    joint, alone = (weights_after(moved_agent(value_epochs=epochs, batch_size=8), updates=1) for epochs in (0, 3))
    for name, weight in joint.items():
        assert torch.equal(alone[name], weight) == (not name.startswith("value_net")), name


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        (dict(baseline="value"), ValueError, "baseline must be one of critic, class, rloo, grpo, grpo_no_std"),
        (dict(class_horizon=0), ValueError, "class_horizon must be >= 1"),
        (dict(value_epochs=-1), ValueError, "value_epochs must be >= 0"),
        (dict(value_epochs=1, policy_kwargs=dict(detach_value=False)), ValueError, "value_epochs must be 0 with detach_value"),
    ],
)
def test_bad_arguments(kwargs, error, message) -> None:
    with pytest.raises(error, match=message):
        make_agent(**kwargs)


def test_class_means_are_saved(tmp_path) -> None:
    agent = make_agent(DummyVecEnv([Classes] * 4), baseline="class", class_horizon=9)
    learn(agent, 2)
    agent.save(tmp_path / "agent")
    loaded = PrioritizedKLPPO.load(tmp_path / "agent", env=DummyVecEnv([Classes] * 4))
    assert (loaded.baseline, loaded.class_means) == ("class", agent.class_means)
    assert loaded.class_means.horizon == 9
