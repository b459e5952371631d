"""Where the policy is least sure, in a fifth of every episode, no KL and a wider clip range (arXiv:2507.15778, Archer).

Clip ranges, 0.5 and 0.2, are those of its launch scripts; the coefficient is that of the preset `tiny`. Leaves out: groups.
"""

from agents.weighting import dual_token

weighting = dual_token(quantile=0.8, clip_factor=2.5)
settings = {"kl_coef": 0.2}
