import io
import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from rich.console import Console

from addition_gym import solution
from addition_gym.problems import ProblemSampler
from tests.train.helpers import ScriptedPolicy, is_held_out, random_policy, scripted_policy
from train.measure.accuracy import (
    Accuracy,
    PassAtK,
    evaluate,
    fitting_extras,
    held_out_problems,
    pass_at_k,
    problems_name,
    table,
)


def wilson(solved: int, total: int) -> tuple[float, float]:
    """Wilson (1927), Eq. 4, without continuity correction."""
    z, p = NormalDist().inv_cdf(0.975), solved / total
    centre = p + z**2 / (2 * total)
    spread = z * math.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    return (centre - spread) / (1 + z**2 / total), (centre + spread) / (1 + z**2 / total)


@pytest.mark.parametrize(("solved", "total"), [(0, 1), (1, 1), (0, 50), (50, 50), (3, 7), (431, 500)])
def test_interval_is_wilsons(solved, total) -> None:
    accuracy = Accuracy("N+1", solved, total)
    assert accuracy.interval == pytest.approx(wilson(solved, total), abs=1e-9)
    assert accuracy.value == solved / total
    assert accuracy.as_dict() == {
        "solved": solved,
        "total": total,
        "accuracy": solved / total,
        "interval": accuracy.interval,
    }


def test_text_of_an_accuracy() -> None:
    """Wilson's interval of 8 out of 10 is 49.0 to 94.3 percent, as tables of it say."""
    assert str(Accuracy("N+1", 8, 10)) == "80.0% [49.0, 94.3]"


@pytest.mark.parametrize("digits", [1, 2, 5])
@pytest.mark.parametrize("extra", [0, 1, 2, 3])
def test_held_out_problems_are_test_problems_of_the_right_lengths(digits, extra) -> None:
    problems = held_out_problems(digits, extra, 300, seed=0)
    assert len(problems) == 300
    assert all(is_held_out(*problem) for problem in problems)
    lengths = [sorted(len(str(operand)) for operand in problem) for problem in problems]
    longest = {long for _, long in lengths}
    if extra:
        assert longest == {digits + extra}
        assert {short for short, _ in lengths} == set(range(1, digits + extra + 1))
        assert {a < b for a, b in problems} == {True, False}  # either operand may be the long one
    else:
        assert longest == set(range(1, digits + 1))


@pytest.mark.parametrize("digits", [1, 2, 5])
@pytest.mark.parametrize("extra", [0, 1, 2, 3])
def test_identical_and_varying_problems(digits, extra) -> None:
    longest = digits + extra
    identical = held_out_problems(digits, extra, 200, 0, "identical")
    varying = held_out_problems(digits, extra, 200, 0, "varying")
    assert all(is_held_out(*problem) for problem in identical + varying)
    assert {len(str(operand)) for problem in identical for operand in problem} == {longest}
    lengths = [sorted(len(str(operand)) for operand in problem) for problem in varying]
    assert {long for _, long in lengths} == {longest}
    assert {short for short, _ in lengths} == set(range(1, longest + 1))
    if longest > 1:
        assert {a < b for a, b in varying} == {True, False}


def test_distributions_do_not_share_their_randomness() -> None:
    """With one stream, those that toss a coin in the same place would share operands."""
    streams = [held_out_problems(3, 1, 20, 0, distribution) for distribution in ("mixture", "identical", "varying")]
    for one, other in itertools.combinations(streams, 2):
        assert not set(one) & set(other)


def test_names_of_problems() -> None:
    assert [problems_name(extra) for extra in range(3)] == ["<=N", "N+1", "N+2"]
    assert [problems_name(extra, "identical") for extra in range(2)] == ["identical N", "identical N+1"]
    assert problems_name(3, "varying") == "varying N+3"


def test_extras_that_fit() -> None:
    policy = random_policy(3)
    assert fitting_extras(policy, 1) == [0, 1, 2]
    assert fitting_extras(policy, 3, extras=(1, 0)) == [0]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_pass_at_k_is_the_mean_over_all_subsets(n) -> None:
    """Any k of the n completions, drawn without replacement, hold a right one."""
    right = [*range(n + 1), 0]
    for k in range(1, n + 1):
        by_hand = [
            np.mean([any(sample < c for sample in chosen) for chosen in itertools.combinations(range(n), k)]) for c in right
        ]
        found = pass_at_k("N+1", right, n, k)
        assert found.value == pytest.approx(np.mean(by_hand))
        low, high = found.interval
        assert low <= found.value <= high


def test_interval_of_pass_at_k_is_that_of_a_mean() -> None:
    """With many problems the bootstrap's interval is the normal one."""
    right = np.random.default_rng(0).integers(0, 5, size=1000)
    found = pass_at_k("N+1", right, 4, 2)
    each = np.array([1 - math.comb(4 - c, 2) / math.comb(4, 2) for c in right.tolist()])
    spread = 1.96 * each.std() / math.sqrt(len(each))
    assert found.interval == pytest.approx((each.mean() - spread, each.mean() + spread), abs=0.1 * spread)
    assert str(PassAtK("N+1", 2, 0.5, (0.25, 0.75))) == "50.0% [25.0, 75.0]"


@pytest.mark.parametrize(
    ("right", "n", "k", "message"),
    [([1], 2, 3, "k must lie in 1..n = 2"), ([1], 2, 0, "k must"), ([3], 2, 1, "right must"), ([], 2, 1, "problems must")],
)
def test_pass_at_k_refuses(right, n, k, message) -> None:
    with pytest.raises(ValueError, match=message):
        pass_at_k("N+1", right, n, k)


def test_held_out_problems_are_disjoint_from_what_is_trained_on() -> None:
    """So few digits that training soon meets every problem that it may meet."""
    rng = np.random.default_rng(0)
    pretraining = ProblemSampler(1, "up_to", split="train")
    fine_tuning = ProblemSampler(2, "mixture", pretrained_digits=1, split="train")
    trained = {sampler.sample(rng) for sampler in (pretraining, fine_tuning) for _ in range(5000)}
    assert len(trained) > 3000
    for extra, distribution in itertools.product((0, 1), ("mixture", "identical", "varying")):
        assert trained.isdisjoint(held_out_problems(1, extra, 500, 3, distribution))


def test_held_out_problems_follow_the_seed() -> None:
    assert held_out_problems(3, 1, 20, seed=0) == held_out_problems(3, 1, 20, seed=0)
    assert held_out_problems(3, 1, 20, seed=0) != held_out_problems(3, 1, 20, seed=1)
    assert held_out_problems(3, 1, 20, seed=0) == held_out_problems(3, 1, 30, seed=0)[:20]


def test_accuracy_counts_the_problems_that_are_solved() -> None:
    """A policy that is right where the first operand is even, and otherwise skips the scratchpad's answer."""
    policy = scripted_policy(lambda a, b: solution(a, b) if a % 2 == 0 else "\n</scratch>\n\n")
    accuracies = evaluate(policy, 1, 30, seed=4)
    assert [accuracy.problems for accuracy in accuracies] == ["<=N", "N+1", "N+2"]  # N+3 = 4 digits do not fit
    for extra, accuracy in enumerate(accuracies):
        even = sum(a % 2 == 0 for a, _ in held_out_problems(1, extra, 30, seed=4))
        assert (accuracy.solved, accuracy.total) == (even, 30)
        assert 0 < even < 30
    assert [accuracy.problems for accuracy in evaluate(policy, 2, 2, extras=(1,))] == ["N+1"]


def test_greedy_or_sampled_as_asked() -> None:
    """A policy that is right when it is greedy, and ends at once when it samples."""

    class Fickle(ScriptedPolicy):
        def decode(self, obs, cache, deterministic=False):
            decoded = super().decode(obs, cache)
            return decoded if deterministic else decoded._replace(actions=torch.zeros_like(decoded.actions))

    policy = random_policy(2, cls=Fickle)
    assert [accuracy.solved for accuracy in evaluate(policy, 1, 10)] == [10, 10]
    assert [accuracy.solved for accuracy in evaluate(policy, 1, 10, deterministic=False)] == [0, 0]


def test_a_model_that_knows_nothing_solves_nothing() -> None:
    assert [accuracy.solved for accuracy in evaluate(random_policy(2), 1, 20)] == [0, 0]


def test_table_text() -> None:
    columns = {
        "before": [Accuracy("<=N", 9, 10), Accuracy("N+1", 0, 10)],
        "after": [Accuracy("<=N", 10, 10), Accuracy("N+1", 5, 10)],
    }
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(table("How it went", columns))
    lines = console.export_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("│┃ ").replace("┃", "│").split("│")] for line in lines]
    assert "How it went" in lines[0]
    assert ["digits", "before", "after"] in cells
    assert ["<=N", "90.0% [59.6, 98.2]", "100.0% [72.2, 100.0]"] in cells
    assert ["N+1", "0.0% [0.0, 27.8]", "50.0% [23.7, 76.3]"] in cells
    assert "Wilson" in lines[-1]


def test_table_of_columns_that_do_not_match_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        table("", {"before": [Accuracy("<=N", 1, 1)], "after": []})
