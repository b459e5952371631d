"""Signals: what is measured at every token of a rollout, before a shape turns it into a weight.

A signal maps a :class:`agents.weighting.TokenBatch` to ``(B, T)``; what it returns outside the mask does not matter.
It says whether it depends on the action that was sampled, or on the state alone, because only the latter may weight the KL
(:class:`agents.weighting.TokenWeights`). It may also say that it does not read the policy's logits, so that they need not be
kept.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, get_args

import torch
from torch import Tensor

from agents.losses import Certainty, certainty_of
from agents.weighting.token_batch import TokenBatch, by_episode
from policies.checks import above, one_of


class Signal(Protocol):
    """A number for every token.

    One that reads neither ``old_logits`` nor what is computed from them (``old_log_probs``, ``entropy``, ``kl``) may have
    ``reads_old_logits = False`` beside ``action_dependent``: with a large vocabulary they are only kept for those that do.
    """

    @property
    def action_dependent(self) -> bool:
        """Whether it depends on the sampled action (or on its advantage), rather than on the state alone."""

    def __call__(self, batch: TokenBatch) -> Tensor:
        """:param batch: the rollout :return: ``(B, T)``"""


@dataclass(frozen=True)
class Constant:
    """The same number everywhere."""

    value: float
    action_dependent: ClassVar[bool] = False
    reads_old_logits: ClassVar[bool] = False

    def __call__(self, batch: TokenBatch) -> Tensor:
        return torch.full_like(batch.advantages, self.value)


@dataclass(frozen=True)
class ReferenceCertainty:
    """J(s), how certain the reference is, in [0, 1] (arXiv:2502.06533, Eq. 2); see :func:`agents.losses.certainty_of`.

    :param certainty: ``"negentropy"``, ``"min_entropy"`` or ``"max_prob"``
    :param temperature: softmax temperature of the certainty, > 0, in place of that of the policy
    :raises ValueError: if there is no such certainty, or the temperature is not positive
    """

    certainty: Certainty = "negentropy"
    temperature: float = 1.0
    action_dependent: ClassVar[bool] = False
    reads_old_logits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        one_of("certainty", self.certainty, get_args(Certainty))
        above("temperature", self.temperature, remedy="pass 1.0 to leave the softmax as it is")

    def __call__(self, batch: TokenBatch) -> Tensor:
        return by_episode(lambda logits: certainty_of(logits, self.certainty, self.temperature), batch.reference_logits)


@dataclass(frozen=True)
class PolicyEntropy:
    """H(pi(.|s)) in nats."""

    action_dependent: ClassVar[bool] = False

    def __call__(self, batch: TokenBatch) -> Tensor:
        return batch.entropy


@dataclass(frozen=True)
class Divergence:
    """KL(pi || pi_ref) in nats: where the policy has already left the reference."""

    action_dependent: ClassVar[bool] = False

    def __call__(self, batch: TokenBatch) -> Tensor:
        return batch.kl


@dataclass(frozen=True)
class NotCritical:
    """1 on the tokens the environment knows not to be critical, 0 on the critical ones: the truth a certainty tries to guess.

    :raises ValueError: when called on a rollout whose environment does not report them
    """

    action_dependent: ClassVar[bool] = False
    reads_old_logits: ClassVar[bool] = False

    def __call__(self, batch: TokenBatch) -> Tensor:
        if batch.critical_tokens is None:
            raise ValueError(
                "critical_tokens must be known to weight by them, but they are None: use an environment that reports its "
                "critical tokens, or weight by the reference's certainty"
            )
        return (~batch.critical_tokens).to(batch.advantages.dtype)


@dataclass(frozen=True)
class Probability:
    """pi(a|s) of the sampled token."""

    action_dependent: ClassVar[bool] = True
    reads_old_logits: ClassVar[bool] = False

    def __call__(self, batch: TokenBatch) -> Tensor:
        return batch.old_log_prob.exp()


@dataclass(frozen=True)
class Surprisal:
    """``-log pi(a|s)`` of the sampled token, in nats."""

    action_dependent: ClassVar[bool] = True
    reads_old_logits: ClassVar[bool] = False

    def __call__(self, batch: TokenBatch) -> Tensor:
        return -batch.old_log_prob


@dataclass(frozen=True)
class Covariance:
    """``(log pi(a|s) - mean) * (A - mean)``, means over all completion tokens (arXiv:2505.22617, the term of Clip-Cov).

    Its mean is the covariance that drives the change of entropy: entropy falls where likely tokens have high advantages.
    """

    action_dependent: ClassVar[bool] = True
    reads_old_logits: ClassVar[bool] = False

    def __call__(self, batch: TokenBatch) -> Tensor:
        log_prob, advantages = batch.old_log_prob, batch.advantages
        return (log_prob - log_prob[batch.mask].mean()) * (advantages - advantages[batch.mask].mean())


@dataclass(frozen=True)
class Delight:
    """Advantage times surprisal, ``-A log pi(a|s)`` (arXiv:2603.14608): high for rare successes, low for rare failures."""

    action_dependent: ClassVar[bool] = True
    reads_old_logits: ClassVar[bool] = False

    def __call__(self, batch: TokenBatch) -> Tensor:
        return -batch.advantages * batch.old_log_prob


@dataclass(frozen=True)
class EntropyChange:
    """``A (1 - p) (log p + H)`` with p = pi(a|s): to first order, what the update of a token does to the entropy H of its
    state, apart from the sign and the size of the step (arXiv:2510.10150).

    There it is ``(A / pi_old) pi (1 - pi) (log pi + H)``; at the time of the rollout pi is pi_old.
    """

    action_dependent: ClassVar[bool] = True

    def __call__(self, batch: TokenBatch) -> Tensor:
        return batch.advantages * (1 - batch.old_log_prob.exp()) * (batch.old_log_prob + batch.entropy)
