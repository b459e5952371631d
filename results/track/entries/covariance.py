"""No policy gradient on the 0.02% of the tokens that would lower the entropy most; no KL (arXiv:2505.22617).

Leaves out: the penalty to the old policy that KL-Cov puts on these tokens instead of their gradient.
"""

from agents.weighting import TokenWeights, covariance_mask

weighting = TokenWeights(policy=covariance_mask(2e-4))
settings = {"kl_coef": 0.0}
