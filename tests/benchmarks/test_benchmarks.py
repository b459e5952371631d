"""Every part runs and says consistent things; how fast anything is is not tested."""

import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

import pytest

from addition_gym.scratchpad import longest_text
from benchmarks import __main__, gpu
from benchmarks.__main__ import PARTS, BenchmarkArgs
from benchmarks.measure import QUICK

AGAINST_FIRST = "this / first"


def run(module: Any, output: Path, *arguments: str) -> dict[str, Any]:
    """A command line, and the JSON that it writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["benchmarks", "--output", str(output), *arguments])
        module.main()
    return json.loads(output.read_text())


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, Any]:
    return run(__main__, tmp_path_factory.mktemp("benchmarks") / "new" / "results.json", "--quick", "--parts", *PARTS)


@pytest.fixture(scope="module")
def gpu_results(tmp_path_factory) -> dict[str, Any]:
    """A minute model on the CPU."""
    model = ("--n-layer", "1", "--n-head", "2", "--n-embd", "32", "--digits", "1")
    work = ("--lanes", "2", "4", "--train-lanes", "4", "--batch-size", "2", "--pretraining-steps", "1")
    sizes = ("--tokens-per-step", "400", "--gemm-size", "64", "--read-megabytes", "1", "--repeats", "2")
    output = tmp_path_factory.mktemp("benchmarks") / "results.json"
    return run(gpu, output, *model, *work, *sizes, "--device", "cpu")


@pytest.fixture(params=[pytest.param("benchmarks", marks=pytest.mark.slow), "benchmarks.gpu"])
def parts(request) -> dict[str, Any]:
    fixture = "results" if request.param == "benchmarks" else "gpu_results"
    return request.getfixturevalue(fixture)["parts"]


def cases(part: dict[str, Any]) -> list[list[dict[str, Any]]]:
    names = dict.fromkeys(row["case"] for row in part["rows"])
    return [[row for row in part["rows"] if row["case"] == name] for name in names]


@pytest.mark.slow
def test_every_part_is_measured_and_by_default_all_but_the_long_one(results, gpu_results):
    assert set(results["parts"]) == set(PARTS) == {*BenchmarkArgs.parts, "time-to-accuracy"}
    assert set(gpu_results["parts"]) == {"pretraining", "rollout", "update"}


@pytest.mark.slow
def test_the_machine_is_described(results):
    assert {"torch", "transformers", "stable-baselines3", "hardware", "cores", "threads"} <= set(results["machine"])


def test_values_are_positive_and_medians_are_theirs(parts):
    for part in parts.values():
        for row in part["rows"]:
            assert min(row["values"]) > 0
            assert row["median"] == statistics.median(row["values"])


def test_a_ratio_is_one_of_medians(parts):
    for part in parts.values():
        for rows in cases(part):
            first = rows[0]["median"]
            for row in rows:
                assert row["unit"] == rows[0]["unit"]
                ratio = row["median"] / first if part["ratio"] == AGAINST_FIRST else first / row["median"]
                assert row["ratio"] == pytest.approx(ratio)


@pytest.mark.slow
def test_quick_sizes_are_not_held_against_the_bars(results):
    assert all(row["met"] is None for part in results["parts"].values() for row in part["rows"])


def test_bars_are_judged(gpu_results):
    judged = [row for part in gpu_results["parts"].values() for row in part["rows"] if row["at_least"] is not None]
    assert {row["at_least"] for row in judged} == {0.4, 5.0}
    assert all(row["met"] == (row["ratio"] >= row["at_least"]) for row in judged)


@pytest.mark.slow
def test_a_long_text_costs_more_operations(results):
    rows = [row for row in results["parts"]["growth"]["rows"] if row["case"].endswith("operations")]
    assert len(rows) == 4
    assert all(later["ratio"] > 1 for later in rows[1::2])


@pytest.mark.slow
def test_training_stops_at_the_target(results):
    """Any accuracy will do, so the first look, after the first rollout, ends it."""
    case = results["parts"]["time-to-accuracy"]["rows"][0]["case"]
    tokens = re.fullmatch(r"0% reached, ([0-9]+) tokens", case)
    assert tokens
    assert int(tokens[1]) < QUICK.train_lanes * longest_text(QUICK.digits + 2)


def test_arguments_are_checked(tmp_path):
    for name in ("--repeats", "--threads"):
        with pytest.raises(ValueError, match=r"must be >= 1, but it is 0"):
            run(__main__, tmp_path / "results.json", name, "0")
