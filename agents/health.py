"""Whether training is sound: NaN and infinity stop it, and there is one warning when something drifts out of bounds."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, get_total_norm

from agents.statistics import MaskedStatistics

MAX_KL = 0.25
"""KL to the reference, in nats per token, above which a policy has left it. The largest of the runs in
results/archive/store was 0.18, without any penalty, when the model had forgotten much."""
MAX_APPROX_KL = 0.1
"""``train/approx_kl``, the mean of ``r - 1 - log r`` with r the ratio of new and old policy, above which clipping does not keep
the two close. The largest of the runs in results/archive/store was 0.02."""
MIN_WEIGHT = 1e-3
"""Mean weight of the KL below which there is no penalty to speak of. The smallest of the runs in results/archive/store was
0.15."""
PATIENCE = 10
"""Rollouts in a row without any success, after which there probably is no signal to learn from."""

_LOG = logging.getLogger(__name__)
_PART = 2**24
"""How many numbers are looked at together: looking takes as much memory as they do."""


def check_finite(terms: Mapping[str, np.ndarray | Tensor | float]) -> None:
    """Stop at a NaN or an infinity.

    :param terms: numbers by name, of any shape
    :raises FloatingPointError: naming the terms that hold one
    """
    found = []
    for name, values in terms.items():
        tensor = torch.as_tensor(values)
        broken = sum(int((~part.isfinite()).sum()) for part in tensor.flatten().split(_PART))
        if broken:
            found.append(f"{name} = {tensor.item()}" if tensor.numel() == 1 else f"{name} ({broken} of {tensor.numel()})")
    if found:
        raise FloatingPointError(
            f"NaN or infinity in {', '.join(found)}: lower the learning rate, and look for extreme rewards, coefficients or "
            "token weights"
        )


def clip_gradients(
    optimizer: torch.optim.Optimizer, max_grad_norm: float | None, statistics: MaskedStatistics
) -> dict[str, Tensor]:
    """Clip the gradient of every parameter group, if it is finite; that takes one read from the device.

    :param optimizer: its groups have names
    :param max_grad_norm: largest norm of the gradient of a group; None for any
    :param statistics: of the terms of the loss, which an error names
    :return: the norms before clipping, by group; without those that have no gradient
    :raises FloatingPointError: if a gradient is not finite; the weights are as they were
    """
    largest = math.inf if max_grad_norm is None else max_grad_norm
    trained = [group for group in optimizer.param_groups if any(each.grad is not None for each in group["params"])]
    norms = {group["name"]: clip_grad_norm_(group["params"], largest) for group in trained}
    if not torch.stack(list(norms.values())).isfinite().all():
        check_finite({**statistics.means(), **{f"gradient of the {name} group": norm for name, norm in norms.items()}})
    return norms


@dataclass
class Health:
    """Which warnings an agent has given, to the logger ``agents.health``, which prints them unless told otherwise.

    It is saved with the agent, so that a resumed run does not repeat them.
    """

    without_success: int = 0
    """Rollouts in a row."""
    said: set[str] = field(default_factory=set)

    def after_rollout(self, successes: Sequence[bool]) -> None:
        """Warn if there has been no success for :data:`PATIENCE` rollouts.

        :param successes: of the episodes of a rollout; empty if the environment does not report it
        """
        self.without_success = self.without_success + 1 if len(successes) and not any(successes) else 0
        if self.without_success == PATIENCE:
            self._say(
                "success",
                f"no episode of the last {PATIENCE} rollouts has been a success, so there is hardly anything to learn from: "
                "try easier problems, a better pre-trained model, more n_episodes, a smaller kl_coef or ent_coef > 0",
            )

    def after_weighting(self, weight_mean: float, kl_coef: float, weighting: object) -> None:
        """Warn if the weights leave nothing of the KL penalty.

        :param weight_mean: of the KL, over the rollout
        :param kl_coef: coefficient of the penalty
        :param weighting: what made the weights
        """
        if kl_coef > 0 and abs(weight_mean) < MIN_WEIGHT:
            self._say(
                "weight",
                f"objective/weight_mean is {weight_mean:.3g}, below {MIN_WEIGHT}: the KL penalty is as good as off although "
                f"kl_coef is {kl_coef:g}, because of {weighting}; lower kl_exponent or certainty_temperature, or use "
                "weighting='calibrated'",
            )

    def after_update(self, means: Mapping[str, float], parameters: Iterable[Tensor]) -> None:
        """Warn if the policy has left its reference, or an update has left the policy that wrote the rollout.

        :param means: of what the update computed, by their names in TensorBoard
        :param parameters: of the policy
        :raises FloatingPointError: if any of these is NaN or infinite
        """
        check_finite({**means, "norm of the weights": get_total_norm(parameters)})
        kl, approx_kl = means["objective/kl_per_token"], means["train/approx_kl"]
        if kl > MAX_KL:
            self._say(
                "kl",
                f"objective/kl_per_token is {kl:.3g}, above {MAX_KL}: the policy has left its reference and may forget what it "
                "knew; raise kl_coef, lower kl_exponent or learning_rate, or set kl_target",
            )
        if approx_kl > MAX_APPROX_KL:
            self._say(
                "ratio",
                f"train/approx_kl is {approx_kl:.3g}, above {MAX_APPROX_KL}: an update changes the policy so much that the "
                "ratios to the old one mean little; lower learning_rate or n_epochs, or raise batch_size",
            )

    def _say(self, topic: str, message: str) -> None:
        if topic not in self.said:
            self.said.add(topic)
            _LOG.warning(message)
