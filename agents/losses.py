"""The loss of prioritized-KL PPO, term by term, as pure functions.

``L = L_PPO + vf_coef * L_V - ent_coef * H + kl_coef * L_KL``, every term a mean over completion tokens. M is the number of
completion tokens of a minibatch, V the size of the vocabulary.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

Certainty = Literal["negentropy", "min_entropy", "max_prob"]
KLEstimator = Literal["full", "k2", "k3"]


def check_certainty(certainty: str) -> None:
    """:raises ValueError: if there is no such certainty"""
    if certainty not in get_args(Certainty):
        raise ValueError(
            f"certainty must be one of {', '.join(get_args(Certainty))}, but it is {certainty!r}: choose one of these"
        )


def check_kl_estimator(kl_estimator: str) -> None:
    """:raises ValueError: if there is no such estimator, or it is ``"k1"``"""
    if kl_estimator == "k1":
        raise ValueError(
            "kl_estimator must not be 'k1': its expected gradient inside a loss is zero (the mean of a score function), "
            "so it adds noise and no penalty; use 'full' or 'k2'"
        )
    if kl_estimator not in get_args(KLEstimator):
        raise ValueError(
            f"kl_estimator must be one of {', '.join(get_args(KLEstimator))}, but it is {kl_estimator!r}: choose one of these"
        )


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
    check_certainty(certainty)
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


def kl_per_token(log_probs: Tensor, reference_log_probs: Tensor, actions: Tensor, kl_estimator: KLEstimator = "full") -> Tensor:
    """KL(pi || pi_ref) of every state, exact or estimated from the action that was sampled from pi.

    With ``l = log pi(a|s) - log pi_ref(a|s)`` (Schulman, "Approximating KL Divergence", 2020):

    - ``full``: ``sum_a pi (log pi - log pi_ref)``. Exact value and exact gradient.
    - ``k2``: ``l**2 / 2``, as in the paper. Biased value; its expected gradient on-policy is exactly that of the KL.
    - ``k3``: ``exp(-l) - 1 + l``. Unbiased value; its expected gradient is that of the *forward* KL(pi_ref || pi).

    ``k2`` and ``k3`` are biased once pi has moved away from the policy that sampled the actions.

    :param log_probs: log pi, ``(M, V)``
    :param reference_log_probs: log pi_ref, ``(M, V)``
    :param actions: int64 ``(M,)``
    :param kl_estimator: ``"full"``, ``"k2"`` or ``"k3"``
    :return: ``(M,)``
    :raises ValueError: if there is no such estimator, or it is ``"k1"``
    """
    check_kl_estimator(kl_estimator)
    if kl_estimator == "full":
        return (log_probs.exp() * (log_probs - reference_log_probs)).sum(dim=-1)
    log_ratio = (log_probs - reference_log_probs).gather(-1, actions[..., None])[..., 0]
    if kl_estimator == "k2":
        return log_ratio**2 / 2
    return torch.exp(-log_ratio) - 1 + log_ratio


def clipped_surrogate(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip_range: float) -> tuple[Tensor, Tensor]:
    """PPO's policy loss of every token (Schulman et al. 2017, Eq. 7), and the probability ratio.

    :param log_prob: log pi(a|s), ``(M,)``
    :param old_log_prob: the same under the policy that sampled the actions, ``(M,)``
    :param advantages: ``(M,)``
    :param clip_range: epsilon
    :return: loss ``(M,)`` and ratio ``(M,)``
    """
    ratio = torch.exp(log_prob - old_log_prob)
    clipped = torch.clamp(ratio, 1 - clip_range, 1 + clip_range)
    return -torch.min(advantages * ratio, advantages * clipped), ratio
