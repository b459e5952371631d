"""Every term of the loss against enumeration over a small vocabulary, or against a slow loop."""

import math

import pytest
import torch
from torch import Tensor

from agents.losses import certainty_of, clipped_surrogate, kl_per_token, kl_reward

V = 6


def policies(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of a policy (with gradient), of a reference, and of the policy some updates ago, float64 ``(V,)`` each."""
    generator = torch.Generator().manual_seed(seed)
    logits, reference, change = (torch.randn(V, generator=generator, dtype=torch.float64) for _ in range(3))
    return logits.requires_grad_(), reference, logits.detach() + change / 2


def exact_kl(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    p, q = p_logits.softmax(0), q_logits.softmax(0)
    return sum(p[a] * (p[a].log() - q[a].log()) for a in range(V))


def gradient_of(value: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(value, logits, retain_graph=True)[0]


def expectation(
    logits: Tensor, reference: Tensor, old: Tensor, estimator: str, weights: Tensor | float = 1.0
) -> tuple[Tensor, Tensor]:
    """Value and gradient of an estimator averaged over all actions, with the probability that ``old`` samples them."""
    log_probs, reference_log_probs, old_log_probs = (x.log_softmax(0) for x in (logits, reference, old.detach()))
    every_action = torch.arange(V)
    if estimator == "k1":
        per_action = log_probs - reference_log_probs
    else:
        per_action = kl_per_token(
            log_probs.expand(V, V), reference_log_probs.expand(V, V), every_action, estimator, old_log_probs
        )
    mean = (old_log_probs.exp() * weights * per_action).sum()
    return mean.detach(), gradient_of(mean, logits)


def same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("estimator", "value_on", "gradient_on", "value_off", "gradient_off"),
    [
        ("full", True, True, True, True),
        ("rk3", True, True, True, True),
        ("k2", False, True, False, False),
        ("k3", True, False, False, False),
        ("k1", True, False, False, False),
    ],
)
def test_which_estimators_are_unbiased(
    estimator: str, value_on: bool, gradient_on: bool, value_off: bool, gradient_off: bool
) -> None:
    """Value and gradient against the exact KL, on- and off-policy: this table is the docstring of ``kl_per_token``."""
    for seed in range(5):
        logits, reference, old = policies(seed)
        kl = exact_kl(logits, reference)
        value, gradient = expectation(logits, reference, logits, estimator)
        assert (same(value, kl), same(gradient, gradient_of(kl, logits))) == (value_on, gradient_on)
        value, gradient = expectation(logits, reference, old, estimator)
        assert (same(value, kl), same(gradient, gradient_of(kl, logits))) == (value_off, gradient_off)


def test_gradient_of_k3_is_that_of_the_forward_kl_on_policy_only() -> None:
    logits, reference, old = policies()
    forward = gradient_of(exact_kl(reference, logits), logits)
    assert same(expectation(logits, reference, logits, "k3")[1], forward)
    assert not same(expectation(logits, reference, old, "k3")[1], forward)


def test_gradient_of_k1_never_depends_on_the_reference_and_is_zero_on_policy() -> None:
    logits, reference, old = policies()
    assert same(expectation(logits, reference, logits, "k1")[1], torch.zeros(V, dtype=torch.float64))
    off_policy = expectation(logits, reference, old, "k1")[1]
    assert same(off_policy, expectation(logits, -reference, old, "k1")[1])
    assert off_policy.abs().max() > 0.01


def test_k1_is_refused() -> None:
    with pytest.raises(ValueError, match="kl_estimator must not be 'k1': its expected gradient"):
        kl_per_token(torch.zeros(1, V), torch.zeros(1, V), torch.tensor([0]), "k1")


def test_rk3_is_k3_in_value_on_policy_and_needs_the_old_policy() -> None:
    logits, reference, _ = policies()
    log_probs, reference_log_probs = logits.log_softmax(0).expand(V, V), reference.log_softmax(0).expand(V, V)
    rk3 = kl_per_token(log_probs, reference_log_probs, torch.arange(V), "rk3", log_probs[0])
    torch.testing.assert_close(rk3, kl_per_token(log_probs, reference_log_probs, torch.arange(V), "k3"))
    with pytest.raises(ValueError, match="old_log_prob must be given with kl_estimator='rk3', but it is None"):
        kl_per_token(log_probs, reference_log_probs, torch.arange(V), "rk3")


def test_on_policy_the_gradient_of_rk3_is_that_of_k2_for_every_single_action() -> None:
    logits, reference, _ = policies()
    for action in torch.eye(V, dtype=torch.float64):
        k2, rk3 = (expectation(logits, reference, logits, estimator, action)[1] for estimator in ("k2", "rk3"))
        assert same(k2, rk3)


def test_under_a_weight_of_the_action_the_estimators_disagree() -> None:
    """``full`` becomes the KL times the mean weight; k2 (hence rk3) and k3 do not. Why the KL slot refuses such weights."""
    logits, reference, _ = policies()
    weights = torch.rand(V, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weighted_kl = (logits.detach().softmax(0) * weights).sum() * exact_kl(logits, reference)
    full, k2, k3 = (expectation(logits, reference, logits, estimator, weights)[1] for estimator in ("full", "k2", "k3"))
    assert same(full, gradient_of(weighted_kl, logits))
    assert not same(k2, full)
    assert not same(k3, full)


@pytest.mark.parametrize("estimator", ["full", "k2", "k3", "rk3"])
def test_kl_to_itself_is_zero_and_otherwise_not_negative(estimator: str) -> None:
    logits, reference, old = policies()
    log_probs, reference_log_probs = logits.log_softmax(0).expand(V, V), reference.log_softmax(0).expand(V, V)
    old_log_prob = old.log_softmax(0)
    itself = kl_per_token(log_probs, log_probs, torch.arange(V), estimator, old_log_prob)
    torch.testing.assert_close(itself, torch.zeros(V, dtype=torch.float64), atol=1e-12, rtol=0)
    assert (kl_per_token(log_probs, reference_log_probs, torch.arange(V), estimator, old_log_prob) > 0).all()


def two_step_kl(logits: Tensor, reference: Tensor, weights: Tensor) -> Tensor:
    """``E sum_t w(s_t) KL(s_t)`` of two-token texts; row 0 is the start, row 1 + a the state after token a."""
    kl = (logits.softmax(1) * (logits.log_softmax(1) - reference.log_softmax(1))).sum(1)
    return weights[0] * kl[0] + (logits[0].softmax(0) * weights[1:] * kl[1:]).sum()


@pytest.mark.parametrize("weighted", [False, True])
def test_kl_in_the_reward_has_the_gradient_of_the_kl_of_whole_texts(weighted: bool) -> None:
    """REINFORCE over all texts of two tokens, each with its reward-to-go; the same KL in the loss lacks the future's share."""
    generator = torch.Generator().manual_seed(0)
    logits, reference = (torch.randn(1 + V, V, generator=generator, dtype=torch.float64) for _ in range(2))
    logits.requires_grad_()
    weights = torch.rand(1 + V, generator=generator, dtype=torch.float64) if weighted else torch.ones(1 + V).double()
    log_probs = logits.log_softmax(1)
    rewards = kl_reward(log_probs, reference.log_softmax(1), weights[:, None], kl_coef=3.0).detach()
    loss, in_loss = torch.zeros(()), torch.zeros(())
    for first in range(V):
        for second in range(V):
            probability = (log_probs[0, first] + log_probs[1 + first, second]).exp().detach()
            reward_to_go = rewards[0, first] + rewards[1 + first, second], rewards[1 + first, second]
            loss = loss - probability * (log_probs[0, first] * reward_to_go[0] + log_probs[1 + first, second] * reward_to_go[1])
            states = torch.tensor([0, 1 + first])
            full = kl_per_token(log_probs[states], reference.log_softmax(1)[states], torch.tensor([first, second]), "full")
            in_loss = in_loss + probability * 3.0 * (weights[states] * full).sum()
    exact = gradient_of(3.0 * two_step_kl(logits, reference, weights), logits)
    assert same(gradient_of(loss, logits), exact)
    partial = gradient_of(in_loss, logits)
    assert same(partial[1:], exact[1:])
    assert not same(partial[0], exact[0])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_certainty_against_its_formula(temperature: float) -> None:
    logits = policies()[1]
    exponentials = [math.exp(x / temperature) for x in logits.tolist()]
    p = [e / sum(exponentials) for e in exponentials]
    entropy = -sum(x * math.log(x) for x in p)
    assert certainty_of(logits, "negentropy", temperature).item() == pytest.approx((math.log(V) - entropy) / math.log(V))
    assert certainty_of(logits, "min_entropy", temperature).item() == pytest.approx(1 + math.log(max(p)) / math.log(V))
    assert certainty_of(logits, "max_prob", temperature).item() == pytest.approx(max(p))


def test_certainty_at_its_ends() -> None:
    uniform, deterministic = torch.zeros(V), torch.tensor([200.0] + [0.0] * (V - 1))
    for certainty, least in (("negentropy", 0.0), ("min_entropy", 0.0), ("max_prob", 1 / V)):
        assert certainty_of(uniform, certainty).item() == pytest.approx(least, abs=1e-6)
        assert certainty_of(deterministic, certainty).item() == pytest.approx(1, abs=1e-6)


def test_certainty_of_the_paper_and_of_the_code_differ() -> None:
    """A two-way .99/.01 split at V = 20: J ** 150 is .06 by the text's formula, 5e-7 by the code's at temperature 4."""
    p = [0.99, 0.01] + [1e-30] * 18
    logits = torch.tensor(p, dtype=torch.float64).log()
    negentropy = 1 + sum(x * math.log(x) for x in p) / math.log(20)
    assert negentropy**150 == pytest.approx(0.06, abs=0.005)
    assert certainty_of(logits, "negentropy").item() ** 150 == pytest.approx(negentropy**150)
    tempered = [x**0.25 for x in p]
    min_entropy = 1 + math.log(max(tempered) / sum(tempered)) / math.log(20)
    assert certainty_of(logits, "min_entropy", 4.0).item() ** 150 == pytest.approx(min_entropy**150)
    assert min_entropy**150 == pytest.approx(5e-7, rel=0.1)


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="certainty must be one of negentropy, min_entropy, max_prob, but it is 'sure'"):
        certainty_of(torch.zeros(V), "sure")
    with pytest.raises(ValueError, match="kl_estimator must be one of full, k2, k3, rk3, but it is 'k4'"):
        kl_per_token(torch.zeros(1, V), torch.zeros(1, V), torch.tensor([0]), "k4")


def test_surrogate_against_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    log_prob, old, advantages = (torch.randn(50, generator=generator) for _ in range(3))
    clip_range = 0.5 * torch.rand(50, generator=generator)
    loss, ratio = clipped_surrogate(log_prob, old, advantages, clip_range)
    for i in range(50):
        r = math.exp(log_prob[i] - old[i])
        clipped = min(max(r, 1 - clip_range[i].item()), 1 + clip_range[i].item())
        assert ratio[i].item() == pytest.approx(r, rel=1e-5)
        assert loss[i].item() == pytest.approx(-min(r * advantages[i].item(), clipped * advantages[i].item()), rel=1e-4)


def test_surrogate_without_a_change_is_the_policy_gradient() -> None:
    """At ratio 1 its gradient is that of ``-A log pi``: A2C, whatever the clip range."""
    logits = policies()[0]
    log_prob = logits.log_softmax(0)[:3]
    advantages = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    loss, _ = clipped_surrogate(log_prob, log_prob.detach(), advantages, torch.tensor(1e-6, dtype=torch.float64))
    assert same(gradient_of(loss.sum(), logits), gradient_of(-(advantages * log_prob).sum(), logits))
