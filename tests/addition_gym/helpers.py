"""What several of these test modules share: a worked example, completions right and wrong, and a way to write them."""

import gymnasium as gym
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from addition_gym import PAD_TOKEN_ID, VOCAB_SIZE, decode, encode, solution

PROMPT = "Input:\n345+67\nTarget:"
SOLUTION = """
<scratch>
[3,4,5] + [6,7] , A=[] , C=0 , 5+7+0=12 , A->2 , C->1
[3,4] + [6] , A=[2] , C=1 , 4+6+1=11 , A->1 , C->1
[3] + [] , A=[1,2] , C=1 , 3+0+1=4 , A->4 , C->0
[] + [] , A=[4,1,2] C=0 , END
</scratch>
4 1 2
"""
"""The worked example of the design and of the paper: 345+67."""

ALPHABET = decode(np.arange(1, VOCAB_SIZE))

few = settings(max_examples=30, deadline=None)
many = settings(max_examples=200, deadline=None)

operand = st.integers(1, 12).flatmap(lambda length: st.integers(0, 10**length - 1))

fragments = st.lists(
    st.sampled_from(["\n", "</scratch>", "\n</scratch>\n", "<scratch>", "4 1 2", " ", "<", ">", "0", "1"]), max_size=12
).map("".join)
"""Texts full of near misses of the closing tag and of the result line."""


def mutate(text: str, rng: np.random.Generator) -> str:
    """One character replaced, removed or inserted; never the text itself."""
    while True:
        index = int(rng.integers(len(text)))
        character = ALPHABET[rng.integers(len(ALPHABET))]
        new, rest = [(character, index + 1), ("", index + 1), (character, index)][rng.integers(3)]
        mutant = text[:index] + new + text[rest:]
        if mutant != text:
            return mutant


def write(env: gym.Env, completion: str) -> tuple:
    """Write a completion whose last character ends the episode, and return that last step."""
    for index, token in enumerate(encode(completion)):
        result = env.step(token)
        assert result[2] == (index == len(completion) - 1), f"character {index} of {completion!r}"
    return result


class Writer:
    """Chooses the tokens of one lane: each episode it follows one of ``habits``, drawn at random."""

    HABITS = ("random", "correct", "nearly", "shortcut", "endless")

    def __init__(self, habits: list[str], seed: int):
        self.habits = habits
        self.rng = np.random.default_rng(seed)

    def start(self, operands: tuple[int, int]) -> None:
        self.habit = self.habits[self.rng.integers(len(self.habits))]
        a, b = operands
        text = {
            "random": "",
            "correct": solution(a, b),
            "nearly": mutate(solution(a, b), self.rng),
            "shortcut": f"\n</scratch>\n{' '.join(str(a + b + int(self.rng.integers(2))))}\n",
            "endless": "",
        }.get(self.habit, self.habit)
        self.tokens = encode(text).tolist()

    def next(self) -> int:
        if self.tokens:
            return self.tokens.pop(0)
        if self.habit == "endless":
            return int(encode(" ")[0])
        return int(self.rng.integers(VOCAB_SIZE)) if self.habit == "random" else PAD_TOKEN_ID
