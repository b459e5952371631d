"""``TokenBatch``: what a token weight may look at."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from agents.losses import kl_per_token
from policies.policy import entropy


@dataclass(frozen=True)
class TokenBatch:
    """The completion tokens of a whole rollout: B episodes, padded right to T, over V tokens. Nothing carries a gradient.

    Position t holds the state that an action was chosen in, and that action. Weights are computed once per rollout, before the
    first update, when the policy still is the one that wrote the episodes. Its logits are the ``old_logits``; there are no
    others. Logits are before the softmax temperature, which everything but the certainty of the reference applies.
    """

    old_logits: Tensor | None
    """Logits of the policy, ``(B, T, V)``; None if they were not kept, see :class:`agents.weighting.Signal`."""
    reference_logits: Tensor
    """Logits of the reference, ``(B, T, V)``."""
    actions: Tensor
    """Token chosen in each state, int64 ``(B, T)``."""
    old_log_prob: Tensor
    """log pi_old(a|s) of the actions, ``(B, T)``."""
    advantages: Tensor
    """Advantages as the loss uses them, normalised if it normalises, ``(B, T)``."""
    mask: Tensor
    """Bool ``(B, T)``: True where an action was taken. What the other tensors hold elsewhere does not matter."""
    critical_tokens: Tensor | None = None
    """Bool ``(B, T)``: True where the environment knows the action to be critical; None if it does not say."""
    temperature: float = 1.0
    """Softmax temperature of policy and reference."""

    @cached_property
    def old_log_probs(self) -> Tensor:
        """log pi_old(.|s), ``(B, T, V)``.

        :raises ValueError: if the policy's logits were not kept; so do :attr:`entropy` and :attr:`kl`
        """
        return self._log_probs(self._kept_logits())

    @cached_property
    def reference_log_probs(self) -> Tensor:
        """log pi_ref(.|s), ``(B, T, V)``."""
        return self._log_probs(self.reference_logits)

    @cached_property
    def reference_log_prob(self) -> Tensor:
        """log pi_ref(a|s) of the actions, ``(B, T)``."""

        def of_actions(logits: Tensor, actions: Tensor) -> Tensor:
            return self._log_probs(logits).gather(-1, actions[..., None])[..., 0]

        return by_episode(of_actions, self.reference_logits, self.actions)

    @cached_property
    def entropy(self) -> Tensor:
        """H(pi_old(.|s)) of every state, in nats, ``(B, T)``."""
        return by_episode(lambda logits: entropy(self._log_probs(logits)), self._kept_logits())

    @cached_property
    def kl(self) -> Tensor:
        """KL(pi_old || pi_ref) of every state, exact, in nats, ``(B, T)``."""

        def exact(old_logits: Tensor, reference_logits: Tensor, actions: Tensor) -> Tensor:
            return kl_per_token(self._log_probs(old_logits), self._log_probs(reference_logits), actions, "full")

        return by_episode(exact, self._kept_logits(), self.reference_logits, self.actions)

    def _log_probs(self, logits: Tensor) -> Tensor:
        return log_softmax(logits / self.temperature, dim=-1)

    def _kept_logits(self) -> Tensor:
        if self.old_logits is None:
            raise ValueError(
                "old_logits must be kept to be read, but they are None: let the signal that reads them say so with "
                "reads_old_logits = True"
            )
        return self.old_logits


def by_episode(measure: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Measure one episode after the other, so that intermediate results take the memory of one of them.

    :param measure: from a row of each tensor to ``(T,)``
    :param tensors: each ``(B, T, ...)``
    :return: ``(B, T)``
    """
    return torch.stack([measure(*rows) for rows in zip(*tensors, strict=True)])
