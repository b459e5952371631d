"""Weightings: from a rollout to one weight per token. A new one is one line, ``Weighting(signal, shape)``."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from agents.losses import Certainty
from agents.weighting.shapes import CalibratedPower, Decay, Gaussian, Identity, Linear, Power, QuantileMask, Shape, Sigmoid
from agents.weighting.signals import (
    Constant,
    Covariance,
    Delight,
    Divergence,
    EntropyChange,
    PolicyEntropy,
    Probability,
    ReferenceCertainty,
    Signal,
)
from agents.weighting.token_batch import TokenBatch
from policies.checks import one_of

Normalization = Literal["none", "mean_one", "match_uniform"]

LEAST_KL = 1e-6
"""In nats per token. A mean KL below it, in float32, is mostly rounding."""


@dataclass(frozen=True)
class Weighting:
    """``w = normalization(shape(signal))``, 0 outside the mask, without gradient. Also a signal, for weightings of weightings.

    Normalisations, with means over completion tokens:

    - ``none``: the weights as they are.
    - ``mean_one``: ``w / mean(w)``. Weights that are 0 everywhere stay 0.
    - ``match_uniform``: ``w * mean(KL) / mean(w * KL)``, with KL(pi || pi_ref) at the time of the rollout, so that the weighted
      penalty is in total what the uniform one would be, only in other places. Where ``mean(w * KL)`` is below 1e-6 nats there
      is nothing to match, as at initialisation, where all KL is 0, or under weights that are 0 wherever the policy has moved;
      it is ``mean_one`` then. Weights become large where the policy moves mostly on tokens of small weight.

    :param signal: what is measured
    :param shape: turns it into a weight
    :param normalization: ``"none"``, ``"mean_one"`` or ``"match_uniform"``
    :raises ValueError: if there is no such normalisation
    """

    signal: Signal
    shape: Shape = field(default_factory=Identity)
    normalization: Normalization = "none"

    def __post_init__(self) -> None:
        one_of("normalization", self.normalization, get_args(Normalization))

    @property
    def action_dependent(self) -> bool:
        """Whether the weight of a token depends on the action sampled there, rather than on the state alone."""
        return self.signal.action_dependent

    @property
    def reads_old_logits(self) -> bool:
        """Whether the policy's logits must be kept for it; so they are for a signal that does not say."""
        return self.normalization == "match_uniform" or getattr(self.signal, "reads_old_logits", True)

    @torch.no_grad()
    def __call__(self, batch: TokenBatch) -> Tensor:
        """:param batch: the rollout :return: ``(B, T)``"""
        weights = self.shape(self.signal(batch), batch.mask).masked_fill(~batch.mask, 0)
        if self.normalization == "none":
            return weights
        if self.normalization == "match_uniform":
            kl = batch.kl[batch.mask]
            weighted_kl = (weights[batch.mask] * kl).mean()
            if weighted_kl > LEAST_KL:
                return weights * (kl.mean() / weighted_kl)
        mean = weights[batch.mask].mean()
        return weights / mean if mean > 0 else weights


@dataclass(frozen=True)
class Largest:
    """The largest of several weights: of masks, their union. A signal.

    :param weightings: at least one
    """

    weightings: tuple[Weighting, ...]

    @property
    def action_dependent(self) -> bool:
        """Whether one of them is."""
        return any(weighting.action_dependent for weighting in self.weightings)

    @property
    def reads_old_logits(self) -> bool:
        """Whether one of them does."""
        return any(weighting.reads_old_logits for weighting in self.weightings)

    def __call__(self, batch: TokenBatch) -> Tensor:
        return torch.stack([weighting(batch) for weighting in self.weightings]).amax(dim=0)


def uniform() -> Weighting:
    """1 everywhere: the plain term."""
    return Weighting(Constant(1.0))


def none() -> Weighting:
    """0 everywhere: no such term."""
    return Weighting(Constant(0.0))


def certainty_power(exponent: float, certainty: Certainty = "negentropy", temperature: float = 1.0) -> Weighting:
    """``J(s) ** beta``, the prioritized KL penalty (arXiv:2502.06533, section 3). For the KL.

    :param exponent: beta >= 0; 0 is exactly :func:`uniform`
    :param certainty: see :func:`agents.losses.certainty_of`
    :param temperature: softmax temperature of the certainty, > 0
    """
    return Weighting(ReferenceCertainty(certainty, temperature), Power(exponent))


def calibrated_power(
    quantile: float = 0.05, weight: float = 0.1, certainty: Certainty = "negentropy", temperature: float = 1.0
) -> Weighting:
    """``J(s) ** beta`` with beta found on every rollout: see :func:`agents.weighting.shapes.calibrate_exponent`. For the KL.

    :param quantile: share of tokens to be released, in (0, 1)
    :param weight: what they may keep, in (0, 1)
    :param certainty: see :func:`agents.losses.certainty_of`
    :param temperature: softmax temperature of the certainty, > 0
    """
    return Weighting(ReferenceCertainty(certainty, temperature), CalibratedPower(quantile, weight))


def top_entropy(quantile: float = 0.8) -> Weighting:
    """1 where the policy's entropy is in the top of the rollout, else 0 ("80/20", arXiv:2506.01939). For the policy gradient.

    :param quantile: in (0, 1); 0.8 keeps a fifth of the tokens
    """
    return Weighting(PolicyEntropy(), QuantileMask(quantile))


def covariance_mask(share: float = 2e-4) -> Weighting:
    """0 on the tokens of highest covariance, else 1 (arXiv:2505.22617). For the policy gradient.

    The paper's Clip-Cov draws such tokens at random from a band of covariances, its KL-Cov takes the top share, as here, but
    adds a KL to the old policy there.

    :param share: of the tokens, in (0, 1); that of KL-Cov
    """
    return Weighting(Covariance(), QuantileMask(1 - share, below=1.0, above=0.0))


def covariance_gaussian() -> Weighting:
    """``exp(-cov**2 / (2 sigma**2))``, mean one (arXiv:2605.11538). For the policy gradient."""
    return Weighting(Covariance(), Gaussian(), "mean_one")


def probability_tilt(alpha: float = 0.3) -> Weighting:
    """``1 - alpha * (1 - p)`` with p the probability of the sampled token. For the policy gradient.

    Two papers want opposite signs: alpha > 0 turns rare tokens down (arXiv:2505.12929, ``alpha * p + 1 - alpha``, alpha 0.2 to
    0.3), alpha < 0 turns them up (arXiv:2603.22117, ``1 + |alpha| * (1 - p)``).

    :param alpha: at most 1
    :raises ValueError: if alpha > 1, which would reverse rare tokens' gradients
    """
    if not alpha <= 1:
        raise ValueError(f"alpha must be <= 1, but it is {alpha}: 1 is the weight p, and larger values make weights negative")
    return Weighting(Probability(), Linear(slope=alpha, intercept=1 - alpha))


def delight(eta: float = 1.0) -> Weighting:
    """``sigmoid(A * surprisal / eta)``, between 0 and 1 (arXiv:2603.14608). For the policy gradient.

    :param eta: > 0; a large one weights all tokens 1/2
    """
    return Weighting(Delight(), Sigmoid(eta))


def tip(entropy_quantile: float = 0.5, divergence_quantile: float = 0.9) -> Weighting:
    """1 where the policy is unsure, or sure but far from the reference, else 0 (arXiv:2604.14084). For the policy gradient.

    The paper selects tokens of a distillation; its teacher is here the reference. Before the first update policy and reference
    are one, and what of their divergence is rounding decides.

    :param entropy_quantile: in (0, 1); tokens at or above it are kept, the paper's half
    :param divergence_quantile: likewise; the paper keeps fewer than a tenth for their divergence
    """
    return Weighting(Largest((top_entropy(entropy_quantile), Weighting(Divergence(), QuantileMask(divergence_quantile)))))


def steer(least: float = 0.8) -> Weighting:
    """``exp(-k |Omega|)`` with Omega the token's :class:`agents.weighting.signals.EntropyChange`: tokens that would change the
    entropy most count less (arXiv:2510.10150). For the policy gradient.

    :param least: weight of the token of the largest change, in (0, 1); 0.8 in the authors' launch script
    """
    return Weighting(EntropyChange(), Decay(least))
