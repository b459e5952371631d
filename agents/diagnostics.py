"""What is logged about the penalty: of a rollout (the weights, the certainty, where the KL sits) and of its update."""

from stable_baselines3.common.logger import Logger
from torch import Tensor

from agents.losses import kl_per_token
from agents.statistics import MaskedStatistics
from agents.weighting.shapes import CalibratedPower, calibrate_exponent
from agents.weighting.token_batch import TokenBatch
from agents.weighting.weightings import LEAST_KL, Weighting


def record_rollout(logger: Logger, tokens: TokenBatch, weights: Tensor, weighting: Weighting, certainty: Tensor) -> float:
    """Log ``objective/*`` of a rollout; everything is over completion tokens only.

    - ``certainty_mean``, and its histogram ``certainty`` (in TensorBoard only)
    - ``weight_mean``, ``weight_frac_lt_0.1``
    - ``weight_ess``: ``(sum w)**2 / (M * sum w**2)``, effective sample size as a share of the M tokens (Kish 1965): 1 if all
      weights are equal, 1/M if one token has all the weight
    - ``kl_share_critical``: share of the KL on the environment's critical tokens, if it reports them, the policy's logits are
      kept, and there is a KL: its mean is above :data:`agents.weighting.weightings.LEAST_KL`
    - ``kl_exponent_found``: beta, if the weighting calibrates it

    :param weights: of the KL, ``(B, T)``
    :param weighting: what made them
    :param certainty: J of the reference, ``(B, T)``
    :return: ``weight_mean``
    """
    w, j = weights[tokens.mask], certainty[tokens.mask]  # each (M,)
    weight_mean = w.mean().item()
    logger.record("objective/certainty_mean", j.mean().item())
    logger.record("objective/certainty", j.cpu(), exclude=("stdout", "log", "json", "csv"))
    logger.record("objective/weight_mean", weight_mean)
    logger.record("objective/weight_frac_lt_0.1", (w < 0.1).float().mean().item())
    logger.record("objective/weight_ess", (w.sum() ** 2 / (len(w) * (w**2).sum()).clamp_min(1e-30)).item())
    if tokens.critical_tokens is not None and tokens.old_logits is not None:
        kl = tokens.kl[tokens.mask].clamp_min(0)  # rounding only
        if kl.mean() > LEAST_KL:
            logger.record("objective/kl_share_critical", (kl[tokens.critical_tokens[tokens.mask]].sum() / kl.sum()).item())
    if isinstance(weighting.shape, CalibratedPower):
        found = calibrate_exponent(weighting.signal(tokens)[tokens.mask], weighting.shape.quantile, weighting.shape.weight)
        logger.record("objective/kl_exponent_found", found)
    return weight_mean


def add_divergences(
    statistics: MaskedStatistics, log_probs: Tensor, reference_log_probs: Tensor, actions: Tensor, weights: Tensor
) -> None:
    """Add both KLs of a minibatch, exact.

    :param log_probs: log pi, ``(M, V)``; likewise ``reference_log_probs``
    :param actions: ``(M,)``
    :param weights: of the KL, ``(M,)``
    """
    log_probs = log_probs.detach()
    kl = kl_per_token(log_probs, reference_log_probs, actions, "full")
    forward = kl_per_token(reference_log_probs, log_probs, actions, "full")
    for name, values in {"kl_per_token": kl, "forward_kl_per_token": forward, "kl_weighted": weights * kl}.items():
        statistics.add(f"objective/{name}", values.mean(), len(actions))


def record_update(logger: Logger, statistics: MaskedStatistics, n_episodes: int) -> float:
    """Log the means of an update, and its KL to the reference per episode.

    :return: ``objective/kl``, in nats per episode
    """
    for name, value in statistics.means().items():
        logger.record(name, value)
    kl = statistics.total("objective/kl_per_token") / n_episodes
    logger.record("objective/kl", kl)
    logger.record("objective/forward_kl", statistics.total("objective/forward_kl_per_token") / n_episodes)
    logger.record("objective/kl_weighted_per_episode", statistics.total("objective/kl_weighted") / n_episodes)
    return kl


def over_position(tokens: TokenBatch, values: Tensor) -> Tensor:
    """Mean of a quantity over the episodes, by position in the completion.

    :param values: ``(B, T)``
    :return: ``(T',)`` with T' the longest completion; the first action of every episode is at 0
    """
    order = tokens.mask.float().argsort(dim=1, descending=True, stable=True)  # completion tokens to the front
    mask = tokens.mask.gather(1, order)
    aligned = values.gather(1, order).masked_fill(~mask, 0)
    counts = mask.sum(dim=0)
    return (aligned.sum(dim=0) / counts.clamp_min(1))[counts > 0]
