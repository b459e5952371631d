"""``TokenBatch``: what a token weight may look at."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor
from torch.nn.functional import log_softmax

from agents.losses import kl_per_token


@dataclass(frozen=True)
class TokenBatch:
    """The completion tokens of a whole rollout: B episodes, padded right to T, over V tokens. Nothing carries a gradient.

    Position t holds the state that an action was chosen in, and that action. Weights are computed once per rollout, before the
    first update, when the policy still is the one that wrote the episodes. Its logits are the ``old_logits``; there are no
    others. Logits are before the softmax temperature, which everything but the certainty of the reference applies.
    """

    old_logits: Tensor
    """Logits of the policy, ``(B, T, V)``."""
    reference_logits: Tensor
    """Logits of the reference, ``(B, T, V)``."""
    actions: Tensor
    """Token chosen in each state, int64 ``(B, T)``."""
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
        """log pi_old(.|s), ``(B, T, V)``."""
        return log_softmax(self.old_logits / self.temperature, dim=-1)

    @cached_property
    def reference_log_probs(self) -> Tensor:
        """log pi_ref(.|s), ``(B, T, V)``."""
        return log_softmax(self.reference_logits / self.temperature, dim=-1)

    @cached_property
    def old_log_prob(self) -> Tensor:
        """log pi_old(a|s) of the actions, ``(B, T)``."""
        return self.old_log_probs.gather(-1, self.actions[..., None])[..., 0]

    @cached_property
    def reference_log_prob(self) -> Tensor:
        """log pi_ref(a|s) of the actions, ``(B, T)``."""
        return self.reference_log_probs.gather(-1, self.actions[..., None])[..., 0]

    @cached_property
    def kl(self) -> Tensor:
        """KL(pi_old || pi_ref) of every state, exact, in nats, ``(B, T)``."""
        return kl_per_token(self.old_log_probs, self.reference_log_probs, self.actions, "full")
