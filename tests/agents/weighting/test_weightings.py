"""Every signal, shape and weighting against slow loops over plain numbers, one token at a time."""

import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from agents.weighting.shapes import CalibratedPower, Decay, Gaussian, Linear, Power, QuantileMask, Sigmoid, calibrate_exponent
from agents.weighting.signals import (
    Constant,
    Covariance,
    Delight,
    Divergence,
    EntropyChange,
    NotCritical,
    PolicyEntropy,
    Probability,
    ReferenceCertainty,
    Signal,
    Surprisal,
)
from agents.weighting.token_batch import TokenBatch
from agents.weighting.weightings import (
    Largest,
    Weighting,
    calibrated_power,
    certainty_power,
    covariance_gaussian,
    covariance_mask,
    delight,
    none,
    probability_tilt,
    steer,
    tip,
    top_entropy,
    uniform,
)
from tests.agents.rollouts import V, random_batch


def softmax(logits: Tensor, temperature: float) -> list[float]:
    exponentials = [math.exp(x / temperature) for x in logits.tolist()]
    return [e / sum(exponentials) for e in exponentials]


@dataclass
class Token:
    """One completion token of a rollout, as plain numbers."""

    episode: int
    p: list[float]
    q: list[float]
    action: int
    advantage: float
    critical: bool

    @property
    def entropy(self) -> float:
        return -sum(x * math.log(x) for x in self.p)

    @property
    def log_prob(self) -> float:
        return math.log(self.p[self.action])

    @property
    def kl(self) -> float:
        return sum(x * math.log(x / y) for x, y in zip(self.p, self.q, strict=True))


def tokens_of(batch: TokenBatch) -> list[Token]:
    return [
        Token(
            int(row),
            softmax(batch.old_logits[row, t], batch.temperature),
            softmax(batch.reference_logits[row, t], batch.temperature),
            int(batch.actions[row, t]),
            float(batch.advantages[row, t]),
            bool(batch.critical_tokens[row, t]),
        )
        for row, t in batch.mask.nonzero()
    ]


BATCH = random_batch()
TOKENS = tokens_of(BATCH)


def assert_weights(weighting: Weighting, expected: list[float], batch: TokenBatch = BATCH) -> None:
    weights = weighting(batch)
    assert weights.shape == batch.mask.shape
    assert (weights[~batch.mask] == 0).all()
    np.testing.assert_allclose(weights[batch.mask], expected, rtol=1e-4, atol=1e-6)


MEAN_LOG_PROB = np.mean([token.log_prob for token in TOKENS])
MEAN_ADVANTAGE = np.mean([token.advantage for token in TOKENS])
COVARIANCES = [(token.log_prob - MEAN_LOG_PROB) * (token.advantage - MEAN_ADVANTAGE) for token in TOKENS]


def entropy_change(token: Token) -> float:
    """As the paper has it, with pi = pi_old."""
    pi = token.p[token.action]
    return token.advantage / pi * pi * (1 - pi) * (math.log(pi) + token.entropy)


SIGNALS: list[tuple[Signal, Callable[[Token], float], bool]] = [
    (Constant(0.5), lambda token: 0.5, False),
    (PolicyEntropy(), lambda token: token.entropy, False),
    (Divergence(), lambda token: token.kl, False),
    (NotCritical(), lambda token: 1.0 - token.critical, False),
    (Probability(), lambda token: token.p[token.action], True),
    (Surprisal(), lambda token: -token.log_prob, True),
    (Covariance(), lambda token: (token.log_prob - MEAN_LOG_PROB) * (token.advantage - MEAN_ADVANTAGE), True),
    (Delight(), lambda token: -token.advantage * token.log_prob, True),
    (EntropyChange(), lambda token: entropy_change(token), True),
]


@pytest.mark.parametrize(("signal", "of_token", "action_dependent"), SIGNALS, ids=lambda x: getattr(type(x), "__name__", ""))
def test_signals(signal: Signal, of_token: Callable[[Token], float], action_dependent: bool) -> None:
    assert_weights(Weighting(signal), [of_token(token) for token in TOKENS])
    assert Weighting(signal).action_dependent is action_dependent


def test_log_probs_of_the_actions() -> None:
    np.testing.assert_allclose(BATCH.old_log_prob[BATCH.mask], [math.log(t.p[t.action]) for t in TOKENS], rtol=1e-4)
    np.testing.assert_allclose(BATCH.reference_log_prob[BATCH.mask], [math.log(t.q[t.action]) for t in TOKENS], rtol=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_certainty_has_its_own_temperature(temperature: float) -> None:
    """On logits before the softmax temperature of the policy, which is 2 here."""
    negentropy, min_entropy, max_prob = [], [], []
    for row, t in BATCH.mask.nonzero():
        q = softmax(BATCH.reference_logits[row, t], temperature)
        negentropy.append(1 + sum(x * math.log(x) for x in q) / math.log(V))
        min_entropy.append(1 + math.log(max(q)) / math.log(V))
        max_prob.append(max(q))
    assert_weights(Weighting(ReferenceCertainty("negentropy", temperature)), negentropy)
    assert_weights(Weighting(ReferenceCertainty("min_entropy", temperature)), min_entropy)
    assert_weights(Weighting(ReferenceCertainty("max_prob", temperature)), max_prob)


def negentropies() -> list[float]:
    return Weighting(ReferenceCertainty())(BATCH)[BATCH.mask].tolist()


def test_certainty_power() -> None:
    assert_weights(certainty_power(3.5), [j**3.5 for j in negentropies()])


@pytest.mark.parametrize("weighting", [uniform(), certainty_power(0.0), replace(uniform(), normalization="match_uniform")])
def test_uniform_and_exponent_zero_are_exactly_one(weighting: Weighting) -> None:
    assert torch.equal(weighting(BATCH), BATCH.mask.float())


def test_none_is_exactly_zero() -> None:
    assert torch.equal(none()(BATCH), torch.zeros(BATCH.mask.shape))


@pytest.mark.parametrize("certainty", ["negentropy", "min_entropy"])
def test_prioritised_weight_of_a_uniform_and_of_a_deterministic_reference(certainty: str) -> None:
    uniform_logits = torch.zeros(BATCH.reference_logits.shape)
    deterministic_logits = torch.nn.functional.one_hot(BATCH.actions, V) * 1000.0
    for logits, weight in ((uniform_logits, 0.0), (deterministic_logits, 1.0)):
        batch = replace(BATCH, reference_logits=logits)
        assert torch.equal(certainty_power(150.0, certainty)(batch)[batch.mask], torch.full((len(TOKENS),), weight))


def test_top_entropy() -> None:
    threshold = np.quantile([token.entropy for token in TOKENS], 0.8)
    expected = [float(token.entropy >= threshold) for token in TOKENS]
    assert sum(expected) == 5
    assert_weights(top_entropy(0.8), expected)


def test_quantile_of_every_episode() -> None:
    thresholds = [np.quantile([token.entropy for token in TOKENS if token.episode == e], 0.8) for e in range(4)]
    expected = [0.5 if token.entropy >= thresholds[token.episode] * (1 - 1e-6) else 3.0 for token in TOKENS]
    assert_weights(Weighting(PolicyEntropy(), QuantileMask(0.8, below=3.0, above=0.5, per_episode=True)), expected)


def test_covariance_mask() -> None:
    highest = sorted(COVARIANCES)[-2:]
    assert_weights(covariance_mask(share=0.05), [float(covariance not in highest) for covariance in COVARIANCES])


def test_covariance_gaussian() -> None:
    sigma = np.std(COVARIANCES)
    kernel = [math.exp(-(covariance**2) / (2 * sigma**2)) for covariance in COVARIANCES]
    assert_weights(covariance_gaussian(), [k / np.mean(kernel) for k in kernel])


def test_tip_keeps_the_unsure_and_of_the_sure_those_far_from_the_reference() -> None:
    median = np.quantile([token.entropy for token in TOKENS], 0.5)
    far = np.quantile([token.kl for token in TOKENS], 0.9)
    expected = []
    for token in TOKENS:
        if token.entropy >= median or token.kl >= far:
            expected.append(1.0)
        else:
            expected.append(0.0)
    assert sum(token.entropy >= median for token in TOKENS) < sum(expected) < len(TOKENS)
    assert_weights(tip(0.5, 0.9), expected)
    assert not tip().action_dependent


def test_the_largest_of_weights_says_what_they_depend_on() -> None:
    state, action = Weighting(Constant(0.5)), Weighting(Probability())
    assert_weights(Weighting(Largest((state, action))), [max(0.5, token.p[token.action]) for token in TOKENS])
    assert Weighting(Largest((state, action))).action_dependent
    assert not Weighting(Largest((state, state))).action_dependent
    assert not Weighting(Largest((state, action))).reads_old_logits
    assert Weighting(Largest((state, top_entropy()))).reads_old_logits


@pytest.mark.parametrize(("scale", "least"), [(1.0, 0.8), (1e-4, 0.99)])
def test_steer(scale: float, least: float) -> None:
    """Where no token changes the entropy by 0.02 all weights stay nearer to 1."""
    changes = [abs(entropy_change(token)) * scale for token in TOKENS]
    k = -math.log(0.8) / max(*changes, 0.02)
    expected = [math.exp(-k * change) for change in changes]
    assert min(expected) == pytest.approx(least, abs=0.01)
    assert_weights(steer(0.8), expected, replace(BATCH, advantages=scale * BATCH.advantages))


def test_gaussian_of_equal_values() -> None:
    assert torch.equal(Gaussian()(torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)), torch.ones(2, 3))


def test_probability_tilt_of_both_papers() -> None:
    p = [token.p[token.action] for token in TOKENS]
    assert_weights(probability_tilt(0.3), [0.3 * x + (1 - 0.3) for x in p])
    assert_weights(probability_tilt(-0.2), [1 + 0.2 * (1 - x) for x in p])
    assert torch.equal(probability_tilt(0.0)(BATCH), BATCH.mask.float())


def test_delight() -> None:
    expected = [1 / (1 + math.exp(-token.advantage * -token.log_prob / 0.7)) for token in TOKENS]
    assert_weights(delight(eta=0.7), expected)


def test_calibrated_power() -> None:
    """The least certain quarter keeps at most 0.2, everybody else more; the exponent is what the same function reports."""
    weighting = calibrated_power(quantile=0.25, weight=0.2)
    certainties = torch.tensor(negentropies())
    exponent = calibrate_exponent(certainties, 0.25, 0.2)
    assert exponent == pytest.approx(math.log(0.2) / math.log(np.quantile(certainties, 0.25)))
    assert_weights(weighting, [j**exponent for j in certainties.tolist()])
    weights = weighting(BATCH)[BATCH.mask]
    assert (weights <= 0.2 + 1e-6).float().mean() == pytest.approx(0.25, abs=0.03)


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30),
    st.floats(0.01, 0.99),
    st.floats(0.01, 0.99),
)
def test_calibration_holds_for_any_certainties(certainties: list[float], quantile: float, weight: float) -> None:
    values = torch.tensor(certainties)
    exponent = calibrate_exponent(values, quantile, weight)
    assert 0 < exponent < 1e7
    j_q = values.quantile(quantile).item()
    if j_q <= 1 - 1e-6:
        least_certain = values[values <= j_q].double()
        assert (least_certain**exponent <= weight * (1 + 1e-6)).all()


def test_calibration_at_its_limits() -> None:
    assert calibrate_exponent(torch.ones(9), 0.5, 0.1) == pytest.approx(math.log(0.1) / math.log(1 - 1e-6))
    assert calibrate_exponent(torch.zeros(9), 0.5, 0.1) == pytest.approx(math.log(0.1) / math.log(1e-6))


def test_mean_one() -> None:
    weighting = certainty_power(3.0)
    weights = weighting(BATCH)[BATCH.mask].tolist()
    assert_weights(replace(weighting, normalization="mean_one"), [w / np.mean(weights) for w in weights])
    assert_weights(replace(none(), normalization="mean_one"), [0.0] * len(TOKENS))


def test_match_uniform_keeps_the_total_penalty() -> None:
    weighting = certainty_power(3.0)
    weights, kl = weighting(BATCH)[BATCH.mask].tolist(), [token.kl for token in TOKENS]
    scale = sum(kl) / sum(w * k for w, k in zip(weights, kl, strict=True))
    assert_weights(replace(weighting, normalization="match_uniform"), [w * scale for w in weights])


def test_match_uniform_without_kl_is_mean_one() -> None:
    at_initialisation = random_batch(change=0.0)
    assert float(at_initialisation.kl.abs().max()) < 1e-6
    matched, mean_one = (
        replace(certainty_power(3.0), normalization=n)(at_initialisation) for n in ("match_uniform", "mean_one")
    )
    assert torch.equal(matched, mean_one)
    assert_weights(replace(none(), normalization="match_uniform"), [0.0] * len(TOKENS))


EVERY_WEIGHTING = [
    *(Weighting(signal) for signal, _, _ in SIGNALS),
    certainty_power(150.0, "min_entropy", 4.0),
    calibrated_power(),
    top_entropy(),
    Weighting(PolicyEntropy(), QuantileMask(0.8, per_episode=True)),
    covariance_mask(0.1),
    covariance_gaussian(),
    probability_tilt(),
    delight(),
    replace(certainty_power(3.0), normalization="match_uniform"),
]


@pytest.mark.parametrize("weighting", EVERY_WEIGHTING, ids=repr)
def test_padding_changes_nothing(weighting: Weighting) -> None:
    """Neither its amount nor what stands in it; not even NaN."""
    padded = weighting(random_batch(max_tokens=30, padding=math.nan))
    torch.testing.assert_close(padded[:, : BATCH.mask.shape[1]], weighting(BATCH), atol=1e-6, rtol=0)
    assert (padded[:, BATCH.mask.shape[1] :] == 0).all()


@pytest.mark.parametrize("weighting", EVERY_WEIGHTING, ids=repr)
def test_pickle(weighting: Weighting) -> None:
    copy = pickle.loads(pickle.dumps(weighting))
    assert copy == weighting
    assert torch.equal(copy(BATCH), weighting(BATCH))


def test_no_gradient_passes() -> None:
    batch = replace(BATCH, reference_logits=BATCH.reference_logits.clone().requires_grad_())
    assert not certainty_power(3.0)(batch).requires_grad


@dataclass(frozen=True)
class Margin:
    """How far the reference's best token is ahead of its second best, in [0, 1]: a signal of the user's own."""

    action_dependent: ClassVar[bool] = False

    def __call__(self, batch: TokenBatch) -> Tensor:
        best, second = batch.reference_log_probs.exp().topk(2).values.unbind(-1)
        return best - second


def test_a_new_weighting() -> None:
    expected = [(sorted(token.q)[-1] - sorted(token.q)[-2]) ** 2 for token in TOKENS]
    assert_weights(Weighting(Margin(), Power(2.0)), expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Power(-1.0), "exponent must be >= 0, but it is -1.0"),
        (lambda: QuantileMask(1.0), "quantile must lie in .0, 1., but it is 1.0"),
        (lambda: CalibratedPower(0.0), "quantile must lie in .0, 1., but it is 0.0"),
        (lambda: CalibratedPower(0.1, 1.0), "weight must lie in .0, 1., but it is 1.0"),
        (lambda: Decay(1.0), "least must lie in .0, 1., but it is 1.0"),
        (lambda: Decay(0.5, 0.0), "smallest must be > 0, but it is 0.0"),
        (lambda: Sigmoid(0.0), "scale must be > 0, but it is 0.0"),
        (lambda: ReferenceCertainty("sure"), "certainty must be one of negentropy, min_entropy, max_prob, but it is 'sure'"),
        (lambda: ReferenceCertainty(temperature=0.0), "temperature must be > 0, but it is 0.0"),
        (lambda: Weighting(Probability(), normalization="sum"), "normalization must be one of none, mean_one, match_uniform"),
        (lambda: probability_tilt(1.5), "alpha must be <= 1, but it is 1.5"),
    ],
)
def test_arguments(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_linear() -> None:
    assert_weights(Weighting(PolicyEntropy(), Linear(slope=2.0, intercept=1.0)), [1 + 2 * token.entropy for token in TOKENS])
