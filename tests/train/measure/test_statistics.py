from itertools import product

import numpy as np
import pytest
from scipy import stats

from train.measure import statistics
from train.measure.statistics import (
    Estimate,
    bootstrap,
    detectable,
    interquartile_mean,
    mean,
    paired_difference,
    probability_of_improvement,
    sign_flip_p,
    t_mean,
)


def every_resample(sample: list[float]) -> list[tuple[float, ...]]:
    return list(product(sample, repeat=len(sample)))


def check_interval(estimate: Estimate, every: list[float]) -> None:
    """The interval's ends leave 2.5% of *all* resamples outside at each end, up to Monte Carlo error."""
    low, high = np.quantile(every, [0.015, 0.035]), np.quantile(every, [0.965, 0.985])
    assert low[0] - 1e-9 <= estimate.low <= low[1] + 1e-9
    assert high[0] - 1e-9 <= estimate.high <= high[1] + 1e-9


def by_hand_iqm(values: list[float]) -> float:
    """Sort, drop a quarter at each end (rounded down), average."""
    dropped = len(values) // 4
    kept = sorted(values)[dropped : len(values) - dropped]
    return sum(kept) / len(kept)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([7], 7), ([1, 2], 1.5), ([9, 1, 2], 4), ([100, 2, 4, -50], 3), ([0, 1, 2, 3, 100], 2), (range(8), 3.5)],
)
def test_iqm_by_hand(values, expected) -> None:
    assert by_hand_iqm(list(values)) == expected
    assert interquartile_mean(values).value == expected


def test_iqm_of_tasks_is_that_of_all_runs() -> None:
    """As in rliable: runs of all tasks are sorted together, not task by task."""
    assert interquartile_mean([0, 10], [20, 1000]).value == 15
    assert interquartile_mean([0, 10, 20, 1000]).value == 15


@pytest.mark.parametrize("statistic", [mean, interquartile_mean])
def test_intervals_against_all_resamples(statistic) -> None:
    sample = [3.0, -1.0, 4.5, 0.0, 9.0]
    truth = {mean: np.mean, interquartile_mean: by_hand_iqm}[statistic]
    check_interval(statistic(sample), [truth(resample) for resample in every_resample(sample)])


def test_strata_are_resampled_on_their_own(monkeypatch) -> None:
    monkeypatch.setattr(statistics, "FEWEST_RUNS", 3)
    first, second = [0.0, 1.0, 3.0], [100.0, 110.0, 150.0, 170.0]
    every = [float(np.mean(a + b)) for a in every_resample(first) for b in every_resample(second)]
    estimate = mean(first, second)
    assert estimate.value == pytest.approx(np.mean(first + second))
    check_interval(estimate, every)
    pooled = mean(first + second)
    assert pooled.high - pooled.low > 2 * (estimate.high - estimate.low)


def test_pairs_stay_together() -> None:
    """What both runs of a seed share cancels."""
    y = np.array([10.0, 60.0, -40.0, 20.0, 0.0])
    differences = [1.0, 2.0, 3.0, 4.0, 7.0]
    estimate = paired_difference(y + differences, y)
    assert estimate.value == pytest.approx(3.4)
    check_interval(estimate, [float(np.mean(resample)) for resample in every_resample(differences)])
    constant = paired_difference(y + 2, y)
    assert (constant.value, constant.low, constant.high) == pytest.approx((2, 2, 2))


def test_paired_mean_against_scipy() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(1, 1, 12), rng.normal(0, 1, 12)
    theirs = stats.bootstrap(
        (x, y), lambda a, b, axis: (a - b).mean(axis), paired=True, method="percentile", n_resamples=20_000, rng=rng
    ).confidence_interval
    ours = paired_difference(x, y)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.05)


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [([1], [0], 1), ([0], [1], 0), ([1], [1], 0.5), ([1, 2, 3], [2], 0.5), ([1, 2], [0, 1, 2], 4 / 6), ([5, 5], [1, 9], 0.5)],
)
def test_probability_of_improvement_by_hand(x, y, expected) -> None:
    assert probability_of_improvement(x, y).value == pytest.approx(expected)


def test_probability_of_improvement_is_mann_whitney() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.integers(10, size=9), rng.integers(10, size=7)
    assert probability_of_improvement(x, y).value == pytest.approx(stats.mannwhitneyu(x, y).statistic / 63)


def test_probability_of_improvement_interval_against_all_resamples(monkeypatch) -> None:
    monkeypatch.setattr(statistics, "FEWEST_RUNS", 2)
    x, y = [1.0, 3.0, 4.0, 4.0], [0.0, 3.0, 3.5]
    pairs = list(product(every_resample(x), every_resample(y)))
    every = [sum((a > b) + 0.5 * (a == b) for a in xs for b in ys) / 12 for xs, ys in pairs]
    check_interval(probability_of_improvement(x, y), every)


def test_the_seed_decides() -> None:
    sample = np.random.default_rng(3).normal(size=10)
    assert mean(sample) == mean(sample) == mean(sample, seed=0) != mean(sample, seed=1)


@pytest.mark.parametrize("runs", [1, 4])
def test_few_runs_have_no_interval(runs) -> None:
    four = [4.0] * runs
    nothing = [0.0] * runs
    for estimate in (mean(four), interquartile_mean(four), paired_difference(four, nothing), t_mean(four)):
        assert estimate.value == 4
        assert np.isnan([estimate.low, estimate.high]).all()
        assert f"{estimate:+.1f}" == "+4.0"


def test_five_runs_have_intervals() -> None:
    for statistic in (mean, interquartile_mean, t_mean):
        assert statistic([1.0, 2.0, 3.0, 4.0, 9.0]).low < 3


def test_t_interval_against_scipy() -> None:
    sample = np.random.default_rng(0).normal(3, 2, size=9)
    theirs = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    ours = t_mean(sample)
    assert (ours.value, ours.low, ours.high) == pytest.approx((sample.mean(), theirs.low, theirs.high))


@pytest.mark.parametrize("runs", [5, 10])
def test_t_intervals_cover_what_they_say(runs) -> None:
    rng = np.random.default_rng(5)
    held = [(estimate := t_mean(rng.normal(3, 1, runs))).low <= 3 <= estimate.high for _ in range(2000)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    "differences", [[1.0], [0.0, 0.0], [1, -2], [1, 2, 3, 4, 5], [0.1, 0.2, -0.3, 0.3, 0.0], [1, 1, -1, 1]]
)
def test_sign_flips_against_a_slow_enumeration(differences) -> None:
    """With ties, which rounding must not break: 0.1 + 0.2 - 0.3 is not 0."""
    extreme = [
        abs(sum(sign * difference for sign, difference in zip(signs, differences, strict=True))) >= abs(sum(differences)) - 1e-9
        for signs in product((-1, 1), repeat=len(differences))
    ]
    assert sign_flip_p(differences) == pytest.approx(np.mean(extreme))


def test_sign_flips_against_scipy() -> None:
    differences = np.random.default_rng(1).normal(0.5, 1, size=12)
    theirs = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=2**12, axis=0)
    assert sign_flip_p(differences) == pytest.approx(theirs.pvalue)


def test_sampled_sign_flips_agree_with_all(monkeypatch) -> None:
    differences = np.random.default_rng(2).normal(0.6, 1, size=13)
    exact = sign_flip_p(differences)
    monkeypatch.setattr(statistics, "MOST_ENUMERATED", 12)
    sampled = sign_flip_p(differences)
    assert sampled != exact
    assert sampled == pytest.approx(exact, abs=5 * np.sqrt(exact / statistics.SAMPLED_SIGNS))
    assert sign_flip_p(differences) == sampled
    assert sign_flip_p(np.ones(30)) == pytest.approx(1 / statistics.SAMPLED_SIGNS, rel=0.01)


def test_format() -> None:
    assert f"{Estimate(1.25, -0.5, 3.0):+.2f}" == "+1.25 [-0.50, +3.00]"


@pytest.mark.parametrize("strata", [[[]], [[1.0], []], [[[1.0, 2.0]]], [3.0]])
def test_bad_strata(strata) -> None:
    with pytest.raises(ValueError, match=r"strata must be \(n_runs,\) with n_runs >= 1"):
        mean(*strata)


def test_unpaired_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"x and y must hold the same seeds, but they are \(3,\) and \(2,\)"):
        paired_difference([1, 2, 3], [1, 2])


def test_statistic_of_the_users_own() -> None:
    estimate = bootstrap(lambda sample, axis: np.max(sample, axis=axis), [1, 5, 2, 3, 4])
    assert (estimate.value, estimate.high) == (5, 5)


@pytest.mark.parametrize(("runs", "coverage"), [(5, 0.84), (10, 0.90), (40, 0.94)])
def test_coverage(monkeypatch, runs, coverage) -> None:
    """The share of 95% intervals that hold the truth is what ``docs/matched_budget.md`` says; chance: 0.94 +- 0.03."""
    monkeypatch.setattr(statistics, "RESAMPLES", 1000)
    rng = np.random.default_rng(4)
    held = [
        (estimate := paired_difference(rng.normal(3, 1, runs), rng.normal(0, 1, runs))).low <= 3 <= estimate.high
        for _ in range(1000)
    ]
    assert np.mean(held) == pytest.approx(coverage, abs=0.03)


def test_what_rounds_to_zero_has_no_minus_sign() -> None:
    assert f"{Estimate(-0.001, -0.004, 0.01):.2f}" == "0.00 [0.00, 0.01]"
    assert f"{Estimate(-0.04, -0.06, 0.0):+.1f}" == "+0.0 [-0.1, +0.0]"


@pytest.mark.parametrize(("runs", "power"), [(10, 0.8), (30, 0.5)])
def test_a_detectable_difference_is_found_so_often(runs: int, power: float) -> None:
    """By simulation: SciPy's paired t test on 20,000 samples whose true mean is the detectable one."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=runs)
    spread = noise / noise.std(ddof=1) * 3
    difference = detectable(spread, power)
    found = stats.ttest_1samp(rng.normal(difference, 3, (20_000, runs)), 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(power, abs=0.012)


def test_nothing_is_detectable_with_few_runs() -> None:
    assert np.isnan(detectable([1.0, 2.0, 3.0]))
