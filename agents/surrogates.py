"""The policy's loss of every token, and the rules by which a token that the update has moved far is left out of it."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from agents.episode_buffer import EpisodeBatch
from agents.losses import clipped_surrogate

ClipRule = Literal["ppo", "dppo_binary", "dppo_tv"]


def policy_surrogate(
    rule: ClipRule, log_probs: Tensor, batch: EpisodeBatch, clip_range: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """The loss of every token, and which tokens are clipped.

    - ``ppo``: the probability ratio is clipped (:func:`agents.losses.clipped_surrogate`).
    - ``dppo_binary``: tokens are dropped (:func:`masked_surrogate`) whose probability has moved too far,
      ``|pi(a|s) - pi_old(a|s)|``: the total variation of two distributions that only tell the action from all others.
    - ``dppo_tv``: the same with the total variation of the whole distributions, ``sum_a |pi - pi_old| / 2``. The paper
      approximates it, because vocabularies are large.

    :param log_probs: log pi, ``(M, V)``
    :param batch: with ``old_logits`` if the rule is ``dppo_tv``
    :param clip_range: epsilon of each token, or DPPO's threshold delta, ``(M,)``
    :param temperature: softmax temperature of the policy
    :return: loss ``(M,)`` and bool ``(M,)``
    """
    log_prob = log_probs.gather(1, batch.actions[:, None])[:, 0]
    if rule == "ppo":
        loss, ratio = clipped_surrogate(log_prob, batch.old_log_prob, batch.advantages, clip_range)
        return loss, (ratio - 1).abs() > clip_range
    if rule == "dppo_binary":
        moved = (log_prob.detach().exp() - batch.old_log_prob.exp()).abs()
    else:
        assert batch.old_logits is not None
        old_log_probs = log_softmax(batch.old_logits / temperature, dim=-1)
        moved = (log_probs.detach().exp() - old_log_probs.exp()).abs().sum(dim=-1) / 2
    return masked_surrogate(log_prob, batch.old_log_prob, batch.advantages, moved, clip_range)


def masked_surrogate(
    log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, moved: Tensor, threshold: Tensor
) -> tuple[Tensor, Tensor]:
    """DPPO's policy loss of every token, ``-A r`` (arXiv:2602.04879), and which tokens are dropped: those whose probability has
    moved in the direction of the advantage, where the policy has moved further than the threshold. Their loss is 0.

    :param log_prob: log pi(a|s), ``(M,)``
    :param old_log_prob: the same under the policy that sampled the actions, ``(M,)``
    :param advantages: ``(M,)``
    :param moved: distance of the two policies at the state, ``(M,)``
    :param threshold: delta of each token, ``(M,)``
    :return: loss ``(M,)`` and bool ``(M,)``
    """
    ratio = torch.exp(log_prob - old_log_prob)
    dropped = (advantages * (ratio - 1) > 0) & (moved > threshold)
    return (-advantages * ratio).masked_fill(dropped, 0), dropped
