"""``compare RUN RUN ...``: configurations, what came out, and the picture."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tests.train.experiment.made_up_runs import BEFORE, write_record, write_run
from train import compare, load_runs
from train.experiment.identity import accuracies_before, identity
from train.experiment.run_comparison import after, changes, speed
from train.finetuning.arguments import PPOArgs
from train.measure.accuracy import Accuracy
from train.measure.statistics import interquartile_mean, mean, paired_difference, sign_flip_p, t_mean

COEFS = {0.2: [0.5, 0.6, 0.8, 0.55, 0.7], 2.0: [0.4, 0.45, 0.5, 0.6, 0.41]}
"""Accuracy on N+1 digits after training, by coefficient and seed."""


@pytest.fixture
def runs(tmp_path):
    """Five seeds of two coefficients, whose accuracies before training the store has."""
    store = tmp_path / "store"
    for coef, accuracies in COEFS.items():
        for seed, accuracy in enumerate(accuracies):
            args = PPOArgs(kl_coef=coef, seed=seed, eval_problems=100)
            write_run(store / f"{coef}-{seed}", accuracy, 0.9, [1.0, seed + coef], args=args)
    path = accuracies_before(store, identity(args))
    path.parent.mkdir()
    path.write_text(str(BEFORE).replace("'", '"'))
    return store


def test_numbers(runs) -> None:
    found = load_runs(runs).runs
    low, high = found[found.kl_coef == 0.2], found[found.kl_coef == 2.0]
    kl = mean([(1.0 + seed + 0.2) / 2 for seed in range(5)])
    assert after(low) == [f"{interquartile_mean([50, 60, 80, 55, 70]):.1f}", "90.0 [90.0, 90.0]", f"{kl:.2f}"]
    gains = {coef: [100 * (accuracy - 0.3) for accuracy in accuracies] for coef, accuracies in COEFS.items()}
    assert changes(low, low)[2:] == ["", "", ""]
    differences = np.subtract(gains[2.0], gains[0.2])
    assert changes(high, low) == [
        f"{interquartile_mean(gains[2.0]):+.1f}",
        f"{interquartile_mean([-9.0] * 5):+.1f}",
        f"{paired_difference(gains[2.0], gains[0.2]):+.1f}",
        t_mean(differences).interval("+.1f"),
        f"{sign_flip_p(differences):.3f}",
    ]
    assert speed(low) == ["50.0 [50.0, 50.0]", "64 (5 of 5)"]
    assert speed(low.assign(success_area=np.nan)) == ["", ""]


def test_one_run_has_the_interval_of_its_problems(runs) -> None:
    found = load_runs(runs / "0.2-1").runs
    low, high = Accuracy("N+1", 60, 100).interval
    assert after(found)[0] == f"60.0 [{100 * low:.1f}, {100 * high:.1f}]"
    assert changes(found, found)[:2] == ["+30.0", "-9.0"]


def test_seeds_are_paired_by_their_number(runs) -> None:
    """Not by their order, and only where both have them."""
    found = load_runs(runs).runs
    low, high = found[found.kl_coef == 0.2], found[found.kl_coef == 2.0]
    assert changes(high.iloc[[2, 1]], low.iloc[[1, 0]])[2] == "-15.0"  # seed 1 alone
    assert changes(high.iloc[[2]], low.iloc[[0]])[2] == ""


def test_gains_of_different_tasks_are_not_subtracted(runs) -> None:
    found = load_runs(runs).runs
    low, high = found[found.kl_coef == 0.2], found[found.kl_coef == 2.0]
    assert changes(high, low)[2]
    for argument, value in (("env", "mine.py:Task-v0"), ("pretrained_digits", 4), ("extra_digits", 2)):
        other = high.assign(**{argument: value, "gain": 5.0})
        assert changes(other, low)[2] == "", argument


@pytest.mark.parametrize(
    ("arguments", "warned"),
    [({}, None), ({"env": "mine.py:Task-v0"}, "same task (env)"), ({"pretrained": "tiny-4"}, "same model (pretrained)")],
)
def test_runs_of_other_models_and_tasks_are_warned_about(runs, command, capsys, tmp_path, arguments, warned) -> None:
    record = json.loads((runs / "2.0-0" / "run.json").read_text())
    record["arguments"] |= arguments
    record["inputs"] = {"pretrained": arguments.get("pretrained", record["inputs"]["pretrained"])}
    (runs / "2.0-0" / "run.json").write_text(json.dumps(record))
    command(compare, runs / "0.2-0", runs / "2.0-0", "--output", tmp_path / "both.png")
    out = capsys.readouterr().out
    assert (f"not of the {warned}" in out or f"from the {warned}" in out) if warned else "Warning" not in out


def test_the_caption_speaks_of_no_column_that_is_absent(runs, command, capsys, tmp_path) -> None:
    for second, is_there in (("2.0-0", True), ("2.0-1", False)):  # seed 0 as the first, seed 1
        command(compare, runs / "0.2-0", runs / second, "--output", tmp_path / "both.png")
        out = capsys.readouterr().out
        assert ("The last column" in out) == ("gain minus" in out) == is_there


def test_the_command(runs, command, capsys, tmp_path, monkeypatch) -> None:
    """At 80 columns no number and no name is torn apart, and the picture has a line for each configuration."""
    write_record(runs / "begun", PPOArgs(kl_coef=2.0, seed=5, eval_problems=100))
    (runs / "begun" / "progress.csv").write_text("time/episodes,rollout/success_rate\n64,0.5\n")
    kept, close = [], plt.close
    monkeypatch.setattr(plt, "close", kept.append)
    original = compare.main
    monkeypatch.setattr(compare, "main", lambda: (monkeypatch.setenv("COLUMNS", "80"), original()))
    command(compare, runs, "--output", tmp_path / "both.png")
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    for text in (
        "kl_coef=0.2",
        "kl_coef=2",
        "5 runs",
        "6 runs, 1 not finished",
        "test problems",
        "N+1 gain",
        f"Wrote {tmp_path / 'both.png'}",
    ):
        assert text in out
    estimate = interquartile_mean([100 * accuracy - 30 for accuracy in COEFS[0.2]])
    assert f"[{estimate.low:+.1f}, {estimate.high:+.1f}]" in out
    (figure,) = kept
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["kl_coef=0.2 (5 runs)", "kl_coef=2 (6 runs)"]
    close(figure)
    assert (plt.imread(tmp_path / "both.png")[..., :3] < 0.9).any(axis=-1).mean() > 0.01


def test_what_was_not_measured_is_left_out(runs, command, capsys, tmp_path) -> None:
    (next((runs / "before").iterdir())).unlink()
    command(compare, runs / "0.2-0", runs / "2.0-0", "--output", tmp_path / "both.png")
    out = capsys.readouterr().out
    assert "50.0 [" in out
    assert "gain" not in out


def test_the_experiment_is_still_there(command, capsys) -> None:
    with pytest.raises(SystemExit):
        command(compare, "matched-budget", "--help")
    out = capsys.readouterr().out
    assert "--prioritized-coefs" in out
    for flag in ("--run-folder", "--resume", "--eval-before"):  # which the store sets
        assert not re.search(rf"^\W*{flag} ", out, re.MULTILINE)
    with pytest.raises(SystemExit):
        command(compare, "--help")
    assert "compare matched-budget" in " ".join(capsys.readouterr().out.split())


def test_nothing_to_compare(command, tmp_path) -> None:
    with pytest.raises(ValueError, match="run must be a run folder"):
        command(compare, tmp_path)
    assert not np.array(list(tmp_path.iterdir())).size
