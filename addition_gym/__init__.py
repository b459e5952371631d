"""Token-level scratchpad addition for Gymnasium; importing this package registers ``ScratchpadAdd-v0``."""

import gymnasium as gym

from addition_gym.env import ScratchpadAddEnv
from addition_gym.scratchpad import prompt, solution
from addition_gym.vector_env import ScratchpadAddVectorEnv
from addition_gym.vocabulary import PAD_TOKEN_ID, VOCAB_SIZE, decode, encode

__all__ = [
    "PAD_TOKEN_ID",
    "VOCAB_SIZE",
    "ScratchpadAddEnv",
    "ScratchpadAddVectorEnv",
    "decode",
    "encode",
    "prompt",
    "solution",
]

gym.register(
    id="ScratchpadAdd-v0",
    entry_point="addition_gym.env:ScratchpadAddEnv",
    vector_entry_point="addition_gym.vector_env:ScratchpadAddVectorEnv",
    order_enforce=False,  # the environment's own check says what to do
)
