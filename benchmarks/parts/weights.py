"""What the penalty costs: the weights of the tokens and the KL terms, as a share of an update."""

import numpy as np
import torch
from torch import Tensor

from agents.losses import kl_per_token
from agents.weighting.token_weights import SLOTS
from benchmarks.contenders.ours import Ours
from benchmarks.measure import Part, Row, Settings, compare, interleave


def measure(settings: Settings) -> list[Row]:
    """A whole update, and its penalty alone on the same tokens, forward and backward."""
    ours = Ours(settings.train_lanes, settings.digits, device=settings.device)
    ours.rollout()
    ours.update()
    agent, buffer = ours.agent, ours.agent.rollout_buffer
    log_probs: list[Tensor] = [
        agent.policy.evaluate_sequences(batch.tokens, batch.mask)[0].detach().requires_grad_()
        for batch in buffer.batches(np.arange(agent.n_episodes), agent.max_batch_tokens)
    ]

    def penalty() -> int:
        tokens = buffer.token_batch(agent.policy.temperature)
        for slot in SLOTS:
            buffer.weights[slot] = getattr(agent.weighting, slot)(tokens).cpu().numpy()
        batches = buffer.batches(np.arange(agent.n_episodes), agent.max_batch_tokens)
        for batch, policy_log_probs in zip(batches, log_probs, strict=True):
            reference_log_probs = torch.log_softmax(batch.reference_logits / agent.policy.temperature, dim=-1)
            kl = kl_per_token(policy_log_probs, reference_log_probs, batch.actions, agent.kl_estimator)
            (batch.weights["kl"] * kl).mean().backward()
        return int(buffer.mask.sum())

    rates = interleave({"whole update": ours.update, "weights and KL": penalty}, settings.repeats, settings.device)
    return compare("prioritized, exact KL", "tokens/s", rates, at_most={"weights and KL": 0.05})


PART = Part(
    "Weights and KL",
    "Certainty, the four weights, the exact KL and its gradient down to the log-probabilities, from logits that are there; the "
    "ratio is their share of an update. The reference's forward is not in it: any penalty needs that.",
    measure,
    ratio="first / this",
)
