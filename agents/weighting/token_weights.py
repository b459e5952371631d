"""``TokenWeights``: the weights of the four terms that can have them, and names for the built-in ones."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from agents.losses import Certainty
from agents.weighting.controls import constant_mean, inverted, oracle, shuffled
from agents.weighting.shapes import QuantileMask
from agents.weighting.signals import PolicyEntropy
from agents.weighting.weightings import (
    Weighting,
    calibrated_power,
    certainty_power,
    covariance_mask,
    delight,
    none,
    probability_tilt,
    steer,
    tip,
    top_entropy,
    uniform,
)
from policies.checks import one_of

SLOTS = ("kl", "policy", "entropy", "clip")


@dataclass(frozen=True)
class TokenWeights:
    """One weighting for each term of the loss,
    ``mean(w_policy * L_PPO) - ent_coef * mean(w_entropy * H) + kl_coef * mean(w_kl * KL)``, means over completion tokens,
    and one for PPO's clip range, ``epsilon_t = clip_range * w_clip``.

    The KL may only have a weight that depends on the state, not on the sampled action. Given the state such a weight is a
    constant, and multiplies the gradient of every estimator. A weight of the action tilts the expectation over actions that an
    estimator relies on: ``full`` is multiplied by the mean weight of the state, but the expected gradient of ``k2`` and ``rk3``
    is no longer that of a weighted KL, so the choice of the estimator would change what is penalised.

    :param kl: of the KL penalty
    :param policy: of the policy gradient, that is of the advantage
    :param entropy: of the entropy bonus
    :param clip: of the clip range
    :param allow_action_dependent: whether ``kl`` may depend on the sampled action after all
    :raises TypeError: if a slot holds anything else than a :class:`agents.weighting.Weighting`
    :raises ValueError: if ``kl`` depends on the sampled action and that is not allowed
    """

    kl: Weighting = field(default_factory=uniform)
    policy: Weighting = field(default_factory=uniform)
    entropy: Weighting = field(default_factory=uniform)
    clip: Weighting = field(default_factory=uniform)
    allow_action_dependent: bool = False

    def __post_init__(self) -> None:
        for slot in SLOTS:
            weighting = getattr(self, slot)
            if not isinstance(weighting, Weighting):
                raise TypeError(
                    f"{slot} must be a Weighting, but it is {weighting!r}: wrap a signal in Weighting(signal, shape)"
                )
        if self.kl.action_dependent and not self.allow_action_dependent:
            raise ValueError(
                f"kl must depend on the state alone, but {self.kl.signal} depends on the sampled action: under such a "
                "weight the estimators of the KL penalise different things; use it in the policy slot, or insist with "
                "allow_action_dependent=True"
            )

    @property
    def reads_old_logits(self) -> bool:
        """Whether one of them reads the policy's logits."""
        return any(getattr(self, slot).reads_old_logits for slot in SLOTS)


def dual_token(quantile: float = 0.8, clip_factor: float = 2.5) -> TokenWeights:
    """Archer (arXiv:2507.15778): tokens of high entropy are free of KL and have a wider clip range.

    Its launch scripts clip at 0.5 and 0.2: this is it with ``clip_range=0.2``.

    :param quantile: of the policy's entropy in each episode, in (0, 1); tokens at or above it are of high entropy
    :param clip_factor: ratio of the two clip ranges
    """
    return TokenWeights(
        kl=Weighting(PolicyEntropy(), QuantileMask(quantile, below=1.0, above=0.0, per_episode=True)),
        clip=Weighting(PolicyEntropy(), QuantileMask(quantile, below=1.0, above=clip_factor, per_episode=True)),
    )


WeightingName = Literal[
    "prioritized",
    "calibrated",
    "uniform",
    "none",
    "shuffled",
    "constant",
    "inverted",
    "oracle",
    "top-entropy",
    "dual-token",
    "covariance",
    "probability-tilt",
    "delight",
    "tip",
    "steer",
]


def named_weighting(
    name: WeightingName, kl_exponent: float = 150.0, certainty: Certainty = "negentropy", certainty_temperature: float = 1.0
) -> TokenWeights:
    """The built-in weightings by name; slots a method says nothing about are uniform, so that runs differ in one thing only.

    :param name: ``"prioritized"`` is the paper; ``"shuffled"``, ``"constant"`` and ``"inverted"`` are controls of it
    :param kl_exponent: beta of the prioritized penalty and of its controls
    :param certainty: likewise, and of ``"calibrated"``; see :func:`agents.losses.certainty_of`
    :param certainty_temperature: likewise
    :raises ValueError: if there is no such weighting
    """
    one_of("weighting", name, get_args(WeightingName), "choose one of these, or make a TokenWeights")
    prioritized = certainty_power(kl_exponent, certainty, certainty_temperature)
    weights: dict[WeightingName, TokenWeights] = {
        "prioritized": TokenWeights(kl=prioritized),
        "calibrated": TokenWeights(kl=calibrated_power(certainty=certainty, temperature=certainty_temperature)),
        "uniform": TokenWeights(),
        "none": TokenWeights(kl=none()),
        "shuffled": TokenWeights(kl=shuffled(prioritized)),
        "constant": TokenWeights(kl=constant_mean(prioritized)),
        "inverted": TokenWeights(kl=inverted(prioritized)),
        "oracle": TokenWeights(kl=oracle()),
        "top-entropy": TokenWeights(policy=top_entropy()),
        "dual-token": dual_token(),
        "covariance": TokenWeights(policy=covariance_mask()),
        "probability-tilt": TokenWeights(policy=probability_tilt()),
        "delight": TokenWeights(policy=delight()),
        "tip": TokenWeights(policy=tip()),
        "steer": TokenWeights(policy=steer()),
    }
    return weights[name]
