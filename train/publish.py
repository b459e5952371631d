"""Copy what a store holds into the repository, without weights of runs: ``python -m train.publish``."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from train.run.arguments import hinted
from train.run.process import run_command


@hinted
@dataclass(frozen=True)
class PublishArgs:
    store: Path = Path("runs/store")
    """Where models and runs were made."""
    runs: Path = Path("results/store")
    """Where finished fine-tuning runs go."""
    models: Path = Path("results/models")
    """Where finished pre-trained models go, with their weights."""


def main() -> None:
    args = tyro.cli(PublishArgs, description="Copy finished runs and models from a store into the repository.")
    from train.reproduction.publish import publish

    new = publish(args.store, args.runs, args.models)
    print(f"{len(new)} new", *new, sep="\n")


if __name__ == "__main__":
    run_command(main)
