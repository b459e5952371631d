import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tests.train.experiment.made_up_runs import result, results_of, write_run
from train.experiment.report import arm_table, draw, made_by
from train.measure.statistics import interquartile_mean, mean, sign_flip_p, t_mean
from train.run.run import FinishedRun

GAINS, RIVAL = [10, 20, 35, 40, 15, 44], [9, 18, 30, 39, 11]
RESULTS = results_of(prioritized=GAINS, oracle=RIVAL, shuffled=[])


def test_table() -> None:
    header, (prioritized, oracle) = arm_table(RESULTS, "N+2")
    assert header == [
        "arm",
        "runs",
        "N+2 gain, points",
        "<=N change, points",
        "KL, nats per episode",
        "area, %",
        "episodes",
        "area, prioritized - arm",
        "p of area",
        "prioritized - arm, points",
        "t interval",
        "p",
        "P(prioritized > arm)",
    ]
    assert prioritized[:3] == ["prioritized", "6", f"{interquartile_mean(GAINS):+.1f}"]
    assert prioritized[2].startswith("+27.5 [")
    assert prioritized[5:] == ["50.0 [50.0, 50.0]", "224 (6 of 6)", *[""] * 6]
    assert oracle[:5] == ["oracle", "5", f"{interquartile_mean(RIVAL):+.1f}", "+0.0 [+0.0, +0.0]", "1.00 [1.00, 1.00]"]
    differences = np.subtract(GAINS[:5], RIVAL)
    assert oracle[7:9] == ["+0.0 [+0.0, +0.0]", "1.000"]
    assert oracle[9:11] == [f"{mean(differences):+.1f}", t_mean(differences).interval("+.1f")]
    assert oracle[11] == f"{sign_flip_p(differences):.3f}" == f"{2 / 2**5:.3f}"  # all differences have one sign
    assert oracle[12].startswith("0.60 [")


def test_few_runs_have_no_intervals() -> None:
    _, rows = arm_table(results_of(prioritized=[10, 20, 35], oracle=[9, 18, 30]), "N+1")
    assert not any("[" in cell for row in rows for cell in row)


@pytest.mark.parametrize(
    "results",
    [results_of(prioritized=[], oracle=[1.0, 2.0]), results_of(prioritized=[None, 5.0], oracle=[1.0])],
)
def test_table_without_pairs(results) -> None:
    header, rows = arm_table(results, "N+1")
    assert header[-1] == "episodes"
    assert {len(row) for row in rows} == {7}


@pytest.fixture
def figures(monkeypatch):
    """The figures that ``draw`` closes."""
    kept = []
    close = plt.close
    monkeypatch.setattr(plt, "close", kept.append)
    yield kept
    close("all")


def test_pictures(tmp_path, figures) -> None:
    gains = {"prioritized": [10.0, 20.0, 30.0, 15.0, 25.0], "no KL": [0.0, 5.0, 10.0], "oracle": [0.0], "shuffled": []}
    results = {
        arm: {seed: result(arm, seed, gain, retention=-gain / 10, kl=gain + 1) for seed, gain in enumerate(values)}
        for arm, values in gains.items()
    }
    draw(results, "N+1", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"gain_against_retention.png", "gain_against_kl.png"}
    centres = {"prioritized": (20, -2, 21), "no KL": (5, -0.5, 6), "oracle": (0, 0, 1)}
    for column, figure in enumerate(figures, start=1):
        (axes,) = figure.axes
        drawn = {bars.get_label(): bars for bars in axes.containers}
        assert drawn.keys() == centres.keys() == {text.get_text() for text in figure.legends[0].get_texts()}
        for arm, bars in drawn.items():
            assert bars.lines[0].get_xydata()[0] == pytest.approx([centres[arm][column], centres[arm][0]])
        assert len({bars.lines[0].get_marker() for bars in drawn.values()}) == 3
        assert "percentage points" in axes.get_ylabel()
        low, high = drawn["prioritized"].lines[2][1].get_segments()[0][:, 1]
        estimate = interquartile_mean(gains["prioritized"])
        assert (low, high) == pytest.approx((estimate.low, estimate.high))
    assert "percentage points" in figures[0].axes[0].get_xlabel()
    spent = figures[1].axes[0]
    assert "nats per episode; linear to 1, then logarithmic" in spent.get_xlabel()
    at = {kl: spent.transData.transform((kl, 0))[0] for kl in (0, 0.5, 1, 2, 4, 10)}
    assert at[1] - at[0.5] == pytest.approx(at[0.5] - at[0])
    assert at[4] - at[2] == pytest.approx(at[2] - at[1])
    left, right = spent.get_xlim()
    ticks = {text.get_position()[0]: text.get_text() for text in spent.get_xticklabels()}
    shown = {"1": 1, "2": 2, "5": 5, "10": 10, "20": 20}
    assert {label: tick for tick, label in ticks.items() if left <= tick <= right and tick >= 1} == shown


def test_provenance_is_that_of_the_runs(tmp_path) -> None:
    """Also where they differ, and where one was resumed with other code."""
    one, two = (write_run(tmp_path / name, 0.5, 0.9, [1.0]) for name in ("one", "two"))
    record = json.loads((two / "run.json").read_text())
    (first,) = record["sessions"]
    record["sessions"] = [{**first, "commit": None}, {**first, "commit": "def456", "hardware": "NVIDIA T4"}]
    (two / "run.json").write_text(json.dumps(record))
    runs = {("oracle", 0): FinishedRun(one), ("oracle", 7): FinishedRun(two)}
    text = made_by("python -m train.sweep", {"oracle": {0: result("oracle", 0, 1), 7: result("oracle", 7, 2)}}, runs)
    assert "Made by `python -m train.sweep`: 2 runs, seeds 0, 7, 12.0 minutes of training" in text
    assert "commit abc123 or def456 or not recorded, clean True, python 3.11.7, torch 2.13.0, hardware CPU or NVIDIA T4" in text
