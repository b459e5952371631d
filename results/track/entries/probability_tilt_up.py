"""Rare tokens have more policy gradient, 1 + 0.3 (1 - p), without KL (arXiv:2603.22117).

Its strength is ours: as strong as `probability_tilt_down`, in the other direction.
Leaves out: the paper's learner, DAPO with groups.
"""

from agents.weighting import TokenWeights, probability_tilt

weighting = TokenWeights(policy=probability_tilt(-0.3))
settings = {"kl_coef": 0.0}
