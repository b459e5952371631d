"""Agents for token-level environments, in the style of Stable-Baselines3."""

from agents.ppo import PrioritizedKLPPO
from agents.vec_env import VectorEnvAdapter

__all__ = ["PrioritizedKLPPO", "VectorEnvAdapter"]
