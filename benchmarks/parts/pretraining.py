"""Tokens a second of pre-training, and of the generator that feeds it."""

import dataclasses

import numpy as np
from rich.console import Console

from addition_gym import PAD_TOKEN_ID, VOCAB_SIZE
from benchmarks.measure import Part, Row, Settings, compare, interleave
from policies.gpt2 import build_gpt2, gpt2_config
from train.pretraining.arguments import PRESETS
from train.pretraining.data import packed_blocks
from train.pretraining.pretrain import Stage, longest_episode, task_of, train_stage


def measure(settings: Settings) -> list[Row]:
    """Optimizer steps of the tiny preset, and batches of the same size."""
    args = dataclasses.replace(PRESETS["tiny"], digits=settings.digits, device=settings.device)
    task = task_of(args)
    n_positions = longest_episode(args, task)
    config = gpt2_config(VOCAB_SIZE, n_positions, args.n_layer, args.n_head, args.n_embd, PAD_TOKEN_ID)
    model = build_gpt2(config).to(settings.device)
    block_size = task.longest_text
    n_blocks = -(-args.tokens_per_step // block_size)
    batches = packed_blocks(task.pretraining, np.random.default_rng(0), n_blocks, block_size)
    steps = settings.pretraining_steps

    def train() -> int:
        train_stage(model, args, Stage("benchmark", steps, seed=0), Console(quiet=True))
        return steps * n_blocks * block_size

    def generate() -> int:
        for _ in range(steps):
            next(batches)
        return steps * n_blocks * block_size

    train()
    contenders = {"optimizer steps": train, "data generator": generate}
    rates = interleave(contenders, settings.repeats, settings.device)
    return compare(f"{n_blocks} blocks of {block_size}", "tokens/s", rates, at_most={"data generator": 1.0})


PART = Part(
    "Pre-training",
    "Tokens read by the model of the tiny preset. A step includes the generator, so that the ratio is its share of the time.",
    measure,
    ratio="first / this",
)
