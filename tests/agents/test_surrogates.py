"""The rules that leave tokens out of the policy's loss, and the penalty to the sampling policy, against loops over tokens."""

import math

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from torch.nn.functional import log_softmax

from agents.surrogates import masked_surrogate
from agents.weighting import Constant, TokenWeights, Weighting
from tests.agents.test_ppo import SIZE, learn
from tests.agents.test_ppo_terms import moved_agent, weights_after

TEMPERATURE = 1.5


class Move(BaseCallback):
    """Moves the policy after the rollout, before its update, and keeps what the update then sees, in plain numbers."""

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        agent, buffer = self.model, self.model.rollout_buffer
        torch.manual_seed(7)
        with torch.no_grad():
            for parameter in agent.policy.language_model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
            log_probs, _ = agent.policy.evaluate_sequences(torch.from_numpy(buffer.tokens), torch.from_numpy(buffer.mask))
        self.pi = log_probs.exp().tolist()
        old_logits = torch.from_numpy(buffer.old_logits[buffer.mask])
        self.mu = log_softmax(old_logits / TEMPERATURE, dim=-1).exp().tolist()
        self.actions = buffer.actions[buffer.mask].tolist()
        self.advantages = buffer.advantages[buffer.mask].tolist()


def first_update(**kwargs) -> tuple[Move, dict[str, float]]:
    """One full-batch update after the policy was moved, and what it logged."""
    agent = moved_agent(batch_size=8, n_epochs=1, policy_kwargs={**SIZE, "temperature": TEMPERATURE}, **kwargs)
    move = Move()
    return move, learn(agent, 1, callbacks=[move])[0]


@pytest.mark.parametrize("rule", ["dppo_binary", "dppo_tv"])
def test_dppo_drops_what_has_moved_too_far_with_its_advantage(rule: str) -> None:
    delta = 0.05
    move, row = first_update(clip_rule=rule, clip_range=delta)
    losses, dropped = [], 0
    for pi, mu, action, advantage in zip(move.pi, move.mu, move.actions, move.advantages, strict=True):
        if rule == "dppo_binary":
            drop = (advantage > 0 and pi[action] - mu[action] > delta) or (advantage < 0 and mu[action] - pi[action] > delta)
        else:
            distance = sum(abs(x - y) for x, y in zip(pi, mu, strict=True)) / 2
            drop = distance > delta and advantage * (pi[action] - mu[action]) > 0
        dropped += drop
        losses.append(0.0 if drop else -advantage * pi[action] / mu[action])
    assert 0 < dropped < len(losses)
    assert row["train/clip_fraction"] == pytest.approx(dropped / len(losses))
    assert row["train/policy_gradient_loss"] == pytest.approx(np.mean(losses), abs=1e-5)


def test_the_rules_are_not_the_same() -> None:
    """The whole distribution moves at least as far as the probability of one action."""
    binary, whole = (first_update(clip_rule=rule, clip_range=0.05)[1] for rule in ("dppo_binary", "dppo_tv"))
    assert whole["train/clip_fraction"] > binary["train/clip_fraction"]


def test_dropped_tokens_have_no_gradient() -> None:
    log_prob = torch.tensor([0.9, 0.9, 0.1, 0.1, 0.5]).log().requires_grad_()
    old, advantages = torch.full((5,), 0.5).log(), torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
    moved = (log_prob.detach().exp() - 0.5).abs()
    loss, dropped = masked_surrogate(log_prob, old, advantages, moved, torch.tensor(0.2))
    loss.sum().backward()
    assert dropped.tolist() == [True, False, False, True, False]
    assert ((log_prob.grad == 0) == dropped).all()


def test_the_clip_slot_scales_the_threshold() -> None:
    half = TokenWeights(clip=Weighting(Constant(0.5)))
    _, narrow = first_update(clip_rule="dppo_tv", clip_range=0.05)
    _, halved = first_update(clip_rule="dppo_tv", clip_range=0.1, weighting=half)
    assert halved["train/clip_fraction"] == narrow["train/clip_fraction"]


def test_the_squared_log_ratio_is_added() -> None:
    coef = 3.0
    move, row = first_update(proximal_coef=coef)
    _, without = first_update()
    squares = [math.log(pi[action] / mu[action]) ** 2 for pi, mu, action in zip(move.pi, move.mu, move.actions, strict=True)]
    assert row["train/loss"] - without["train/loss"] == pytest.approx(coef * np.mean(squares), rel=1e-4)


@pytest.mark.parametrize("settings", [dict(proximal_coef=10.0), dict(clip_rule="dppo_binary"), dict(clip_rule="dppo_tv")])
def test_on_the_policy_that_sampled_they_do_nothing(settings: dict) -> None:
    """One update of all episodes: nothing has moved yet."""
    plain = weights_after(moved_agent(batch_size=8, n_epochs=1), 1)
    for name, weight in weights_after(moved_agent(batch_size=8, n_epochs=1, **settings), 1).items():
        torch.testing.assert_close(weight, plain[name])


def test_the_penalty_keeps_the_policy_near() -> None:
    def moved(coef: float) -> float:
        agent = moved_agent(batch_size=4, n_epochs=8, learning_rate=1e-2, proximal_coef=coef, clip_range=10.0)
        return learn(agent, 1)[0]["train/approx_kl"]

    assert moved(10.0) < moved(0.0) / 2


def test_arguments() -> None:
    with pytest.raises(ValueError, match="clip_rule must be one of ppo, dppo_binary, dppo_tv, but it is 'trpo'"):
        moved_agent(clip_rule="trpo")
    with pytest.raises(ValueError, match="proximal_coef must be >= 0"):
        moved_agent(proximal_coef=-1.0)


def test_the_logits_that_a_rule_needs_are_kept(monkeypatch) -> None:
    """Where the vocabulary is so large that others' are not."""
    monkeypatch.setattr("agents.ppo.ALWAYS_KEPT", 0)
    assert moved_agent(weighting="uniform", clip_rule="dppo_binary").rollout_buffer.old_logits is None
    learn(moved_agent(weighting="uniform", clip_rule="dppo_tv"), 1)
