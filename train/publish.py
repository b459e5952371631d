"""Copy what a store holds into the repository, without weights of runs: ``python -m train.publish``."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import tyro

from train.compare import PUBLISHED
from train.experiment.store import SCIENCE
from train.reproduction.workshop import PRETRAINED, PUBLISHED_MODELS
from train.run.process import run_command
from train.run.run import write_json

RECORDS = ("config.json", "results.json", "progress.csv", "versions.json", SCIENCE)
"""Of a run, what a table or a picture needs."""


@dataclass(frozen=True)
class PublishArgs:
    store: Path = Path("runs/store")
    """Where models and runs were made."""
    runs: Path = PUBLISHED
    """Where finished fine-tuning runs go."""
    models: Path = PUBLISHED_MODELS
    """Where finished pre-trained models go, with their weights."""


def publish(args: PublishArgs) -> list[Path]:
    """Copy every finished run and model that is not there yet.

    :return: the new folders
    """
    new = []
    published = [json.loads(path.read_text()) for path in args.runs.glob(f"*/{SCIENCE}")]
    for science in sorted(args.store.glob(f"*/{SCIENCE}")):
        run, target = science.parent, args.runs / science.parent.name
        if not (run / "results.json").is_file() or json.loads(science.read_text()) in published:
            continue
        target.mkdir(parents=True)
        for name in RECORDS:
            shutil.copy(run / name, target)
        config = json.loads((target / "config.json").read_text())
        write_json(target / "config.json", {**config, "run_folder": None, "resume": None})
        new.append(target)
    for results in sorted(args.store.glob(f"{PRETRAINED}/*/results.json")):
        target = args.models / results.parent.name
        if not target.exists():
            shutil.copytree(results.parent / "model", target)
            shutil.copy(results, target)
            new.append(target)
    return new


def main() -> None:
    args = tyro.cli(PublishArgs, description="Copy finished runs and models from a store into the repository.")
    new = publish(args)
    print(f"{len(new)} new", *new, sep="\n")


if __name__ == "__main__":
    run_command(main)
