"""What a store holds, copied into the repository without weights of runs."""

import shutil
from pathlib import Path
from typing import Any

from train.experiment.identity import BEFORE, recorded_identity
from train.pretraining.pretrain import MODEL
from train.reproduction.workshop import PRETRAINED
from train.run.files import write_rows
from train.run.log import PROGRESS
from train.run.run import RECORD, RESULTS, FinishedRun, is_finished, run_folders

INDEXED = ("pretrained", "extra_digits", "weighting", "kl_coef", "kl_exponent", "total_timesteps", "seed")
"""Arguments by which a person looks for a run."""


def publish(store: Path, runs: Path, models: Path) -> list[Path]:
    """Copy every finished run and model that is not there yet, with the accuracies before training, and index the runs.

    :param store: where they were made
    :param runs: where finished fine-tuning runs go
    :param models: where finished pre-trained models go, with their weights
    :return: the new folders
    """
    new = []
    published = [recorded_identity(run) for run in run_folders(runs)]
    for run in run_folders(store):
        target = runs / run.name
        if is_finished(run) and recorded_identity(run) not in published:
            target.mkdir(parents=True)
            for name in (RESULTS, PROGRESS, RECORD):  # a copy without its record is none
                shutil.copy(run / name, target)
            new.append(target)
    for accuracies in sorted((store / BEFORE).glob("*.json")):
        target = runs / BEFORE / accuracies.name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(accuracies, target)
    for run in run_folders(store / PRETRAINED):
        target = models / run.name
        if is_finished(run) and not target.exists():
            shutil.copytree(run / MODEL, target)
            for name in (RECORD, RESULTS):
                shutil.copy(run / name, target)
            new.append(target)
    if runs.is_dir():
        write_rows(runs / "index.csv", index(runs))
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
