"""The policy's logits stay only where something reads them, and a rollout that cannot fit is refused before it begins."""

from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from agents import memory, ppo
from agents.weighting import (
    Divergence,
    Identity,
    Normalization,
    PolicyEntropy,
    ReferenceCertainty,
    Signal,
    TokenWeights,
    Weighting,
    named_weighting,
)
from agents.weighting.token_batch import TokenBatch
from tests.agents.test_ppo import learn, make_agent
from tests.agents.test_ppo_terms import moved_agent, weights_after
from tests.token_env import MAX_TOKENS, VOCAB_SIZE

WITHOUT = ("prioritized", "calibrated", "uniform", "none", "shuffled", "constant", "inverted", "oracle", "covariance",
           "probability-tilt", "delight")  # fmt: skip


@pytest.fixture
def large(monkeypatch) -> None:
    """As if the vocabulary were large."""
    monkeypatch.setattr(ppo, "ALWAYS_KEPT", 0)


class Silent:
    """A signal of one's own that does not say what it reads."""

    action_dependent: ClassVar[bool] = False

    def __call__(self, batch: TokenBatch) -> torch.Tensor:
        return batch.kl


class Mistaken(Silent):
    reads_old_logits: ClassVar[bool] = False


@pytest.mark.parametrize("name", WITHOUT)
def test_weightings_that_do_not_read_them(name: str) -> None:
    assert not named_weighting(name).reads_old_logits


@pytest.mark.parametrize("name", ["top-entropy", "dual-token"])
def test_weightings_that_read_them(name: str) -> None:
    assert named_weighting(name).reads_old_logits


@pytest.mark.parametrize(
    ("signal", "normalization", "reads"),
    [
        (PolicyEntropy(), "none", True),
        (Divergence(), "none", True),
        (ReferenceCertainty(), "none", False),
        (ReferenceCertainty(), "mean_one", False),
        (ReferenceCertainty(), "match_uniform", True),
        (Silent(), "none", True),
        (Weighting(ReferenceCertainty()), "none", False),
        (Weighting(PolicyEntropy()), "none", True),
    ],
)
def test_what_a_weighting_reads(signal: Signal, normalization: Normalization, reads: bool) -> None:
    assert Weighting(signal, Identity(), normalization).reads_old_logits == reads


@pytest.mark.parametrize("settings", [{}, dict(kl_in="reward"), dict(weighting="calibrated"), dict(weighting="covariance")])
def test_without_them_the_run_is_the_same_bit_for_bit(settings: dict, request) -> None:
    kept = moved_agent(**settings)
    expected = weights_after(kept)
    request.getfixturevalue("large")
    dropped = moved_agent(**settings)
    for name, weight in weights_after(dropped).items():
        assert torch.equal(weight, expected[name]), name
    assert kept.rollout_buffer.old_logits is not None
    assert dropped.rollout_buffer.old_logits is None


def test_they_are_kept_for_a_signal_that_reads_them(large) -> None:
    for weights in (TokenWeights(policy=Weighting(PolicyEntropy())), TokenWeights(kl=Weighting(Silent()))):
        agent = moved_agent(weighting=weights)
        learn(agent, 1)
        assert agent.rollout_buffer.old_logits is not None


def test_a_signal_that_says_it_does_not_read_them_must_not(large) -> None:
    with pytest.raises(ValueError, match=r"old_logits must be kept to be read, .* reads_old_logits = True"):
        learn(moved_agent(weighting=TokenWeights(kl=Weighting(Mistaken()))), 1)


def test_a_rollout_that_does_not_fit_is_refused(large, monkeypatch) -> None:
    """8 episodes: one copy of their logits for the penalty of certainty, three if the policy's are kept."""
    size = 4 * 8 * MAX_TOKENS * VOCAB_SIZE
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=size))
    make_agent()
    with pytest.raises(ValueError, match=r"n_episodes must .* 8 episodes .* vocabulary of 5 need .* of policy and reference"):
        make_agent(weighting="top-entropy")
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=size - 1))
    with pytest.raises(ValueError, match=r"n_episodes must .* for the logits of the reference, and .* lower n_episodes"):
        make_agent()
    make_agent(n_episodes=4)


def test_the_message_says_how_much(monkeypatch) -> None:
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=4e9))
    with pytest.raises(
        ValueError, match=r"64 episodes of up to 489 tokens over a vocabulary of 50257 need 6\.3 GB .* 4\.0 GB are"
    ):
        memory.check_memory(64, 489, 50_257, keep_old_logits=False)
    with pytest.raises(ValueError, match=r"need 18\.9 GB"):
        memory.check_memory(64, 489, 50_257, keep_old_logits=True)
