"""The KL penalty times certainty ** 150, so that it vanishes where the reference is unsure (arXiv:2502.06533).

Its coefficient is that of the preset `tiny`; `prioritized_paper` has the paper's.
"""

from agents.weighting import TokenWeights, certainty_power

weighting = TokenWeights(kl=certainty_power(150))
settings = {"kl_coef": 0.2}
