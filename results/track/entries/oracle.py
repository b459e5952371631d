"""Control: no penalty on the critical tokens of the task's own rule, the plain one elsewhere; no signal has to find them."""

from agents.weighting import TokenWeights, oracle

weighting = TokenWeights(kl=oracle())
settings = {"kl_coef": 0.2}
