"""The prioritized penalty with the coefficient, the exponent and the estimator that the paper gives (arXiv:2502.06533).

Leaves out: the rest of the paper's learner, which is A2C.
"""

from agents.weighting import TokenWeights, certainty_power

weighting = TokenWeights(kl=certainty_power(150))
settings = {"kl_coef": 5.0, "kl_estimator": "k2"}
