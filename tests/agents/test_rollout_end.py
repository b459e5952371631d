"""When ``on_rollout_end`` fires the rollout is finished: what the update will read is there, and logged."""

import copy

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from agents import PrioritizedKLPPO
from agents.episode_buffer import EpisodeBuffer
from tests.agents.test_ppo import make_agent
from tests.agents.test_ppo_terms import Critical, moved_agent
from tests.token_env import RepeatEnv

KL_COEF, EXPONENT, TEMPERATURE, GAMMA, LAMBDA = 0.7, 2.0, 2.0, 0.9, 0.8


class Slow:
    """A rollout computed again from its tokens and actions alone, one forward per prefix and one sum per number."""

    def __init__(self, agent: PrioritizedKLPPO):
        buffer, policy = agent.rollout_buffer, agent.policy
        shape = buffer.mask.shape
        self.reference_logits = np.zeros((*shape, buffer.vocab_size))
        self.advantages, self.returns, self.weights, self.kl, self.certainty = (np.zeros(shape) for _ in range(5))
        for episode, row in enumerate(buffer.mask):
            positions = np.flatnonzero(row)
            rewards, values = [], []
            for position in positions:
                prefix = torch.from_numpy(buffer.tokens[episode, : position + 1])[None]
                attention = torch.ones_like(prefix)
                with torch.no_grad():
                    logits = policy.language_model(prefix, attention_mask=attention).logits[0, -1]
                    reference_logits = policy.reference(prefix, attention_mask=attention).logits[0, -1]
                    hidden = policy.language_model.transformer(prefix).last_hidden_state[0, -1]
                    values.append(float(policy.value_net(hidden)[0]))
                p, q = logits.log_softmax(0), reference_logits.log_softmax(0)
                j = (reference_logits / TEMPERATURE).log_softmax(0)
                certainty = 1 + float((j.exp() * j).sum()) / np.log(buffer.vocab_size)
                action = buffer.actions[episode, position]
                reward = float(action == buffer.tokens[episode, positions[0]])
                if agent.kl_in == "reward":
                    reward -= KL_COEF * certainty**EXPONENT * float(p[action] - q[action])
                rewards.append(reward)
                self.reference_logits[episode, position] = reference_logits
                self.certainty[episode, position] = certainty
                self.weights[episode, position] = certainty**EXPONENT
                self.kl[episode, position] = float((p.exp() * (p - q)).sum())
            deltas = np.array(rewards) + GAMMA * np.array([*values[1:], 0.0]) - np.array(values)
            for t, position in enumerate(positions):
                discounts = (GAMMA * LAMBDA) ** np.arange(len(positions) - t)
                self.advantages[episode, position] = (discounts * deltas[t:]).sum()
                self.returns[episode, position] = self.advantages[episode, position] + values[t]
        taken = self.advantages[buffer.mask]
        if agent.normalize_advantage:
            self.advantages[buffer.mask] = (taken - taken.mean()) / taken.std()


class FinishedRollout(BaseCallback):
    """Compares the rollout with :class:`Slow` before every update, and that the update leaves it as it was."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[EpisodeBuffer] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer, slow = self.model.rollout_buffer, Slow(self.model)
        np.testing.assert_allclose(buffer.reference_logits, slow.reference_logits, atol=1e-5)
        np.testing.assert_allclose(buffer.returns, slow.returns, atol=1e-4)
        np.testing.assert_allclose(buffer.advantages, slow.advantages, atol=1e-3)
        np.testing.assert_allclose(buffer.weights["kl"], slow.weights, atol=1e-5)
        np.testing.assert_array_equal(buffer.weights["policy"], buffer.mask)
        logged = self.logger.name_to_value
        w, kl = slow.weights[buffer.mask], slow.kl[buffer.mask]
        assert logged["objective/certainty_mean"] == pytest.approx(slow.certainty[buffer.mask].mean(), abs=1e-5)
        assert logged["objective/weight_mean"] == pytest.approx(w.mean(), abs=1e-5)
        assert logged["objective/weight_frac_lt_0.1"] == pytest.approx((w < 0.1).mean(), abs=1e-5)
        assert logged["objective/weight_ess"] == pytest.approx(w.sum() ** 2 / (len(w) * (w**2).sum()), abs=1e-4)
        critical = kl[buffer.critical_tokens[buffer.mask]].sum() / kl.sum()
        assert logged["objective/kl_share_critical"] == pytest.approx(critical, abs=1e-4)
        self.seen.append(copy.deepcopy(buffer))

    def _on_rollout_start(self) -> None:
        if self.seen:
            before, now = self.seen[-1], self.model.rollout_buffer
            for name in ("rewards", "returns", "advantages", "reference_logits"):
                np.testing.assert_array_equal(getattr(now, name), getattr(before, name))
            assert all((now.weights[slot] == before.weights[slot]).all() for slot in before.weights)


@pytest.mark.parametrize("normalize_advantage", [True, False])
@pytest.mark.parametrize("kl_in", ["loss", "reward"])
def test_it_is_finished(kl_in: str, normalize_advantage: bool, monkeypatch) -> None:
    calls, original = [], EpisodeBuffer.compute_returns_and_advantage
    monkeypatch.setattr(EpisodeBuffer, "compute_returns_and_advantage", lambda self: (calls.append(self), original(self)))
    agent = moved_agent(
        env=DummyVecEnv([Critical] * 4),
        kl_in=kl_in,
        kl_coef=KL_COEF,
        kl_exponent=EXPONENT,
        certainty_temperature=TEMPERATURE,
        gamma=GAMMA,
        gae_lambda=LAMBDA,
        normalize_advantage=normalize_advantage,
        learning_rate=1e-3,
        value_learning_rate=1e-2,
        n_epochs=2,
    )
    callback = FinishedRollout()
    agent.learn(80, callback=callback)
    assert len(callback.seen) == len(calls) == agent.updates_done >= 2


class Rows(BaseCallback):
    """What is logged when a rollout has ended, which SB3 writes as the row of that rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, float]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.rows.append(dict(self.logger.name_to_value))


def test_a_calibrated_exponent_belongs_to_the_row_of_its_rollout() -> None:
    callback = Rows()
    make_agent(DummyVecEnv([RepeatEnv] * 4), weighting="calibrated").learn(1, callback=callback)
    (row,) = callback.rows
    assert row["objective/kl_exponent_found"] > 0
    assert "train/loss" not in row
    assert "objective/kl" not in row  # the update computes it
