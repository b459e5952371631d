"""Control: the prioritized weights at other places, the same ones in all rollouts; it shows whether places matter."""

from agents.weighting import TokenWeights, certainty_power, shuffled

weighting = TokenWeights(kl=shuffled(certainty_power(150)))
settings = {"kl_coef": 0.2}
