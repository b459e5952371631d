"""Control: the mean of the prioritized weights everywhere; it shows what less penalty does by itself."""

from agents.weighting import TokenWeights, certainty_power, constant_mean

weighting = TokenWeights(kl=constant_mean(certainty_power(150)))
settings = {"kl_coef": 0.2}
