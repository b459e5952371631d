"""The verdict on made-up measurements, and the files of a soak whose cycles do nothing; how much memory a real one takes is not
tested."""

import csv
import json
import sys

import numpy as np
import pytest

from benchmarks import soak
from benchmarks.soak import Sample, judge, slope


def taken(held: list[float], handles: list[int]) -> list[Sample]:
    """A sample every six minutes."""
    return [
        Sample(i + 1, 6.0 * (i + 1), 900.0, memory, 160.0, 10**6, files)
        for i, (memory, files) in enumerate(zip(held, handles, strict=True))
    ]


def test_slope_of_a_line_and_of_noise() -> None:
    hours = np.arange(20) / 10
    assert slope(hours, 3 * hours + 500) == pytest.approx((3, 3, 3))
    noise = np.random.default_rng(0).normal(500, 1, size=20)
    assert slope(hours, noise).low < 0 < slope(hours, noise).high
    assert slope(hours, noise + 5 * hours).low > 0


def test_a_leak_is_no_flat_line() -> None:
    rng = np.random.default_rng(0)
    flat, leak = rng.normal(500, 1, size=30), rng.normal(500, 1, size=30) + np.arange(30)
    verdict = judge(taken(flat.tolist(), [9] * 30), warm_up=0.1)
    assert verdict["held"]["flat"]
    assert verdict["handles"] == {
        **dict(first=9, last=9, largest=9, slope_per_hour=0, low=0, high=0),
        "flat": True,
    }
    verdict = judge(taken(leak.tolist(), list(range(30))), warm_up=0.1)
    assert not verdict["held"]["flat"]
    assert verdict["held"]["slope_per_hour"] == pytest.approx(10, abs=1)
    assert not verdict["handles"]["flat"]


def test_noise_that_could_hide_a_leak_is_no_flat_line() -> None:
    """Five samples far apart show nothing, so they do not show that memory is flat."""
    verdict = judge(taken(np.random.default_rng(0).normal(500, 100, size=5).tolist(), [9] * 5), warm_up=0.0)
    assert verdict["held"]["low"] < 0
    assert not verdict["held"]["flat"]


def test_the_warm_up_is_left_out() -> None:
    held = [100.0, 300.0, *[500.0] * 18]
    assert judge(taken(held, [9] * 20), warm_up=0.15)["held"]["first"] == 500
    assert judge(taken(held, [9] * 20), warm_up=0.0)["held"]["first"] == 100


def test_too_short() -> None:
    with pytest.raises(ValueError, match="minutes must leave two cycles after the warm-up, but they leave 1"):
        judge(taken([1.0], [1]), warm_up=0.1)


def test_command(tmp_path, monkeypatch, capsys) -> None:
    """A cycle that keeps 17 MB and a file."""
    kept = []

    def leak(args: soak.SoakArgs, seed: int) -> None:
        kept.append((np.ones(2**21), (tmp_path / "kept").open("w")))

    monkeypatch.setattr(soak, "cycle", leak)
    output = tmp_path / "new" / "soak.csv"
    monkeypatch.setattr(sys, "argv", ["soak", "--minutes", "0.02", "--warm-up", "0", "--output", str(output)])
    soak.main()
    rows = list(csv.DictReader(output.open(newline="")))
    verdict = json.loads(output.with_suffix(".json").read_text())
    assert verdict == json.loads(capsys.readouterr().out)
    more = len(kept) - 1
    assert verdict["cycles"] == len(rows) == len(kept) > 1
    assert int(rows[-1]["handles"]) - int(rows[0]["handles"]) == more
    assert float(rows[-1]["held"]) - float(rows[0]["held"]) == pytest.approx(16.8 * more, abs=5)
    assert float(rows[-1]["native"]) - float(rows[0]["native"]) == pytest.approx(16.8 * more, abs=1)
    assert not any(verdict[name]["flat"] for name in ("held", "native", "handles"))
    for _, file in kept:
        file.close()
