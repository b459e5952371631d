"""Write a model, an agent or a nanoGPT checkpoint as a plain GPT-2 folder: ``python -m train.export``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from train.run.arguments import hinted
from train.run.process import run_command


@hinted
@dataclass(frozen=True)
class ExportArgs:
    output: Path
    """The folder to write: the model with its tokenizer, vocab.json, README.md and, if N is known, pretraining.json."""
    model: str = "tiny"
    """A bundled model (tiny, seven), a folder in Hugging Face format, a run folder, a saved agent (.zip), a nanoGPT checkpoint
    (a torch file, or a folder with one), or a model on the Hugging Face hub (owner/name)."""
    pretrained_digits: int | None = None
    """N; by default what the model's folder or the agent's run folder says, if it does."""
    vocabulary: Path | None = None
    """JSON with the id of every character: of a nanoGPT checkpoint, by default the vocab.json or tokenizer.json beside it; of
    an agent of another task, which is exported without a tokenizer otherwise."""
    activation: Literal["gelu_new", "gelu"] = "gelu_new"
    """Of a nanoGPT checkpoint, which does not say: gelu_new is what the paper's authors' code computes, gelu (exact) what later
    versions of nanoGPT do."""


def main() -> None:
    args = tyro.cli(ExportArgs, description="Write a model as a plain GPT-2 folder that transformers loads.")
    from rich.console import Console

    from train.exporting.export import export_model

    export_model(args.model, args.output, args.pretrained_digits, args.vocabulary, args.activation)
    Console().print(f"Written to {args.output}. Fine-tune it with addition-gym ppo --pretrained {args.output}", soft_wrap=True)


if __name__ == "__main__":
    run_command(main)
