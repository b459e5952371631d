"""No penalty at all: what every other entry must beat."""

from agents.weighting import TokenWeights, none

weighting = TokenWeights(kl=none())
settings = {"kl_coef": 0.0}
