"""A token-level environment that is not the addition task, small enough to know all about."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

VOCAB_SIZE = 5
PAD = 0
MAX_TOKENS = 8


class RepeatEnv(gym.Env[np.ndarray, np.int64]):
    """The prompt is one to three tokens of 1..4; each step that repeats the prompt's last token is rewarded with 1.

    Padding ends the episode, as does a full row; ``truncate_after`` steps truncate it.
    """

    def __init__(self, truncate_after: int | None = None):
        self.observation_space = spaces.Box(0, VOCAB_SIZE - 1, (MAX_TOKENS,), np.int64)
        self.action_space = spaces.Discrete(VOCAB_SIZE)
        self.truncate_after = truncate_after

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.text = self.np_random.integers(1, VOCAB_SIZE, size=int(self.np_random.integers(1, 4))).tolist()
        self.wanted = self.text[-1]
        self.steps = 0
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.text.append(int(action))
        self.steps += 1
        terminated = int(action) == PAD or len(self.text) == MAX_TOKENS
        truncated = not terminated and self.steps == self.truncate_after
        return self._observation(), float(action == self.wanted), terminated, truncated, {}

    def _observation(self) -> np.ndarray:
        observation = np.full(MAX_TOKENS, PAD, dtype=np.int64)
        observation[: len(self.text)] = self.text
        return observation
