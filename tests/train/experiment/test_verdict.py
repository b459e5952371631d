import dataclasses

import pytest

from tests.train.experiment.made_up_runs import results_of
from train.experiment.verdict import Comparison, Results, compare, paired_seeds, verdict

SEEDS = [0.0, 1.0, 2.0, 3.0, 4.0]


def shifted(gain: float) -> list[float]:
    return [gain + noise for noise in SEEDS]


def forgetting(results: Results, arm: str, points: float) -> Results:
    """The same, but the arm changes by so many points on up to N digits."""
    changed = {seed: dataclasses.replace(run, retention=points) for seed, run in results[arm].items()}
    return {**results, arm: changed}


def test_paired_seeds_are_those_that_all_arms_have() -> None:
    results = results_of(prioritized=[1, 2, 3, None, 5], one=[None, 1, 2, 3, 4], two=[1, 2, 3, 4], three=[])
    assert paired_seeds(results, "prioritized", "one", "two") == [1, 2]
    assert paired_seeds(results, "prioritized", "two") == [0, 1, 2]
    assert paired_seeds(results, "one", "three") == []


def test_comparison_uses_paired_seeds_only() -> None:
    results = results_of(prioritized=[10, 20, 35, 1000], other=[9, 18, 30])
    comparison = compare(results, "other")
    assert comparison.other == "other"
    assert comparison.difference.value == pytest.approx((1 + 2 + 5) / 3)
    assert comparison.improvement.value == pytest.approx(6 / 9)


@pytest.mark.parametrize(
    ("focus", "other", "outcome"),
    [
        (shifted(20), shifted(0), "gains more"),
        (shifted(0), shifted(20), "gains less"),
        (shifted(0), shifted(0), "no difference shown"),
        # always a little better, seed by seed, yet far less than seeds differ: only one of the two intervals says so
        (shifted(0.5), shifted(0), "no difference shown"),
        ([20.0], [0.0], "no difference shown"),
    ],
)
def test_outcome_needs_both_intervals(focus, other, outcome) -> None:
    comparison: Comparison = compare(results_of(prioritized=focus, other=other), "other")
    assert comparison.outcome == outcome


def test_verdict_is_on_the_best_uniform_arm_that_keeps() -> None:
    results = results_of(prioritized=shifted(20), strong=shifted(1), middle=shifted(5), weak=shifted(60), constant=shifted(70))
    uniform = ["strong", "middle", "weak"]
    assert verdict(results, uniform).startswith(
        "prioritized against weak, the best uniform coefficient tried, on 5 paired seeds: gains less"
    )
    kept = forgetting(results, "weak", -3.1)
    assert verdict(kept, uniform) == (
        "prioritized against middle, the best uniform coefficient tried, on 5 paired seeds: gains more "
        "(difference +15.0 [+15.0, +15.0] points, probability of improvement 1.00 [1.00, 1.00])."
    )
    assert "against weak" in verdict(forgetting(results, "weak", -3.0), uniform)


def test_verdict_without_comparison() -> None:
    results = results_of(prioritized=shifted(20), uniform=shifted(1), oracle=shifted(1))
    assert verdict(forgetting(results, "prioritized", -4.0), ["uniform"]).startswith("No: prioritized loses 4.0 points")
    assert verdict(forgetting(results, "uniform", -4.0), ["uniform"]).startswith("No verdict: every uniform coefficient")


@pytest.mark.parametrize(("uniform", "paired"), [([], 0), ([1.0, 2.0, 3.0, 4.0], 4)])
def test_no_verdict_on_too_few_seeds(uniform, paired) -> None:
    results = results_of(prioritized=shifted(20), uniform=uniform, oracle=shifted(1))
    expected = f"No verdict yet: {paired} seeds are done in all arms of the question, and the rule asks for 5."
    assert verdict(results, ["uniform"]) == expected
