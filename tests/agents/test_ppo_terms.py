"""Terms of the loss beyond the default: A2C, pieces of a minibatch, KL in the reward, the adaptive coefficient, weights."""

import copy

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from agents import PrioritizedKLPPO
from agents.episode_buffer import EpisodeBuffer
from agents.weighting.signals import Surprisal
from agents.weighting.token_weights import TokenWeights
from agents.weighting.weightings import Weighting, none
from policies import GPT2Policy
from tests.agents.test_ppo import SIZE, Record, learn, make_agent, reference_copy_of_a_sharp_model
from tests.token_env import PAD, RepeatEnv


def moved_agent(**kwargs) -> PrioritizedKLPPO:
    """Policy and reference differ and are far from uniform."""
    agent = make_agent(**kwargs)
    reference_copy_of_a_sharp_model(agent)
    with torch.no_grad():
        for parameter in agent.policy.reference.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return agent


def weights_after(agent: PrioritizedKLPPO, updates: int = 2) -> dict[str, torch.Tensor]:
    learn(agent, updates)
    return {name: weight.clone() for name, weight in agent.policy.state_dict().items()}


class Critical(RepeatEnv):
    """Says that the second token written is critical."""

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        if terminated and self.steps >= 2:
            info["critical_tokens"] = (len(self.text) - self.steps + 1,)
        return obs, reward, terminated, truncated, info


def test_a2c_is_the_gradient_of_stable_baselines3() -> None:
    """One full-batch epoch without KL, on the transitions of one rollout, given to SB3's A2C one by one."""
    settings = dict(ent_coef=0.1, vf_coef=0.3, gae_lambda=0.95, gamma=1.0)
    agent = make_agent(
        batch_size=8,
        n_epochs=1,
        kl_coef=0.0,
        max_grad_norm=1e9,
        normalize_advantage=False,
        value_learning_rate=None,
        **settings,
    )
    reference_copy_of_a_sharp_model(agent)
    state = {name: weight.clone() for name, weight in agent.policy.state_dict().items()}
    learn(agent, 1)
    buffer = agent.rollout_buffer
    theirs = A2C(
        GPT2Policy, RepeatEnv(), policy_kwargs=SIZE, max_grad_norm=1e9, use_rms_prop=False, device="cpu", seed=0, **settings
    )
    theirs.set_logger(Logger(None, []))
    theirs.policy.load_state_dict(state)
    episodes, positions = np.nonzero(buffer.mask)
    rollout = RolloutBuffer(len(episodes), theirs.observation_space, theirs.action_space, "cpu")
    for episode, position in zip(episodes, positions, strict=True):
        obs = np.full_like(buffer.tokens[episode], PAD)
        obs[: position + 1] = buffer.tokens[episode, : position + 1]
        action = buffer.actions[episode, position].reshape(1, 1)
        rollout.add(obs[None], action, np.zeros(1), np.zeros(1), torch.zeros(1), torch.zeros(1))
    rollout.advantages[:, 0], rollout.returns[:, 0] = buffer.advantages[buffer.mask], buffer.returns[buffer.mask]
    theirs.rollout_buffer = rollout
    theirs.train()
    compared = 0
    ours = dict(agent.policy.named_parameters())
    for name, parameter in theirs.policy.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(ours[name].grad, parameter.grad, atol=1e-6, rtol=1e-4)
            compared += bool(parameter.grad.abs().max() > 1e-5)
    assert compared > 10


def test_pieces_of_a_minibatch_change_nothing() -> None:
    whole, pieces = (weights_after(moved_agent(max_batch_tokens=tokens)) for tokens in (10_000, 1))
    for name, weight in whole.items():
        torch.testing.assert_close(pieces[name], weight, atol=1e-5, rtol=0)


def test_kl_in_the_reward() -> None:
    """The rewards are those of the environment minus the weighted log-ratio, and so are the returns; the loss has no KL."""
    agent = moved_agent(kl_in="reward", kl_coef=0.7, kl_exponent=2.0, normalize_advantage=False, learning_rate=0.0)
    row = learn(agent, 1)[0]
    buffer = agent.rollout_buffer
    for episode in range(agent.n_episodes):
        rewards = []
        for position in np.flatnonzero(buffer.mask[episode]):
            action = buffer.actions[episode, position]
            p, q = (
                torch.from_numpy(x[episode, position]).log_softmax(0)[action]
                for x in (buffer.old_logits, buffer.reference_logits)
            )
            earned = float(action == buffer.tokens[episode, buffer.mask[episode].argmax()])
            rewards.append(earned - 0.7 * buffer.weights["kl"][episode, position] * float(p - q))
        expected = np.cumsum(rewards[::-1])[::-1]
        np.testing.assert_allclose(buffer.returns[episode, buffer.mask[episode]], expected, atol=1e-4)
    assert row["train/loss"] == pytest.approx(row["train/policy_gradient_loss"] + 0.5 * row["train/value_loss"], rel=1e-4)


def test_kl_in_the_reward_lowers_the_kl() -> None:
    settings = dict(kl_in="reward", kl_exponent=0.0, learning_rate=3e-3, n_episodes=16)
    free, held = (learn(make_agent(kl_coef=kl_coef, **settings), 8)[-1]["objective/kl"] for kl_coef in (0.0, 3.0))
    assert held < 0.5 * free


def test_kl_coefficient_adapts_and_is_saved(tmp_path) -> None:
    for kl_target, direction in ((1e-6, 1), (1e6, -1)):
        agent = moved_agent(kl_target=kl_target)
        coefs = [row["objective/kl_coef"] for row in learn(agent, 3)]
        assert (np.sign(np.diff(coefs)) == direction).all()
        agent.save(tmp_path / "agent")
        loaded = PrioritizedKLPPO.load(tmp_path / "agent", env=DummyVecEnv([RepeatEnv] * 4))
        assert loaded.kl_coef == agent.kl_coef == loaded.kl_controller.kl_coef


def schedule(progress: float) -> float:
    return 0.5 + 2 * progress


class Remember(BaseCallback):
    """How many timesteps were done when the updates began, and the rewards they learned from."""

    def __init__(self) -> None:
        super().__init__()
        self.timesteps: list[int] = []
        self.buffers: list[EpisodeBuffer] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.timesteps.append(self.num_timesteps)
        self.buffers.append(copy.deepcopy(self.model.rollout_buffer))


@pytest.mark.parametrize("kl_in", ["loss", "reward"])
def test_kl_coefficient_follows_a_schedule(kl_in: str) -> None:
    """By the progress after the rollout, as SB3's learning rate; loss or rewards, and the log, have the same value."""
    total, record, seen = 100, Record(), Remember()
    agent = moved_agent(kl_coef=schedule, kl_in=kl_in, learning_rate=lambda progress: 1e-9 * progress, kl_exponent=1.0)
    agent.set_logger(Logger(None, [record]))
    agent.learn(total, callback=seen)
    rows = [row for row in record.rows if "objective/kl_coef" in row]
    expected = [schedule(max(1 - done / total, 0)) for done in seen.timesteps]
    assert len(rows) == len(expected) >= 3
    assert expected[0] != expected[1] != schedule(0)
    for row, coef, buffer in zip(rows, expected, seen.buffers, strict=True):
        assert row["objective/kl_coef"] == pytest.approx(coef)
        assert coef == pytest.approx(schedule(row["train/learning_rate"] / 1e-9))
        in_loss = row["train/loss"] - row["train/policy_gradient_loss"] - 0.5 * row["train/value_loss"]
        assert in_loss == pytest.approx(coef * row["train/kl_loss"] if kl_in == "loss" else 0, abs=1e-5)
        logits = [torch.from_numpy(x).log_softmax(-1).numpy() for x in (buffer.old_logits, buffer.reference_logits)]
        p, q = (np.take_along_axis(x, buffer.actions[..., None], -1)[..., 0] for x in logits)
        earned = buffer.actions == np.take_along_axis(buffer.tokens, buffer.mask.argmax(axis=1)[:, None], 1)
        penalty = coef * buffer.weights["kl"] * (p - q) if kl_in == "reward" else 0
        np.testing.assert_allclose(buffer.rewards, (earned - penalty) * buffer.mask, atol=1e-5)


def test_a_schedule_of_the_kl_coefficient_is_saved(tmp_path) -> None:
    moved_agent(kl_coef=lambda progress: 3 * progress).save(tmp_path / "agent")
    loaded = PrioritizedKLPPO.load(tmp_path / "agent", env=DummyVecEnv([RepeatEnv] * 4))
    assert loaded.kl_coef(0.5) == 1.5


@pytest.mark.parametrize("kl_coef", [lambda progress: progress - 2, lambda progress: float("nan")])
def test_a_schedule_must_not_turn_the_penalty_round(kl_coef) -> None:
    with pytest.raises(ValueError, match=r"kl_coef must be >= 0 and finite, but it is (-2\.0|nan)"):
        learn(moved_agent(kl_coef=kl_coef), 1)


@pytest.mark.parametrize(("max_grad_norm", "clips"), [(None, False), (1e-3, True)])
def test_a_gradient_of_any_norm(max_grad_norm: float | None, clips: bool) -> None:
    agent = moved_agent(batch_size=8, max_grad_norm=max_grad_norm, ent_coef=1.0)
    row = learn(agent, 1)[0]
    norm = torch.stack([p.grad.norm() for p in agent.policy.language_model.parameters()]).norm()
    assert row["train/grad_norm"] > 1e-2
    assert float(norm) == pytest.approx(1e-3 if clips else row["train/grad_norm"], rel=1e-3)


def test_uniform_weights_and_exponent_zero_are_the_plain_penalty_bit_for_bit() -> None:
    plain = weights_after(moved_agent(weighting=TokenWeights()))
    for settings in (dict(weighting="uniform"), dict(kl_exponent=0.0)):
        for name, weight in weights_after(moved_agent(**settings)).items():
            assert torch.equal(weight, plain[name]), name


def test_a_coefficient_of_zero_is_no_kl_bit_for_bit() -> None:
    without = weights_after(moved_agent(weighting="none"))
    for name, weight in weights_after(moved_agent(kl_coef=0.0)).items():
        assert torch.equal(weight, without[name]), name


def test_policy_weights_switch_the_policy_gradient() -> None:
    agent = moved_agent(kl_coef=0.0, weighting=TokenWeights(policy=none()))
    before = agent.policy.language_model.transformer.wte.weight.clone()
    learn(agent, 1)
    assert torch.equal(agent.policy.language_model.transformer.wte.weight, before)


def test_entropy_weights_switch_the_bonus() -> None:
    settings = dict(kl_coef=0.0, ent_coef=1.0)
    weights = TokenWeights(policy=none(), entropy=none())
    before = make_agent(**settings).policy.language_model.transformer.wte.weight
    assert torch.equal(
        weights_after(make_agent(weighting=weights, **settings))["language_model.transformer.wte.weight"], before
    )
    weights = TokenWeights(policy=none())
    moved = weights_after(make_agent(weighting=weights, **settings))["language_model.transformer.wte.weight"]
    assert not torch.equal(moved, before)


def test_clip_weights_scale_the_clip_range() -> None:
    """With range 0 every token whose ratio has moved counts as clipped."""
    settings = dict(n_epochs=2, learning_rate=1e-3, clip_range=10.0)
    free, tight = (
        learn(moved_agent(weighting=weights, **settings), 1)[0]["train/clip_fraction"]
        for weights in (TokenWeights(), TokenWeights(clip=none()))
    )
    assert free == 0
    assert tight > 0.5


def test_oracle_lifts_the_penalty_on_the_critical_tokens_of_the_environment() -> None:
    agent = moved_agent(env=DummyVecEnv([Critical] * 4), weighting="oracle")
    row = learn(agent, 1)[0]
    buffer = agent.rollout_buffer
    first = buffer.mask.argmax(axis=1)
    expected = buffer.mask.astype(float)
    long_enough = buffer.mask.sum(axis=1) >= 2
    expected[np.flatnonzero(long_enough), first[long_enough] + 1] = 0
    np.testing.assert_array_equal(buffer.weights["kl"], expected)
    assert 0 < row["objective/kl_share_critical"] < 1


def test_the_share_of_a_kl_of_rounding_errors_is_not_logged() -> None:
    """Before the first update policy and reference are equal."""
    agent = make_agent(env=DummyVecEnv([Critical] * 4), learning_rate=1e-2, kl_exponent=0.0, ent_coef=1.0)
    reference_copy_of_a_sharp_model(agent)
    first, second = learn(agent, 2)
    assert "objective/kl_share_critical" not in first
    assert 0 < second["objective/kl_share_critical"] < 1


def test_oracle_needs_an_environment_that_tells() -> None:
    with pytest.raises(ValueError, match="critical_tokens"):
        learn(moved_agent(weighting="oracle"), 1)


@pytest.mark.parametrize("name", ["calibrated", "shuffled", "constant", "inverted", "top-entropy", "dual-token", "covariance",
                                  "probability-tilt", "delight", "tip", "steer"])  # fmt: skip
def test_every_name_trains(name: str) -> None:
    row = learn(moved_agent(weighting=name), 2)[-1]
    assert np.isfinite(row["train/loss"])
    assert ("objective/kl_exponent_found" in row) == (name == "calibrated")


def test_action_dependent_kl_weights_are_refused_in_the_reward() -> None:
    weights = TokenWeights(kl=Weighting(Surprisal()), allow_action_dependent=True)
    make_agent(weighting=weights)
    with pytest.raises(ValueError, match="kl_in='loss'"):
        make_agent(weighting=weights, kl_in="reward")
    with pytest.raises(ValueError, match="kl_in must"):
        make_agent(kl_in="advantage")
