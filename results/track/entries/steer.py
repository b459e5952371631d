"""Tokens whose update would change the entropy most have less policy gradient, down to 0.8; no KL (arXiv:2510.10150, STEER).

0.8 is that of the authors' launch script. Leaves out: weights of every update, and a scale of every minibatch; both are of the
rollout here.
"""

from agents.weighting import TokenWeights, steer

weighting = TokenWeights(policy=steer(least=0.8))
settings = {"kl_coef": 0.0}
