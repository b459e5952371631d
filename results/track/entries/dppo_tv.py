"""Drops tokens where the distribution has moved by more than 0.2 in total variation since they were sampled; no KL.

DPPO (arXiv:2602.04879) with the quantity that its binary form approximates, which a small vocabulary makes cheap. Leaves out:
the cap on large ratios, and groups.
"""

from agents.weighting import TokenWeights

weighting = TokenWeights()
settings = {"kl_coef": 0.0, "clip_rule": "dppo_tv", "clip_range": 0.2}
