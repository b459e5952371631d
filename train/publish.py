"""Copy what a store holds into the repository, without weights of runs: ``python -m train.publish``."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from train.experiment.store import PUBLISHED, recorded_identity
from train.pretrain import MODEL
from train.reproduction.workshop import PRETRAINED, PUBLISHED_MODELS
from train.run.files import write_rows
from train.run.log import PROGRESS
from train.run.process import run_command
from train.run.run import RECORD, RESULTS, FinishedRun, is_finished, run_folders

INDEXED = ("pretrained", "extra_digits", "weighting", "kl_coef", "kl_exponent", "total_timesteps", "seed")
"""Arguments by which a person looks for a run."""


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
    published = [recorded_identity(run) for run in run_folders(args.runs)]
    for run in run_folders(args.store):
        target = args.runs / run.name
        if is_finished(run) and recorded_identity(run) not in published:
            target.mkdir(parents=True)
            for name in (RESULTS, PROGRESS, RECORD):  # a copy without its record is none
                shutil.copy(run / name, target)
            new.append(target)
    for run in run_folders(args.store / PRETRAINED):
        target = args.models / run.name
        if is_finished(run) and not target.exists():
            shutil.copytree(run / MODEL, target)
            for name in (RECORD, RESULTS):
                shutil.copy(run / name, target)
            new.append(target)
    if args.runs.is_dir():
        write_rows(args.runs / "index.csv", index(args.runs))
    return new


def index(runs: Path) -> list[dict[str, Any]]:
    """One row per run: its folder, the commit that began it, what it was made with, and accuracies from 0 to 1 after it."""
    rows = []
    for run in map(FinishedRun, run_folders(runs)):
        arguments, after = run.record["arguments"], run.results["after"]
        made = {name: arguments[name] for name in INDEXED}
        found = {kind: accuracy["accuracy"] for kind, accuracy in after.items()}
        rows.append({"run": run.folder.name, "commit": run.record["sessions"][0]["commit"], **made, **found})
    return rows


def main() -> None:
    args = tyro.cli(PublishArgs, description="Copy finished runs and models from a store into the repository.")
    new = publish(args)
    print(f"{len(new)} new", *new, sep="\n")


if __name__ == "__main__":
    run_command(main)
