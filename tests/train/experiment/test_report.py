import json

import matplotlib.pyplot as plt
import pytest

from tests.train.experiment.made_up_runs import result, results_of, write_run
from train.experiment.report import arm_table, draw, made_by
from train.measure.statistics import interquartile_mean, mean
from train.run.run import FinishedRun

RESULTS = results_of(prioritized=[10, 20, 35, 40], oracle=[9, 18, 30], shuffled=[])


def test_table() -> None:
    header, (prioritized, oracle) = arm_table(RESULTS, "N+2")
    assert header == [
        "arm",
        "runs",
        "N+2 gain, points",
        "<=N change, points",
        "KL, nats per episode",
        "prioritized - arm, points",
        "P(prioritized > arm)",
    ]
    assert prioritized[:3] == ["prioritized", "4", f"{interquartile_mean([10, 20, 35, 40]):+.1f}"]
    assert prioritized[2].startswith("+27.5 [")
    assert prioritized[5:] == ["", ""]
    assert oracle[:5] == ["oracle", "3", f"{mean([9, 18, 30]):+.1f}", "+0.0 [+0.0, +0.0]", "1.00 [1.00, 1.00]"]
    assert oracle[5].startswith("+2.7 [")
    assert oracle[6].startswith("0.67 [")


@pytest.mark.parametrize(
    "results",
    [results_of(prioritized=[], oracle=[1.0, 2.0]), results_of(prioritized=[None, 5.0], oracle=[1.0])],
)
def test_table_without_pairs(results) -> None:
    header, rows = arm_table(results, "N+1")
    assert header[-1] == "KL, nats per episode"
    assert {len(row) for row in rows} == {5}


@pytest.fixture
def figures(monkeypatch):
    """The figures that ``draw`` closes."""
    kept = []
    close = plt.close
    monkeypatch.setattr(plt, "close", kept.append)
    yield kept
    close("all")


def test_pictures(tmp_path, figures) -> None:
    gains = {"prioritized": [10.0, 20.0, 30.0], "no KL": [0.0, 5.0, 10.0], "oracle": [7.0], "shuffled": []}
    results = {
        arm: {seed: result(arm, seed, gain, retention=-gain / 10, kl=gain + 1) for seed, gain in enumerate(values)}
        for arm, values in gains.items()
    }
    draw(results, "N+1", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"gain_against_retention.png", "gain_against_kl.png"}
    centres = {"prioritized": (20, -2, 21), "no KL": (5, -0.5, 6), "oracle": (7, -0.7, 8)}
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
