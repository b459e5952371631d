"""Whether training is sound: NaN and infinity stop it, and there is one warning when something drifts out of bounds."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, get_total_norm

from agents.statistics import MaskedStatistics

MAX_KL = 0.25
"""KL to the reference, in nats per token, above which a policy has left it. The largest of the runs in results/store was 0.18,
without any penalty, when the model had forgotten much."""
MAX_APPROX_KL = 0.1
"""``train/approx_kl``, the mean of ``r - 1 - log r`` with r the ratio of new and old policy, above which clipping does not keep
the two close. The largest of the runs in results/store was 0.02."""
PATIENCE = 10
"""Rollouts in a row without any success, after which there probably is no signal to learn from."""


def check_finite(terms: Mapping[str, np.ndarray | Tensor | float]) -> None:
    """Stop at a NaN or an infinity.

    :param terms: numbers by name, of any shape
    :raises FloatingPointError: naming the terms that hold one
    """
    found = []
    for name, values in terms.items():
        tensor = torch.as_tensor(values)
        broken = int((~tensor.isfinite()).sum())
        if broken:
            found.append(f"{name} = {tensor.item()}" if tensor.numel() == 1 else f"{name} ({broken} of {tensor.numel()})")
    if found:
        raise FloatingPointError(
            f"NaN or infinity in {', '.join(found)}: lower the learning rate, and look for extreme rewards, coefficients or "
            "token weights"
        )


def clip_gradients(optimizer: torch.optim.Optimizer, max_grad_norm: float, statistics: MaskedStatistics) -> dict[str, Tensor]:
    """Clip the gradient of every parameter group, if it is finite; that takes one look at the device.

    :param optimizer: its groups have names
    :param max_grad_norm: largest norm of the gradient of a group
    :param statistics: of the terms of the loss, which an error names
    :return: the norms before clipping, by group
    :raises FloatingPointError: if a gradient is not finite; the weights are as they were
    """
    norms = {group["name"]: clip_grad_norm_(group["params"], max_grad_norm) for group in optimizer.param_groups}
    if not torch.stack(list(norms.values())).isfinite().all():
        check_finite({**statistics.means(), **{f"gradient of the {name} group": norm for name, norm in norms.items()}})
    return norms


@dataclass
class Health:
    """Which warnings an agent has given. It is saved with the agent, so that a resumed run does not repeat them."""

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
            warnings.warn(message, stacklevel=3)
