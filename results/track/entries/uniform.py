"""The standard KL penalty, the same weight on every token (arXiv:1909.08593).

Its coefficient is that of the preset `tiny`. Leaves out: the penalty's place there, the reward; here it is in the loss.
"""

from agents.weighting import TokenWeights, uniform

weighting = TokenWeights(kl=uniform())
settings = {"kl_coef": 0.2}
