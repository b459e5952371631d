"""The prioritized penalty with an exponent found on every rollout: the least certain 5% of the tokens keep a tenth at most.

Ours. Its coefficient is that of the preset `tiny`.
"""

from agents.weighting import TokenWeights, calibrated_power

weighting = TokenWeights(kl=calibrated_power())
settings = {"kl_coef": 0.2}
