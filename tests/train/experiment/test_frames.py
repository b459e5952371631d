"""Runs as DataFrames, against their own files."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.train.experiment.made_up_runs import write_record, write_run
from train import load_runs
from train.experiment.frames import find_runs
from train.experiment.identity import accuracies_before, identity
from train.experiment.store import Store
from train.finetuning.arguments import PPOArgs
from train.run.log import Progress

ARCHIVE = Path(__file__).parents[3] / "results" / "archive"


def test_a_real_run(ppo_run) -> None:
    runs, curves = load_runs(ppo_run)
    (run,) = runs.index
    assert run == str(ppo_run)
    row = runs.loc[run]
    record, results = (json.loads((ppo_run / name).read_text()) for name in ("run.json", "results.json"))
    for name, value in record["arguments"].items():
        assert row[name] == (tuple(value) if isinstance(value, list) else value) or pd.isna(row[name]) == (value is None)
    assert row.finished
    assert row.commit == record["sessions"][0]["commit"] or row.commit is None
    assert (row.episodes, row.timesteps, row.seconds) == (results["episodes"], results["timesteps"], results["seconds"])
    for kind in ("<=N", "N+1"):
        for when in ("before", "after"):
            assert row[f"{when}_{kind}"] == results[when][kind]["accuracy"]
    assert row.gain == pytest.approx(100 * (results["after"]["N+1"]["accuracy"] - results["before"]["N+1"]["accuracy"]))
    assert row.retention == pytest.approx(100 * (results["after"]["<=N"]["accuracy"] - results["before"]["<=N"]["accuracy"]))
    progress = Progress(ppo_run)
    assert row.kl == pytest.approx(progress.curve("objective/kl")[1][-5:].mean())
    episodes, success = progress.curve("rollout/success_rate")
    assert row.success_area == pytest.approx(np.trapezoid(success, episodes) / (episodes[-1] - episodes[0]))
    assert row.episodes_to_threshold == next((n for n, value in zip(episodes, success, strict=True) if value >= 0.4), np.inf)
    assert (curves.run == run).all()
    assert list(curves.columns[:3]) == ["run", "episodes", "timesteps"]
    assert curves.timesteps.iloc[-1] == results["timesteps"]
    for column in set(progress.columns) - {"time/episodes", "time/total_timesteps"}:
        episodes, values = progress.curve(column)
        logged = pd.DataFrame({"episodes": episodes.astype(int), column: values}).dropna()  # no variance, no share of it
        pd.testing.assert_frame_equal(
            curves[["episodes", column]].dropna().reset_index(drop=True), logged.reset_index(drop=True)
        )


def test_the_archived_runs_in_one_line() -> None:
    """Their gains are those of the published table, which another program wrote."""
    runs, curves = load_runs(ARCHIVE / "store")
    assert len(runs) == len(list((ARCHIVE / "store").glob("*/run.json")))
    assert runs.finished.all()
    assert set(curves.run) == set(runs.index)
    published = pd.read_csv(ARCHIVE / "matched-budget" / "runs.csv").set_index(["arm", "seed"]).sort_index()
    arm = runs[(runs.weighting == "uniform") & (runs.kl_coef == 0.05)].set_index("seed").sort_index()
    for column in ("gain", "retention", "kl"):
        assert arm[column].to_list() == pytest.approx(published.loc["uniform 0.05", column].to_list())


def test_runs_that_differ_in_their_seeds_alone_have_one_configuration(tmp_path) -> None:
    for kl_coef in (0.2, 2.0):
        for seed in (0, 1):
            args = PPOArgs(kl_coef=kl_coef, seed=seed, device=f"cuda:{seed}")
            write_run(tmp_path / f"{kl_coef}-{seed}", 0.5 + kl_coef / 10, 0.9, [1.0], args=args)
    runs = load_runs(tmp_path).runs
    assert runs.configuration.to_list() == ["kl_coef=0.2"] * 2 + ["kl_coef=2"] * 2
    assert runs.groupby("configuration")["after_N+1"].mean().to_dict() == pytest.approx({"kl_coef=0.2": 0.52, "kl_coef=2": 0.7})
    assert load_runs(tmp_path / "2.0-0", tmp_path / "2.0-1").runs.configuration.to_list() == ["tiny"] * 2


def test_names_of_models_and_code_stand_for_their_digests(tmp_path) -> None:
    """With the digest beside them only where code of one name has changed; N goes without saying where the model says it."""

    def write(name: str, weighting: str, digest: str, pretrained: str = "tiny", digits: int = 5) -> None:
        args = PPOArgs(weighting=weighting, pretrained_digits=digits)
        record = json.loads((write_run(tmp_path / name, 0.5, 0.9, [1.0], args=args) / "run.json").read_text())
        record["arguments"]["pretrained"] = pretrained
        record["inputs"] = {"pretrained": f"{pretrained}'s digest", "weighting": digest}
        (tmp_path / name / "run.json").write_text(json.dumps(record))

    write("a", "mine.py:surprise", "0123456789abcdef")
    write("b", "mine.py:doubt", "fedcba9876543210")
    assert load_runs(tmp_path).runs.configuration.to_list() == ["weighting=mine.py:surprise", "weighting=mine.py:doubt"]
    write("b", "mine.py:surprise", "fedcba9876543210", "models/small", digits=3)
    assert load_runs(tmp_path).runs.configuration.to_list() == [
        "pretrained=tiny weighting=mine.py:surprise@01234567",
        "pretrained=models/small weighting=mine.py:surprise@fedcba98",
    ]


def test_a_run_under_way_and_one_without_a_record(tmp_path) -> None:
    write_record(tmp_path / "begun")
    table = "time/episodes,time/total_timesteps,time/time_elapsed,objective/kl\n64,1000,7,\n128,2000,15,0.5\n"
    (tmp_path / "begun" / "progress.csv").write_text(table)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "progress.csv").write_text("time/episodes,rollout/ep_rew_mean\n8,0.25\n")
    runs, curves = load_runs(tmp_path)
    begun, mine = runs.loc[str(tmp_path / "begun")], runs.loc[str(tmp_path / "mine")]
    assert not begun.finished
    assert (begun.episodes, begun.timesteps, begun.seconds) == (128, 2000, 15)
    assert pd.isna(begun.gain)
    assert begun.kl == 0.5
    assert (mine.configuration, mine.episodes) == (str(tmp_path / "mine"), 8)
    assert curves["objective/kl"].dropna().to_list() == [0.5]


def test_what_can_be_named(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/a", "runs/b", "runs/store/c"):
        write_run(Path(folder), 0.5, 0.9, [1.0])
    Path("runs/pretrained").mkdir()
    a, b, c = Path("runs/a"), Path("runs/b"), Path("runs/store/c")
    assert find_runs("runs/*") == [a, b, c]
    assert find_runs("runs") == find_runs(b, "runs/a", a)[::-1] == [a, b]
    assert find_runs(Path("runs/store")) == find_runs("runs/s*") == [c]
    for wrong in ("nowhere", "runs/x*", "runs/pretrained"):
        with pytest.raises(ValueError, match=rf"run must be a run folder of train.ppo, but '{re.escape(wrong)}' holds no"):
            find_runs("runs", wrong)
    with pytest.raises(ValueError, match="runs must name at least one folder"):
        load_runs()


def test_a_store_hands_out_its_runs(tmp_path) -> None:
    """What is published too counts once; the accuracy before training is the one that the store has measured."""
    store = Store(tmp_path / "store", tmp_path / "published")
    for seed in (0, 1):
        write_run(tmp_path / "store" / f"run-{seed}", 0.5, 0.9, [1.0], args=PPOArgs(seed=seed))
    shutil.copytree(tmp_path / "store" / "run-1", tmp_path / "published" / "run-1")
    write_run(tmp_path / "published" / "run-2", 0.5, 0.9, [1.0], args=PPOArgs(seed=2))
    path = accuracies_before(tmp_path / "store", identity(PPOArgs()))
    path.parent.mkdir()
    path.write_text('{"<=N": 1.0, "N+1": 0.25}')
    runs = store.load().runs
    assert sorted(runs.seed) == [0, 1, 2]
    assert runs[runs.seed < 2].gain.to_list() == pytest.approx([25, 25])
    assert runs[runs.seed == 2].gain.isna().all()


def test_arguments_that_were_not_there_yet_have_their_defaults(tmp_path) -> None:
    record = json.loads((write_run(tmp_path / "old", 0.5, 0.9, [1.0]) / "run.json").read_text())
    del record["arguments"]["keep_checkpoints"], record["arguments"]["kl_target"]
    (tmp_path / "old" / "run.json").write_text(json.dumps(record))
    write_run(tmp_path / "new", 0.5, 0.9, [1.0])
    runs = load_runs(tmp_path).runs
    assert runs.keep_checkpoints.to_list() == [PPOArgs().keep_checkpoints] * 2
    assert set(runs.configuration) == {"tiny"}
    assert list(runs.columns[1 : 1 + len(asdict(PPOArgs())) - 2]) == [
        name for name in asdict(PPOArgs()) if name not in ("run_folder", "resume")
    ]


def test_importing_train_stays_light() -> None:
    code = "import train, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pandas", "torch", "numpy"} & set(loaded)
