"""A penalty on the squared log-ratio to the policy that sampled, instead of one to the reference (Kimi K2.5, as in prime-rl).

Its coefficient is the default of prime-rl. Leaves out: the clip rules that both use beside it; here it is PPO's.
"""

from agents.weighting import TokenWeights

weighting = TokenWeights()
settings = {"kl_coef": 0.0, "proximal_coef": 1e-3}
