"""Drops tokens whose probability has moved by more than 0.2 since they were sampled; no KL (arXiv:2602.04879, DPPO).

Its binary total variation, instead of clipped ratios; 0.2 is the threshold in verl and prime-rl. Leaves out: the cap on large
ratios, and groups.
"""

from agents.weighting import TokenWeights

weighting = TokenWeights()
settings = {"kl_coef": 0.0, "clip_rule": "dppo_binary", "clip_range": 0.2}
