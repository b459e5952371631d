"""How the tokens of a rollout are weighted in the terms of the loss.

A :class:`Weighting` is a signal, what is measured at every token, and a shape, which turns it into a weight.
:class:`TokenWeights` holds one for each term of the loss, and is what an agent's ``weighting`` is: ``agent.weighting.kl`` is
the :class:`Weighting` of its KL penalty. :func:`named_weighting` has the built-in ones by name, and
``PrioritizedKLPPO(..., weighting=...)`` takes a name too. A weighting of your own is mostly a signal of your own: a callable
from a :class:`TokenBatch` to one number per token that says whether it depends on the sampled action::

    class Surprise:
        action_dependent = False  # only such a signal may weight the KL

        def __call__(self, batch: TokenBatch) -> Tensor:  # (B, T)
            return -batch.reference_log_probs.amax(dim=-1)

    weighting = TokenWeights(kl=Weighting(Surprise(), Sigmoid(scale=0.5)))

- Signals: ``Constant``, ``ReferenceCertainty``, ``PolicyEntropy``, ``Divergence``, ``NotCritical``; of the action:
  ``Probability``, ``Surprisal``, ``Covariance``, ``Delight``, ``EntropyChange``.
- Shapes: ``Identity``, ``Power``, ``CalibratedPower``, ``QuantileMask``, ``Sigmoid``, ``Gaussian``, ``Decay``,
  ``Linear``.
- Weightings from papers: ``certainty_power`` (the prioritized KL penalty), ``calibrated_power``, ``top_entropy``,
  ``covariance_mask``, ``covariance_gaussian``, ``probability_tilt``, ``delight``, ``tip``, ``steer``, and for two
  terms at once ``dual_token``.
- Controls, to find out what an effect is due to: ``uniform``, ``none``, ``shuffled``, ``constant_mean``, ``inverted``,
  ``oracle``.
"""

from agents.weighting.controls import constant_mean, inverted, oracle, shuffled
from agents.weighting.shapes import (
    CalibratedPower,
    Decay,
    Gaussian,
    Identity,
    Linear,
    Power,
    QuantileMask,
    Shape,
    Sigmoid,
    calibrate_exponent,
)
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
from agents.weighting.token_weights import SLOTS, TokenWeights, WeightingName, dual_token, named_weighting
from agents.weighting.weightings import (
    Largest,
    Normalization,
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

__all__ = [
    "SLOTS",
    "CalibratedPower",
    "Constant",
    "Covariance",
    "Decay",
    "Delight",
    "Divergence",
    "EntropyChange",
    "Gaussian",
    "Identity",
    "Largest",
    "Linear",
    "Normalization",
    "NotCritical",
    "PolicyEntropy",
    "Power",
    "Probability",
    "QuantileMask",
    "ReferenceCertainty",
    "Shape",
    "Sigmoid",
    "Signal",
    "Surprisal",
    "TokenBatch",
    "TokenWeights",
    "Weighting",
    "WeightingName",
    "calibrate_exponent",
    "calibrated_power",
    "certainty_power",
    "constant_mean",
    "covariance_gaussian",
    "covariance_mask",
    "delight",
    "dual_token",
    "inverted",
    "named_weighting",
    "none",
    "oracle",
    "probability_tilt",
    "shuffled",
    "steer",
    "tip",
    "top_entropy",
    "uniform",
]
