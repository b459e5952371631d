"""Every term of the loss against enumeration over a small vocabulary, or against a slow loop."""

import math

import pytest
import torch
from torch import Tensor

from agents.losses import certainty_of, clipped_surrogate, kl_per_token

V = 6


def policies(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits of a policy (with gradient) and of a reference, float64."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(V, generator=generator, dtype=torch.float64, requires_grad=True)
    return logits, torch.randn(V, generator=generator, dtype=torch.float64)


def exact_kl(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    p, q = p_logits.softmax(0), q_logits.softmax(0)
    return sum(p[a] * (p[a].log() - q[a].log()) for a in range(V))


def expectation(logits: Tensor, reference: Tensor, estimator: str) -> tuple[Tensor, Tensor]:
    """Value and gradient of an estimator averaged over all actions, sampled from the policy without gradient."""
    actions = torch.arange(V)
    per_action = kl_per_token(logits.log_softmax(0).expand(V, V), reference.log_softmax(0).expand(V, V), actions, estimator)
    mean = (logits.detach().softmax(0) * per_action).sum()
    return mean.detach(), torch.autograd.grad(mean, logits)[0]


def test_full_is_exact_in_value_and_gradient() -> None:
    logits, reference = policies()
    value, gradient = expectation(logits, reference, "full")
    kl = exact_kl(logits, reference)
    torch.testing.assert_close(value, kl.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(kl, logits)[0])


def test_k2_has_the_gradient_of_the_kl_but_not_its_value() -> None:
    logits, reference = policies()
    value, gradient = expectation(logits, reference, "k2")
    kl = exact_kl(logits, reference)
    torch.testing.assert_close(gradient, torch.autograd.grad(kl, logits)[0])
    assert abs(value - kl) > 0.01


def test_k3_has_the_value_of_the_kl_and_the_gradient_of_the_forward_kl() -> None:
    logits, reference = policies()
    value, gradient = expectation(logits, reference, "k3")
    torch.testing.assert_close(value, exact_kl(logits, reference).detach())
    forward = exact_kl(reference, logits)
    torch.testing.assert_close(gradient, torch.autograd.grad(forward, logits)[0])


def test_k1_is_refused_because_its_gradient_vanishes() -> None:
    logits, reference = policies()
    log_ratio = logits.log_softmax(0) - reference.log_softmax(0)
    gradient = torch.autograd.grad((logits.detach().softmax(0) * log_ratio).sum(), logits)[0]
    torch.testing.assert_close(gradient, torch.zeros(V, dtype=torch.float64), atol=1e-12, rtol=0)
    with pytest.raises(ValueError, match="kl_estimator must not be 'k1': its expected gradient"):
        kl_per_token(logits[None], reference[None], torch.tensor([0]), "k1")


@pytest.mark.parametrize("estimator", ["full", "k2", "k3"])
def test_kl_to_itself_is_zero_and_otherwise_not_negative(estimator: str) -> None:
    logits, reference = policies()
    itself = kl_per_token(logits.log_softmax(0).expand(V, V), logits.log_softmax(0).expand(V, V), torch.arange(V), estimator)
    torch.testing.assert_close(itself, torch.zeros(V, dtype=torch.float64), atol=1e-12, rtol=0)
    other = kl_per_token(logits.log_softmax(0).expand(V, V), reference.log_softmax(0).expand(V, V), torch.arange(V), estimator)
    assert (other > 0).all()


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
    """A two-way .99/.01 split at V = 20: J ** 150 is .06 by the text's formula; by the code's, at temperature 4, far less."""
    p = [0.99, 0.01] + [1e-30] * 18
    logits = torch.tensor(p, dtype=torch.float64).log()
    negentropy = 1 + sum(x * math.log(x) for x in p) / math.log(20)
    assert negentropy**150 == pytest.approx(0.06, abs=0.005)
    assert certainty_of(logits, "negentropy").item() ** 150 == pytest.approx(negentropy**150)
    tempered = [x**0.25 for x in p]
    min_entropy = 1 + math.log(max(tempered) / sum(tempered)) / math.log(20)
    assert certainty_of(logits, "min_entropy", 4.0).item() ** 150 == pytest.approx(min_entropy**150)
    assert 1e-7 < min_entropy**150 < 1e-6


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="certainty must be one of negentropy, min_entropy, max_prob, but it is 'sure'"):
        certainty_of(torch.zeros(V), "sure")
    with pytest.raises(ValueError, match="kl_estimator must be one of full, k2, k3, but it is 'k4'"):
        kl_per_token(torch.zeros(1, V), torch.zeros(1, V), torch.tensor([0]), "k4")


def test_surrogate_against_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    log_prob, old, advantages = (torch.randn(50, generator=generator) for _ in range(3))
    loss, ratio = clipped_surrogate(log_prob, old, advantages, 0.2)
    for i in range(50):
        r = math.exp(log_prob[i] - old[i])
        clipped = min(max(r, 0.8), 1.2)
        assert ratio[i].item() == pytest.approx(r, rel=1e-5)
        assert loss[i].item() == pytest.approx(-min(r * advantages[i].item(), clipped * advantages[i].item()), rel=1e-4)


def test_surrogate_without_a_change_is_the_policy_gradient() -> None:
    """At ratio 1 its gradient is that of ``-A log pi``: A2C, whatever the clip range."""
    logits, _ = policies()
    log_prob = logits.log_softmax(0)[:3]
    advantages = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    loss, _ = clipped_surrogate(log_prob, log_prob.detach(), advantages, 1e-6)
    gradient = torch.autograd.grad(loss.sum(), logits, retain_graph=True)[0]
    torch.testing.assert_close(gradient, torch.autograd.grad(-(advantages * log_prob).sum(), logits)[0])
