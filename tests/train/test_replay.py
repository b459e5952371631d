"""The same command gives the same run: in a second process to the last byte, for a committed run as far as its log shows."""

import csv
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.docs.pages import ROOT
from train.finetuning.arguments import PRESETS, PPOArgs
from train.run.run import read_record, to_flags

BASELINES = ROOT / "results" / "baselines" / "store"
"""Runs made since problems, seeds and sampling are as they are."""
SAME = 1e-3
"""Another processor rounds otherwise, which the first updates amplify."""


def make_run(folder: Path, arguments: list[str]) -> list[dict[str, str]]:
    """A run in a process of its own, on one thread. :return: its log"""
    subprocess.run(
        [sys.executable, "-m", "train.ppo", *arguments, "--run-folder", str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    return read_log(folder)


def read_log(folder: Path) -> list[dict[str, str]]:
    with (folder / "progress.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_made_again_is_the_same_to_the_last_byte(ppo_arguments, tmp_path) -> None:
    of_the_clock = ("time/fps", "time/time_elapsed")
    logs, weights = [], []
    for name in ("one", "other"):
        rows = make_run(tmp_path / name, ppo_arguments)
        logs.append([{key: value for key, value in row.items() if key not in of_the_clock} for row in rows])
        with ZipFile(tmp_path / name / "agent.zip") as agent:
            weights.append([agent.read(part) for part in ("policy.pth", "policy.optimizer.pth")])
    assert len(logs[0]) > 2
    assert logs[0] == logs[1]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_a_committed_run_replays(tmp_path) -> None:
    """The first two rollouts and updates of a run in results/baselines, from the arguments that it recorded."""
    committed = sorted(BASELINES.glob("*/run.json"))[0].parent
    arguments = read_record(committed, "committed")["arguments"]
    recorded = PPOArgs(**{name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()})
    shorter = replace(recorded, total_timesteps=50_000, eval_problems=0, eval_every=1000, eval_before=True, run_folder=None)
    expected, found = read_log(committed), make_run(tmp_path / "again", to_flags(shorter, PRESETS))
    for row, logged in zip(found[:2], expected[:2], strict=True):
        for name in (
            "time/total_timesteps",
            "rollout/success_rate",
            "objective/kl",
            "train/policy_gradient_loss",
            "train/loss",
        ):
            if logged.get(name):
                assert float(row[name]) == pytest.approx(float(logged[name]), rel=SAME, abs=1e-5), name
