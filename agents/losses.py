"""The loss of prioritized-KL PPO, term by term, as pure functions.

``L = L_PPO + vf_coef * L_V - ent_coef * H + kl_coef * L_KL``, every term a mean over completion tokens. M is the number of
completion tokens of a minibatch, V the size of the vocabulary.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from policies.checks import one_of

Certainty = Literal["negentropy", "min_entropy", "max_prob"]
KLEstimator = Literal["full", "k2", "k3", "rk3"]


def check_kl_estimator(kl_estimator: str) -> None:
    """:raises ValueError: if there is no such estimator, or it is ``"k1"``"""
    if kl_estimator == "k1":
        raise ValueError(
            "kl_estimator must not be 'k1': its expected gradient inside a loss is zero (the mean of a score function), "
            "so it adds noise and no penalty; use 'full' or 'k2'"
        )
    one_of("kl_estimator", kl_estimator, get_args(KLEstimator))


def certainty_of(logits: Tensor, certainty: Certainty = "negentropy", temperature: float = 1.0) -> Tensor:
    """J(s): how certain a distribution is, from 0 (uniform) to 1 (one token has all the probability).

    - ``negentropy``: ``(log V - H) / log V`` (arXiv:2502.06533, Eq. 2)
    - ``min_entropy``: ``1 + log(max p) / log V`` (what the authors' code computes)
    - ``max_prob``: ``max p`` (1 / V for the uniform distribution)

    :param logits: logits of the reference, ``(..., V)``
    :param certainty: which of the three
    :param temperature: softmax temperature of p, > 0 (the authors' code: 4)
    :return: ``(...)``
    :raises ValueError: if there is no such certainty
    """
    one_of("certainty", certainty, get_args(Certainty))
    log_probs = torch.log_softmax(logits / temperature, dim=-1)
    log_v = math.log(logits.shape[-1])
    if certainty == "negentropy":
        entropy = -(log_probs.exp() * log_probs).sum(dim=-1)
        value = 1 - entropy / log_v
    elif certainty == "min_entropy":
        value = 1 + log_probs.amax(dim=-1) / log_v
    else:
        value = log_probs.amax(dim=-1).exp()
    return value.clamp(0, 1)  # rounding only


def kl_per_token(
    log_probs: Tensor,
    reference_log_probs: Tensor,
    actions: Tensor,
    kl_estimator: KLEstimator = "full",
    old_log_prob: Tensor | None = None,
) -> Tensor:
    """KL(pi || pi_ref) of every state, exact or estimated from the action that was sampled there.

    With ``l = log pi(a|s) - log pi_ref(a|s)`` and ``r = pi(a|s) / pi_old(a|s)`` (k1 to k3: Schulman, "Approximating KL
    Divergence", 2020). On-policy means pi = pi_old, the policy that sampled a; off-policy is every later step of PPO.

    - ``full``: ``sum_a pi * l``. Value and gradient are exact, on- and off-policy.
    - ``k2``: ``l**2 / 2``, as in arXiv:2502.06533. Value: biased. Gradient: unbiased on-policy, biased off-policy.
    - ``k3``: ``exp(-l) - 1 + l``. Value: unbiased on-policy, biased off-policy. Gradient: on-policy that of the *forward*
      KL(pi_ref || pi), off-policy neither.
    - ``rk3``: ``r * k3``, differentiated through r too. Value and gradient: unbiased, on- and off-policy. On-policy its
      gradient is that of k2 for every single action.
    - ``k1``: ``l``. Value: unbiased on-policy, biased off-policy. Gradient: zero on-policy, off-policy independent of pi_ref,
      and thus no penalty; refused.

    All of this holds given the state: which states are visited is up to pi_old, and the penalty's effect on that is not part
    of the gradient (:func:`kl_reward` has it). For the same reason a weight may multiply any of them as long as it depends on
    the state alone.

    :param log_probs: log pi, ``(M, V)``
    :param reference_log_probs: log pi_ref, ``(M, V)``
    :param actions: int64 ``(M,)``
    :param kl_estimator: ``"full"``, ``"k2"``, ``"k3"`` or ``"rk3"``
    :param old_log_prob: log pi_old(a|s), ``(M,)``; only ``rk3`` needs it
    :return: in nats, ``(M,)``
    :raises ValueError: if there is no such estimator, it is ``"k1"``, or it is ``"rk3"`` without ``old_log_prob``
    """
    check_kl_estimator(kl_estimator)
    if kl_estimator == "full":
        return (log_probs.exp() * (log_probs - reference_log_probs)).sum(dim=-1)
    log_prob, reference_log_prob = (x.gather(-1, actions[..., None])[..., 0] for x in (log_probs, reference_log_probs))
    log_ratio = log_prob - reference_log_prob
    if kl_estimator == "k2":
        return log_ratio**2 / 2
    k3 = torch.exp(-log_ratio) - 1 + log_ratio
    if kl_estimator == "k3":
        return k3
    if old_log_prob is None:
        raise ValueError(
            "old_log_prob must be given with kl_estimator='rk3', but it is None: pass the actions' log-probabilities under "
            "the policy that sampled them"
        )
    return torch.exp(log_prob - old_log_prob) * k3


def kl_reward(log_prob: Tensor, reference_log_prob: Tensor, weights: Tensor, kl_coef: float) -> Tensor:
    """The KL penalty as a reward, ``-kl_coef * w * l`` (Ziegler et al. 2019, arXiv:1909.08593, Eq. 2, where w = 1).

    In a reward k1 is the right estimator: a policy gradient multiplies it by the score function, so its expected gradient is
    that of the KL of whole completions, future tokens included, which no form in the loss has (arXiv:2506.09477). With a
    weight this also pays the agent for entering states of small weight.

    :param log_prob: log pi(a|s), ``(...)``
    :param reference_log_prob: log pi_ref(a|s), ``(...)``
    :param weights: w of every state, ``(...)``
    :param kl_coef: coefficient of the penalty
    :return: what to add to the reward of every action, ``(...)``
    """
    return -kl_coef * weights * (log_prob - reference_log_prob)


def clipped_surrogate(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip_range: Tensor) -> tuple[Tensor, Tensor]:
    """PPO's policy loss of every token (Schulman et al. 2017, Eq. 7), and the probability ratio.

    :param log_prob: log pi(a|s), ``(M,)``
    :param old_log_prob: the same under the policy that sampled the actions, ``(M,)``
    :param advantages: ``(M,)``
    :param clip_range: epsilon of each token, ``(M,)``, or of all, ``()``
    :return: loss ``(M,)`` and ratio ``(M,)``
    """
    ratio = torch.exp(log_prob - old_log_prob)
    clipped = torch.clamp(ratio, 1 - clip_range, 1 + clip_range)
    return -torch.min(advantages * ratio, advantages * clipped), ratio
