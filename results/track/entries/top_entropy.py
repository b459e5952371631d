"""The policy gradient of only the fifth of the tokens where the policy is least sure, without KL (arXiv:2506.01939, "80/20").

Leaves out: the paper's learner, DAPO with groups.
"""

from agents.weighting import TokenWeights, top_entropy

weighting = TokenWeights(policy=top_entropy(0.8))
settings = {"kl_coef": 0.0}
