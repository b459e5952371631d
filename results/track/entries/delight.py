"""The policy gradient times sigmoid(advantage * surprisal): rare successes count more, rare failures less; no KL
(arXiv:2603.14608).

Its temperature is the 1 of `delight`. Leaves out: REINFORCE, to which the paper adds it; here it is PPO.
"""

from agents.weighting import TokenWeights, delight

weighting = TokenWeights(policy=delight(1.0))
settings = {"kl_coef": 0.0}
