"""A NaN stops training before it reaches the weights, and what is out of bounds is said once."""

import logging
import math

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from agents import PrioritizedKLPPO
from agents.health import MAX_APPROX_KL, MAX_KL, MIN_WEIGHT, PATIENCE, Health, check_finite
from agents.weighting.signals import Constant
from agents.weighting.token_weights import TokenWeights
from agents.weighting.weightings import Weighting
from tests.agents.test_ppo import learn, make_agent
from tests.token_env import RepeatEnv


class Rewarded(RepeatEnv):
    """Pays what no environment should."""

    reward = math.nan

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, self.reward, *rest


def stops(agent: PrioritizedKLPPO, message: str, total_timesteps: int = 1) -> None:
    """Training ends with the message, and the weights are finite and those of the last finished minibatch."""
    seen = []

    def remember(*_: object) -> None:
        seen.append([parameter.detach().clone() for parameter in agent.policy.parameters()])

    remember()
    agent.policy.optimizer.register_step_post_hook(remember)
    with pytest.raises(FloatingPointError, match=message):
        agent.learn(total_timesteps)
    for found, expected in zip(agent.policy.parameters(), seen[-1], strict=True):
        assert torch.equal(found, expected)
        assert found.isfinite().all()


@pytest.mark.parametrize("reward", [math.nan, math.inf])
def test_reward(reward: float, monkeypatch) -> None:
    monkeypatch.setattr(Rewarded, "reward", reward)
    agent = make_agent(DummyVecEnv([Rewarded] * 4))
    stops(agent, r"^update 1: NaN or infinity in rewards \(\d+ of 64\), returns \(\d+ of 64\), advantages \(\d+ of 64\): lower")


@pytest.mark.parametrize("slot", ["kl", "policy", "entropy", "clip"])
def test_token_weights(slot: str) -> None:
    agent = make_agent(weighting=TokenWeights(**{slot: Weighting(Constant(math.nan))}))
    stops(agent, rf"^update 1: NaN or infinity in weights of the {slot} term \(\d+ of 64\)")


def test_reference() -> None:
    agent = make_agent()
    next(agent.policy.reference.parameters()).data.fill_(math.nan)
    with pytest.raises(FloatingPointError, match=r"^update 1: NaN or infinity in reference_logits \(\d+ of"):
        agent.learn(1)


def test_policy_cannot_sample() -> None:
    agent = make_agent()
    next(agent.policy.language_model.parameters()).data.fill_(math.nan)
    with pytest.raises(FloatingPointError, match=r"^update 1: NaN or infinity in the policy's logits"):
        agent.learn(1)


@pytest.mark.parametrize(("coefficient", "group"), [("vf_coef", "value"), ("ent_coef", "policy")])
def test_loss(coefficient: str, group: str) -> None:
    agent = make_agent()
    setattr(agent, coefficient, math.nan)
    stops(agent, f"^update 1: NaN or infinity in train/loss = nan, gradient of the {group} group = nan: lower")


@pytest.mark.parametrize("group", [0, 1])
def test_gradient_in_the_middle_of_an_update(group: int) -> None:
    """The second minibatch of the second update; what the first one did stays."""
    agent = make_agent()
    broken_group = agent.policy.optimizer.param_groups[group]
    calls = 0

    def broken(gradient: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return gradient * math.inf if calls == 4 else gradient

    broken_group["params"][0].register_hook(broken)
    stops(
        agent,
        rf"^update 2: NaN or infinity in gradient of the {broken_group['name']} group = (nan|inf): lower",
        total_timesteps=1000,
    )


def test_step_that_breaks_the_weights() -> None:
    """The gradient is finite, the learning rate is not."""
    agent = make_agent(learning_rate=lambda progress: 1e-4 if progress == 1 else math.inf, batch_size=8)
    with pytest.raises(FloatingPointError, match=r"^update 1: NaN or infinity in norm of the weights = nan"):
        agent.learn(1)


def test_all_that_is_broken_is_named() -> None:
    check_finite({"a": 1.0, "b": torch.ones(3)})
    with pytest.raises(FloatingPointError, match=r"^NaN or infinity in b = inf, c \(2 of 3\): lower the learning rate"):
        check_finite({"a": 1.0, "b": math.inf, "c": torch.tensor([math.nan, 1.0, -math.inf])})


def means(kl: float = 0.0, approx_kl: float = 0.0) -> dict[str, float]:
    return {"objective/kl_per_token": kl, "train/approx_kl": approx_kl}


@pytest.mark.parametrize(
    ("out_of_bounds", "message"),
    [(means(kl=1.01 * MAX_KL), "raise kl_coef"), (means(approx_kl=1.01 * MAX_APPROX_KL), "lower learning_rate or n_epochs")],
)
def test_out_of_bounds_is_said_once(out_of_bounds: dict[str, float], message: str, caplog) -> None:
    health, parameters = Health(), [torch.ones(2)]
    health.after_update(means(MAX_KL, MAX_APPROX_KL), parameters)
    assert not caplog.messages
    for _ in range(2):
        health.after_update(out_of_bounds, parameters)
        (said,) = caplog.messages
        assert message in said


def test_no_success_is_said_once_if_it_lasts(caplog) -> None:
    health = Health()
    for _ in range(3):
        for _ in range(PATIENCE - 1):
            health.after_rollout([False, False])
        health.after_rollout([False, True])
    for _ in range(2 * PATIENCE):
        health.after_rollout([])  # the environment does not tell
    for _ in range(PATIENCE - 1):
        health.after_rollout([False])
    assert not caplog.messages
    for _ in range(2 * PATIENCE):
        health.after_rollout([False])
        (said,) = caplog.messages
        assert f"no episode of the last {PATIENCE} rollouts has been a success" in said


def test_a_penalty_that_its_weights_switch_off_is_said_once(caplog) -> None:
    """On the reference of random weights certainty is near 0, and its power nothing."""
    agent = make_agent(kl_coef=5.0, kl_exponent=4.0)
    row = learn(agent, 1)[0]
    learn(agent, 1)
    (said,) = caplog.messages
    assert 0 < row["objective/weight_mean"] < MIN_WEIGHT
    assert said.startswith(f"objective/weight_mean is {row['objective/weight_mean']:.3g}, below")
    assert all(word in said for word in ("off although kl_coef is 5", "exponent=4.0", "lower kl_exponent"))


@pytest.mark.parametrize("settings", [dict(kl_coef=0.0), dict(weighting="none"), dict(kl_exponent=0.0)])
def test_a_penalty_that_is_wanted_or_not_wanted_is_not_spoken_of(settings: dict, caplog) -> None:
    learn(make_agent(**settings), 2)
    assert not caplog.messages


def test_what_is_said_shows_no_line_of_source(capfd, monkeypatch) -> None:
    """As in a script that has not set up logging, where pytest's handlers are not."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    Health().after_update(means(kl=1.0), [torch.ones(2)])
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("objective/kl_per_token is 1, above")


class Told(RepeatEnv):
    """Says at the end whether an episode is a success."""

    verdict = False

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, {**info, **({"is_success": self.verdict} if terminated else {})}


class Count(BaseCallback):
    """Stops after some rollouts."""

    def __init__(self, rollouts: int):
        super().__init__()
        self.left = rollouts

    def _on_step(self) -> bool:
        return self.left > 0

    def _on_rollout_end(self) -> None:
        self.left -= 1


def test_a_run_without_success_warns_and_a_saved_agent_remembers(tmp_path, caplog) -> None:
    env = DummyVecEnv([Told] * 4)
    agent = make_agent(env, n_episodes=4, kl_exponent=0.0)
    agent.learn(10_000, callback=Count(PATIENCE - 1))
    agent.save(tmp_path / "agent")
    agent = PrioritizedKLPPO.load(tmp_path / "agent", env=env)
    agent.learn(10_000, callback=Count(1))
    assert "try easier problems" in "".join(caplog.messages)
    agent.save(tmp_path / "agent")
    agent = PrioritizedKLPPO.load(tmp_path / "agent", env=env)
    assert (agent.health.without_success, agent.health.said) == (PATIENCE, {"success"})


def test_successes_of_a_run_are_seen(monkeypatch) -> None:
    monkeypatch.setattr(Told, "verdict", True)
    agent = make_agent(DummyVecEnv([Told] * 4), n_episodes=4)
    agent.learn(10_000, callback=Count(2))
    assert agent.health.without_success == 0
    monkeypatch.setattr(Told, "verdict", False)
    agent.learn(10_000, callback=Count(2), reset_num_timesteps=False)
    assert agent.health.without_success == 2


def test_a_run_that_leaves_its_reference_warns(caplog) -> None:
    make_agent(learning_rate=0.1, kl_coef=0.0).learn(2000)
    assert sorted(message.split(" ")[0] for message in caplog.messages) == ["objective/kl_per_token", "train/approx_kl"]
