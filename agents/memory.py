"""Whether the logits of a rollout fit into memory, asked before anything is allocated."""

import psutil

ALWAYS_KEPT = 2**30
"""Bytes that the policy's logits may take without being read by a weighting: part of what is logged is made of them."""


def logits_bytes(n_episodes: int, max_tokens: int, vocab_size: int) -> int:
    """What the logits of a rollout take, those of one model."""
    return 4 * n_episodes * max_tokens * vocab_size


def check_memory(n_episodes: int, max_tokens: int, vocab_size: int, keep_old_logits: bool) -> None:
    """Refuse a rollout whose logits do not fit into the machine's free memory.

    Those of the policy take their place twice, in the cache that decodes and in the buffer. On a GPU the logits take as much of
    its memory again, but there PyTorch says what is missing.

    :param n_episodes: E
    :param max_tokens: T
    :param vocab_size: V
    :param keep_old_logits: whether those of the policy are kept beside those of the reference
    :raises ValueError: naming what is needed and what there is
    """
    needed = logits_bytes(n_episodes, max_tokens, vocab_size) * (3 if keep_old_logits else 1)
    available = psutil.virtual_memory().available
    if needed > available:
        whose = "policy and reference" if keep_old_logits else "the reference"
        also = ", or weight by signals that do not read the policy's logits" if keep_old_logits else ""
        raise ValueError(
            f"n_episodes must leave the logits of a rollout room in memory, but {n_episodes} episodes of up to {max_tokens} "
            f"tokens over a vocabulary of {vocab_size} need {needed / 1e9:.1f} GB for the logits of {whose}, and "
            f"{available / 1e9:.1f} GB are free: lower n_episodes, or the length of the environment's observations{also}"
        )
