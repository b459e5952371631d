"""The policy gradient of tokens where the policy is unsure, or sure but far from the reference; no KL (arXiv:2604.14084, TIP).

The half of highest entropy, and the tenth of highest KL, as in the paper. Leaves out: distillation, for which the paper selects
tokens; its teacher is here the reference, which knows less.
"""

from agents.weighting import TokenWeights, tip

weighting = TokenWeights(policy=tip(entropy_quantile=0.5, divergence_quantile=0.9))
settings = {"kl_coef": 0.0}
