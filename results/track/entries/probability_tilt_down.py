"""Rare tokens have less policy gradient, 1 - 0.3 (1 - p), without KL (arXiv:2505.12929).

Leaves out: its second method, which updates rare tokens apart from the others.
"""

from agents.weighting import TokenWeights, probability_tilt

weighting = TokenWeights(policy=probability_tilt(0.3))
settings = {"kl_coef": 0.0}
