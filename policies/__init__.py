"""GPT-2 as a Stable-Baselines3 policy, with a frozen reference and cached decoding."""

from policies.policy import GPT2Policy

__all__ = ["GPT2Policy"]
