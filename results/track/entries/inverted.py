"""Control: the prioritized weights with their ranks reversed, so that the surest tokens are free."""

from agents.weighting import TokenWeights, certainty_power, inverted

weighting = TokenWeights(kl=inverted(certainty_power(150)))
settings = {"kl_coef": 0.2}
