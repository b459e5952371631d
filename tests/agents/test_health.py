"""A NaN stops training before it reaches the weights, and what is out of bounds is said once."""

import math
import warnings

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from agents import PrioritizedKLPPO
from agents.health import MAX_APPROX_KL, MAX_KL, PATIENCE, Health, check_finite
from agents.weighting.signals import Constant
from agents.weighting.token_weights import TokenWeights
from agents.weighting.weightings import Weighting
from tests.agents.test_ppo import make_agent
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
def test_out_of_bounds_is_said_once(out_of_bounds: dict[str, float], message: str) -> None:
    health, parameters = Health(), [torch.ones(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        health.after_update(means(MAX_KL, MAX_APPROX_KL), parameters)
    with pytest.warns(UserWarning, match=message) as found:
        health.after_update(out_of_bounds, parameters)
    assert len(found) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        health.after_update(out_of_bounds, parameters)


def test_no_success_is_said_once_if_it_lasts() -> None:
    health = Health()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            for _ in range(PATIENCE - 1):
                health.after_rollout([False, False])
            health.after_rollout([False, True])
        for _ in range(2 * PATIENCE):
            health.after_rollout([])  # the environment does not tell
        for _ in range(PATIENCE - 1):
            health.after_rollout([False])
    with pytest.warns(UserWarning, match=f"no episode of the last {PATIENCE} rollouts has been a success"):
        health.after_rollout([False])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2 * PATIENCE):
            health.after_rollout([False])


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


def test_a_run_without_success_warns_and_a_saved_agent_remembers(tmp_path) -> None:
    env = DummyVecEnv([Told] * 4)
    agent = make_agent(env, n_episodes=4)
    agent.learn(10_000, callback=Count(PATIENCE - 1))
    agent.save(tmp_path / "agent")
    agent = PrioritizedKLPPO.load(tmp_path / "agent", env=env)
    with pytest.warns(UserWarning, match="try easier problems"):
        agent.learn(10_000, callback=Count(1))
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


def test_a_run_that_leaves_its_reference_warns() -> None:
    agent = make_agent(learning_rate=0.1, kl_coef=0.0)
    with pytest.warns(UserWarning, match="above") as found:
        agent.learn(2000)
    said = [str(warning.message).split(" ")[0] for warning in found]
    assert sorted(said) == ["objective/kl_per_token", "train/approx_kl"]
