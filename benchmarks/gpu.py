"""The paper's 85M model on one GPU: ``python -m benchmarks.gpu``."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import tyro
from rich.console import Console
from transformers import GPT2LMHeadModel

from addition_gym.scratchpad import longest_text
from benchmarks import report
from benchmarks.contenders.hugging_face import HuggingFace
from benchmarks.contenders.matrix_products import operations
from benchmarks.contenders.ours import Ours
from benchmarks.episodes import Episodes
from benchmarks.measure import Part, Row, compare, interleave
from benchmarks.parts.machine import Gemm, Read
from benchmarks.random_model import save_random_model
from train.pretraining.arguments import PRESETS
from train.pretraining.pretrain import Stage, train_stage

PAPER = PRESETS["paper"]
BYTES = 2
"""Of a number in bfloat16."""


@dataclass(frozen=True)
class GPUArgs:
    digits: int = PAPER.digits
    """N: pre-training has up to N digits, fine-tuning N+1."""
    n_layer: int = PAPER.n_layer
    """Transformer blocks."""
    n_head: int = PAPER.n_head
    """Attention heads per block."""
    n_embd: int = PAPER.n_embd
    """Width."""
    lanes: tuple[int, ...] = (64, 256, 1024)
    """Of the rollouts."""
    train_lanes: int = 64
    """Episodes of the update."""
    batch_size: int = 16
    """Episodes of its minibatches."""
    pretraining_steps: int = 10
    """Optimizer steps of a repeat."""
    tokens_per_step: int = PAPER.tokens_per_step
    """Tokens of a pre-training batch."""
    gemm_size: int = 8192
    """Rows and columns of the matrices whose product shows the peak."""
    read_megabytes: int = 8192
    """What is read to measure the bandwidth of the memory."""
    repeats: int = 3
    """How often; the median counts."""
    device: str = "cuda"
    """Where."""
    output: Path = Path("benchmarks/results-gpu.json")
    """Where to write the results."""


def pretraining(args: GPUArgs) -> list[Row]:
    """Tokens a second, and the share of the peak that the model's own operations reach."""
    preset = dataclasses.replace(PAPER, digits=args.digits, tokens_per_step=args.tokens_per_step, device=args.device)
    block_size = longest_text(args.digits + 1)
    tokens = args.pretraining_steps * -(-args.tokens_per_step // block_size) * block_size
    gemm = Gemm(args.gemm_size, args.device, torch.bfloat16)
    gemm.multiply()
    with random_model(args) as folder:
        model = HuggingFace(folder, args.device).model

    def train() -> int:
        train_stage(model, preset, Stage("benchmark", args.pretraining_steps, seed=0), Console(quiet=True))
        return tokens

    train()
    rates = interleave({"ours": train, gemm.name: gemm.multiply}, args.repeats, args.device)
    flops = {
        "ours": [flops_per_token(model, block_size) * rate / 1e12 for rate in rates["ours"]],
        gemm.name: [rate / 1e12 for rate in rates[gemm.name]],
    }
    return [
        *compare(f"blocks of {block_size}", "tokens/s", {"ours": rates["ours"]}),
        *compare("its operations", "TFLOP/s", flops, at_least={gemm.name: 0.4}),
    ]


def flops_per_token(model: GPT2LMHeadModel, length: int) -> float:
    """Of a forward and a backward pass: 6 for each weight that multiplies, and attention to half of the text on average."""
    config = model.config
    weights = sum(p.numel() for p in model.parameters()) - model.transformer.wpe.weight.numel()
    return 6 * weights + 6 * config.n_layer * config.n_embd * length


def rollout(args: GPUArgs) -> list[Row]:
    """Completion tokens a second, by number of lanes."""
    return [row for lanes in args.lanes for row in compare_rollouts(lanes, args)]


def compare_rollouts(lanes: int, args: GPUArgs) -> list[Row]:
    """Ours, ``generate``, and what reading the memory alone would take."""
    with random_model(args) as folder:
        ours = Ours(lanes, args.digits, folder, args.device)
        hugging_face = HuggingFace(folder, args.device, torch.bfloat16)
    ours.rollout()
    episodes = ours.episodes
    read = Read(args.read_megabytes, args.device)
    rates = interleave(
        {"ours": ours.rollout, "transformers generate": lambda: hugging_face.generate(episodes), read.name: read.read},
        args.repeats,
        args.device,
    )
    bytes_per_token = decoded_bytes(hugging_face.model, episodes) / episodes.n_tokens
    rates["memory bound"] = [rate / bytes_per_token for rate in rates.pop(read.name)]
    bars = {"transformers generate": 5.0, "memory bound": 0.4}
    return compare(f"{lanes} lanes, {episodes.n_tokens:,} tokens", "tokens/s", rates, at_least=bars)


def decoded_bytes(model: GPT2LMHeadModel, episodes: Episodes) -> float:
    """What decoding must read at least: all weights at every step, and the keys and values of every text so far."""
    weights = sum(p.numel() for p in model.parameters()) - model.transformer.wpe.weight.numel()
    lengths = episodes.completion_lengths
    contexts = np.sum(episodes.prompt_lengths * lengths + lengths * (lengths - 1) / 2)
    return BYTES * float(weights * lengths.max() + 2 * model.config.n_layer * model.config.n_embd * contexts)


def update(args: GPUArgs) -> list[Row]:
    """Completion tokens a second, and the share of the peak."""
    with random_model(args) as folder:
        ours = Ours(args.train_lanes, args.digits, folder, args.device, args.batch_size)
    ours.rollout()
    ours.update()
    gemm = Gemm(args.gemm_size, args.device, torch.bfloat16)
    rates = interleave({"ours": ours.update, gemm.name: gemm.multiply}, args.repeats, args.device)
    episodes, config = ours.episodes, ours.agent.policy.language_model.config
    flops = operations(config, episodes, args.batch_size)[1] / episodes.n_tokens
    tera = {
        "ours": [flops * rate / 1e12 for rate in rates["ours"]],
        gemm.name: [rate / 1e12 for rate in rates[gemm.name]],
    }
    case = f"{args.train_lanes} episodes, {episodes.n_tokens:,} tokens"
    return compare(case, "tokens/s", {"ours": rates["ours"]}) + compare("its operations", "TFLOP/s", tera)


@contextmanager
def random_model(args: GPUArgs) -> Iterator[str]:
    """A folder with a model of the given size."""
    with TemporaryDirectory() as folder:
        save_random_model(Path(folder), args.digits + 1, args.n_layer, args.n_head, args.n_embd)
        yield folder


PARTS = {
    "pretraining": Part(
        "Pre-training",
        "Tokens read by the model, generator included. Operations: 6 for each weight and token, and causal attention, against "
        "the product of two large matrices in bfloat16: the ratio is the model FLOPs utilisation.",
        pretraining,
    ),
    "rollout": Part(
        "Rollout",
        "Completion tokens of whole episodes, one a lane; random weights, so that every episode spends the token budget. Ours "
        "with the environment; generate with its cache and in bfloat16. Memory bound: the time to read, in "
        "bfloat16, the weights once a step and the keys and values of each text once a token, at the measured bandwidth.",
        rollout,
    ),
    "update": Part(
        "Update",
        "One pass over one rollout: all of train(). Operations: the products of matrices of the reference's forward and of the "
        "model's forward and backward, against the product of two large matrices in bfloat16.",
        update,
    ),
}


def main() -> None:
    args = tyro.cli(GPUArgs, description="Measure a model of the paper's size on one GPU.")
    report.run_parts(PARTS, args, True, args.output, Console())


if __name__ == "__main__":
    main()
