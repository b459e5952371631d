"""Arguments of pre-training, and where their defaults come from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from train.run.arguments import ADDITION, hinted


@hinted
@dataclass(frozen=True)
class PretrainArgs:
    preset: Literal["tiny", "seven", "parity", "paper"] = "tiny"
    """Where the other defaults come from."""
    task: str = ADDITION
    """What the model is for: the id of a task, or one of your own that a module or a file registers, as module:id or
    file.py:id."""
    task_arguments: str = ""
    """Arguments of a task other than addition, such as size=12,pretrained_size=6."""
    digits: int = 5
    """N: operands have 1 to N digits."""
    distribution: Literal["up_to", "longer"] = "up_to"
    """The length of an operand: uniform in 1 to N, or the larger of two such draws."""
    pretrained: str | None = None
    """Start from the weights of a bundled model or of a folder, of the same size; by default from random ones."""
    n_layer: int = 3
    """Transformer blocks."""
    n_head: int = 4
    """Attention heads per block."""
    n_embd: int = 128
    """Width of the model."""
    longest_digits: int | None = None
    """The position table fits problems of this many digits; N+3 by default."""
    steps: int = 2000
    """Optimizer steps of the first stage, in which a block starts anywhere in the position table."""
    origin_share: float = 0.0
    """Share of the blocks of the first stage that start at position 0, as an RL episode does."""
    gap_share: float = 0.0
    """In half of the blocks, the share of tokens before which the position jumps ahead, by 1 to 16, as far as there is room."""
    origin_steps: int = 600
    """Steps of the second stage, at half the learning rates: half the blocks start at position 0."""
    tokens_per_step: int = 3300
    """Tokens per batch, rounded up to whole blocks; a block is as long as the longest problem of N+1 digits."""
    optimizer: Literal["muon", "adamw"] = "muon"
    """Muon for the matrices of the blocks and AdamW for the rest, or AdamW for all."""
    learning_rate: float = 1e-3
    """Learning rate of AdamW; warms up over the first steps, then falls to a tenth along a cosine, as does Muon's."""
    muon_learning_rate: float = 2e-2
    """Learning rate of Muon."""
    average_decay: float = 0.0
    """A stage ends with a moving average of the weights, which keeps this share of itself at each step; 0: the last weights."""
    warmup_steps: int = 100
    """Steps over which the learning rates rise from 0."""
    weight_decay: float = 0.01
    """Decoupled weight decay, for matrices."""
    max_grad_norm: float = 1.0
    """Largest norm of the gradient."""
    autocast: bool = False
    """Run the forward pass in bfloat16; worth it where the CPU or GPU has bfloat16 instructions."""
    eval_problems: int = 500
    """Problems of each kind for the accuracies at the end."""
    seed: int = 0
    """Seed of the weights, the data and the evaluation."""
    device: str = "cpu"
    """Where to train, such as cpu, cuda or auto."""
    checkpoint_every: int = 500
    """Steps between two checkpoints, from which --resume continues."""
    run_folder: Path | None = None
    """Where to write; by default a new folder under runs/."""
    resume: Path | None = None
    """The folder of an interrupted run: continue it, bit for bit on a CPU. All other arguments are those of that run."""


PRESETS = {
    "tiny": PretrainArgs(),
    "seven": PretrainArgs(
        preset="seven",
        digits=7,
        distribution="longer",
        pretrained="tiny",
        steps=1200,
        origin_share=0.2,
        gap_share=0.02,
        origin_steps=0,
        muon_learning_rate=1e-2,
        average_decay=0.99,
    ),
    "parity": PretrainArgs(
        preset="parity",
        task="MixedParity-v0",
        n_layer=2,
        n_embd=64,
        steps=3500,
        origin_steps=500,
        tokens_per_step=1300,
    ),
    "paper": PretrainArgs(
        preset="paper",
        digits=7,
        n_layer=12,
        n_head=12,
        n_embd=768,
        steps=20_000,
        origin_steps=6_000,
        tokens_per_step=65_536,
        optimizer="adamw",
        learning_rate=6e-4,
        weight_decay=0.1,
        autocast=True,
        device="cuda",
    ),
}
