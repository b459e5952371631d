"""Finished episodes, the common work of all contenders."""

from dataclasses import dataclass

import numpy as np

from addition_gym import PAD_TOKEN_ID, encode, prompt, solution
from addition_gym.problems import ProblemSampler


@dataclass(frozen=True)
class Episodes:
    """E texts of up to T tokens, each a prompt and a completion, the last token of which is left out: nothing follows it."""

    tokens: np.ndarray
    """int64 ``(E, T)``, padded right"""
    mask: np.ndarray
    """bool ``(E, T)``: True where the next token belongs to the completion"""

    @property
    def prompt_lengths(self) -> np.ndarray:
        """In tokens, ``(E,)``."""
        return self.mask.argmax(axis=1) + 1

    @property
    def completion_lengths(self) -> np.ndarray:
        """In tokens, ``(E,)``."""
        return self.mask.sum(axis=1)

    @property
    def text_lengths(self) -> np.ndarray:
        """In tokens, ``(E,)``."""
        return self.prompt_lengths + self.completion_lengths - 1

    @property
    def n_tokens(self) -> int:
        """Completion tokens of all episodes."""
        return int(self.mask.sum())

    def states(self, progress: np.ndarray) -> np.ndarray:
        """The texts as they once were.

        :param progress: how much of each completion was written, in [0, 1), ``(..., E)``
        :return: int64 ``(..., E, T)``, padded right
        """
        lengths = self.prompt_lengths + (progress * self.completion_lengths).astype(np.int64)
        written = np.arange(self.tokens.shape[1]) < lengths[..., None]
        return np.where(written, self.tokens, PAD_TOKEN_ID)


def solutions(count: int, digits: int, seed: int = 0) -> Episodes:
    """Right solutions of the problems that fine-tuning asks.

    :param count: E
    :param digits: N; the problems have N+1
    """
    sampler = ProblemSampler(digits + 1, "mixture", pretrained_digits=digits, split="train")
    rng = np.random.default_rng(seed)
    problems = [sampler.sample(rng) for _ in range(count)]
    texts = [(encode(prompt(a, b)), encode(solution(a, b))) for a, b in problems]
    longest = max(len(question) + len(worked) - 1 for question, worked in texts)
    tokens = np.full((count, longest), PAD_TOKEN_ID, dtype=np.int64)
    mask = np.zeros((count, longest), dtype=np.bool_)
    for row, (question, worked) in enumerate(texts):
        end = len(question) + len(worked) - 1
        tokens[row, :end] = np.concatenate([question, worked])[:-1]
        mask[row, len(question) - 1 : end] = True
    return Episodes(tokens, mask)
