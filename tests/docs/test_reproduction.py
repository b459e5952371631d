"""The numbers that a reader cannot see in a table are those of the runs."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from tests.docs.pages import ROOT

PAGE = " ".join((ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8").split())
ARCHIVE = ROOT / "results" / "archive"


def said(pattern: str) -> list[float]:
    """The numbers that the page has in a sentence."""
    (found,) = re.findall(pattern, PAGE)
    return [float(number) for number in found]


def test_how_long_a_run_took() -> None:
    least, most, half = said(r"A fine-tuning run took ([\d.]+) to ([\d.]+) minutes of training, half of them ([\d.]+) or less")
    partial = said(r"are those of the last session alone \((\d+), (\d+) and (\d+)\)")
    seconds = [json.loads(path.read_text())["seconds"] for path in ARCHIVE.glob("store/*/results.json")]
    assert set(partial) <= set(seconds)
    minutes = np.array([each for each in seconds if each not in partial]) / 60
    assert (least, most) == pytest.approx((minutes.min(), minutes.max()), abs=0.05)
    assert half - 0.5 < np.median(minutes) <= half


def test_where_the_first_comma_starts_how_far_it_gets_and_where_it_ends() -> None:
    start, *prioritized = said(
        r"from ([\d.]+), the first comma reaches ([\d.]+) with prioritized KL and averages ([\d.]+) over the last five rollouts"
    )
    standard = said(
        r"Under the standard penalty it reaches ([\d.]+) and varies between ([\d.]+) and ([\d.]+) in the last five "
        r"evaluations \(average ([\d.]+)\)"
    )
    rows = pd.read_csv(ARCHIVE / "reproduction" / "tiny" / "fig-7.csv")
    rows = rows[rows.column == "critical/line1_operand1_comma"].sort_values("episodes")
    curves = {arm: curve.value.to_numpy() for arm, curve in rows.groupby("arm")}
    assert [curve[0] for curve in curves.values()] == pytest.approx([start, start], abs=0.005)
    last = curves["prioritized"][-5:]
    assert prioritized == pytest.approx([curves["prioritized"].max(), last.mean()], abs=0.005)
    last = curves["standard"][-5:]
    assert standard == pytest.approx([curves["standard"].max(), last.min(), last.max(), last.mean()], abs=0.005)
