"""Small random rollouts."""

import torch

from agents.weighting.token_batch import TokenBatch

V = 5


def random_batch(
    lengths: tuple[int, ...] = (7, 1, 12, 4),
    max_tokens: int = 15,
    seed: int = 0,
    change: float = 1.0,
    temperature: float = 2.0,
    padding: float = 0.0,
) -> TokenBatch:
    """Episodes with a prompt of 2 tokens and the given numbers of actions; all else is random, but the same for a seed.

    :param change: size of the difference between the logits of policy and reference
    :param padding: what stands outside the mask
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), max_tokens)
    mask = torch.zeros(shape, dtype=torch.bool)
    reference_logits = torch.full((*shape, V), padding)
    old_logits, advantages = reference_logits.clone(), torch.full(shape, padding)
    actions, critical_tokens = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.bool)
    for row, length in enumerate(lengths):
        taken = slice(1, 1 + length)
        mask[row, taken] = True
        reference_logits[row, taken] = 3 * torch.randn(length, V, generator=generator)
        old_logits[row, taken] = reference_logits[row, taken] + change * torch.randn(length, V, generator=generator)
        actions[row, taken] = torch.randint(V, (length,), generator=generator)
        advantages[row, taken] = torch.randn(length, generator=generator)
        critical_tokens[row, taken] = torch.rand(length, generator=generator) < 0.3
    old_log_prob = torch.log_softmax(old_logits / temperature, dim=-1).gather(-1, actions[..., None])[..., 0]
    return TokenBatch(old_logits, reference_logits, actions, old_log_prob, advantages, mask, critical_tokens, temperature)
