import io

import matplotlib.pyplot as plt
import pytest
from rich.console import Console

from tests.train.experiment.made_up_runs import result, results_of, write_run
from train.experiment.report import arm_table, draw, markdown_table, provenance, rich_table
from train.measure.statistics import interquartile_mean, mean

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


def test_markdown_and_terminal_show_the_same(monkeypatch) -> None:
    markdown = markdown_table(RESULTS, "N+1")
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {8}
    assert "the seeds that both arms have" in markdown
    console = Console(file=io.StringIO(), width=200)
    console.print(rich_table("title", RESULTS, "N+1"))
    for row in arm_table(RESULTS, "N+1")[1]:
        for cell in row:
            assert cell in markdown
            assert cell in console.file.getvalue()


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
    assert "nats per episode" in figures[1].axes[0].get_xlabel()


def test_provenance_is_that_of_the_runs(tmp_path) -> None:
    one, two = (write_run(tmp_path / name, 0.5, 0.9, [1.0]) for name in ("one", "two"))
    text = (two / "results.json").read_text().replace("1 CPU threads", "NVIDIA T4")
    (two / "results.json").write_text(text)
    assert provenance([one, two]) == {"python": "3.11.7", "torch": "2.13.0", "hardware": "1 CPU threads, NVIDIA T4"}
