import io
import itertools
import math
import re
from statistics import NormalDist

import numpy as np
import pytest
import torch
from rich.console import Console

from addition_gym import PAD_TOKEN_ID, prompt, solution
from addition_gym.problems import ProblemSampler
from tests.train.helpers import ScriptedPolicy, bucket, random_policy, scripted_policy
from train.measure.accuracy import (
    Accuracy,
    Attempt,
    Evaluation,
    Kind,
    PassAtK,
    accuracies,
    accuracy_table,
    evaluate,
    fitting_extras,
    pass_at_k,
)
from train.measure.solve import budget


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
    problems = Kind(extra).problems(digits, 300, seed=0)
    assert len(problems) == 300
    assert all(bucket(*problem) == 0 for problem in problems)
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
    identical = Kind(extra, "identical").problems(digits, 200, seed=0)
    varying = Kind(extra, "varying").problems(digits, 200, seed=0)
    assert all(bucket(*problem) == 0 for problem in identical + varying)
    assert {len(str(operand)) for problem in identical for operand in problem} == {longest}
    lengths = [sorted(len(str(operand)) for operand in problem) for problem in varying]
    assert {long for _, long in lengths} == {longest}
    assert {short for short, _ in lengths} == set(range(1, longest + 1))
    if longest > 1:
        assert {a < b for a, b in varying} == {True, False}


def test_distributions_do_not_share_their_randomness() -> None:
    """With one stream, those that toss a coin in the same place would share operands."""
    streams = [Kind(1, distribution).problems(3, 20, seed=0) for distribution in ("mixture", "identical", "varying")]
    for one, other in itertools.combinations(streams, 2):
        assert not set(one) & set(other)


def test_names_of_kinds() -> None:
    assert [Kind(extra).name for extra in range(3)] == ["<=N", "N+1", "N+2"]
    assert [Kind(extra, "identical").name for extra in range(2)] == ["identical N", "identical N+1"]
    assert Kind(3, "varying").name == "varying N+3"


def test_extras_that_fit() -> None:
    policy = random_policy(3)
    assert fitting_extras(policy, 1) == [0, 1, 2]
    assert fitting_extras(policy, 3, extras=(1, 0)) == [0]


@pytest.mark.parametrize("n", [3, 5])
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
    [([1], 2, 3, r"k must lie in \[1, 2\]"), ([1], 2, 0, "k must"), ([3], 2, 1, "right must"), ([], 2, 1, "n_problems must")],
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
        held_out = [set(Kind(extra, distribution).problems(1, 500, 3, split)) for split in ("validation", "test")]
        assert trained.isdisjoint(set.union(*held_out))
        assert held_out[0].isdisjoint(held_out[1])


def test_validation_problems_are_measured_when_they_are_asked_for() -> None:
    assert all(bucket(*problem) == 1 for problem in Kind(1).problems(3, 50, seed=0, split="validation"))
    evaluation = evaluate(scripted_policy(solution), Kind(1), 1, 20, split="validation")
    assert [attempt.problem for attempt in evaluation.attempts] == Kind(1).problems(1, 20, 0, "validation")
    assert evaluation.split == "validation"


def test_held_out_problems_follow_the_seed() -> None:
    kind = Kind(1)
    assert kind.problems(3, 20, seed=0) == kind.problems(3, 20, seed=0)
    assert kind.problems(3, 20, seed=0) != kind.problems(3, 20, seed=1)
    assert kind.problems(3, 20, seed=0) == kind.problems(3, 30, seed=0)[:20]


def right_where_even(a: int, b: int) -> str:
    """Right where the first operand is even; otherwise the answer line is empty."""
    return solution(a, b) if a % 2 == 0 else "\n</scratch>\n\n"


def test_accuracies_count_the_problems_that_are_solved() -> None:
    policy = scripted_policy(right_where_even)
    found = accuracies(policy, 1, 30, seed=4)
    assert [accuracy.kind for accuracy in found] == ["<=N", "N+1", "N+2"]  # N+3 = 4 digits do not fit
    for extra, accuracy in enumerate(found):
        even = sum(a % 2 == 0 for a, _ in Kind(extra).problems(1, 30, seed=4))
        assert (accuracy.solved, accuracy.total) == (even, 30)
        assert 0 < even < 30
    assert [accuracy.kind for accuracy in accuracies(policy, 2, 2, extras=(1,))] == ["N+1"]
    assert [accuracy.kind for accuracy in accuracies(policy, 2, 2, distribution="varying")] == ["varying N", "varying N+1"]


@pytest.mark.parametrize("kind", [Kind(0), Kind(1), Kind(0, "varying"), Kind(1, "identical")])
def test_an_evaluation_holds_every_completion(kind) -> None:
    evaluation = evaluate(scripted_policy(right_where_even), kind, 1, 20, seed=3)
    problems = kind.problems(1, 20, seed=3)
    assert (evaluation.kind, evaluation.n_samples, evaluation.n_problems) == (kind, 1, 20)
    assert [attempt.problem for attempt in evaluation.attempts] == problems
    assert [attempt.completion for attempt in evaluation.attempts] == [right_where_even(a, b) for a, b in problems]
    assert [attempt.is_success for attempt in evaluation.attempts] == [a % 2 == 0 for a, _ in problems]
    even = sum(a % 2 == 0 for a, _ in problems)
    assert evaluation.measures() == {"accuracy": evaluation.accuracy} == {"accuracy": Accuracy(kind.name, even, 20)}


def test_attempts_know_their_error() -> None:
    """The first wrong token, or that the budget ran out; None for a right result line."""
    for attempt in evaluate(scripted_policy(right_where_even), Kind(0), 1, 20).attempts:
        assert (attempt.error is None) == attempt.is_success
        if attempt.error:
            assert attempt.completion[: attempt.error.position] == solution(*attempt.problem)[: attempt.error.position]
            assert attempt.error.given == attempt.completion[attempt.error.position]
    (endless,) = evaluate(scripted_policy(lambda a, b: solution(a, b)[:-1] + "9" * 999), Kind(0), 1, 1).attempts
    assert endless.max_tokens == budget([endless.problem])
    assert len(prompt(*endless.problem) + endless.completion) == endless.max_tokens
    assert endless.error.category.value == "out of budget"


def test_problems_come_with_all_their_samples() -> None:
    """Samples are right unless they stop early by chance."""

    class Slippery(ScriptedPolicy):
        def decode(self, obs, cache, deterministic=False):
            decoded = super().decode(obs, cache)
            return decoded._replace(actions=np.where(torch.rand(len(obs)) < 0.005, PAD_TOKEN_ID, decoded.actions))

    torch.manual_seed(0)
    problems = Kind(1).problems(1, 8, seed=2)
    evaluation = evaluate(random_policy(2, cls=Slippery), Kind(1), 1, 8, seed=2, n_samples=3, deterministic=False)
    assert (evaluation.n_samples, evaluation.n_problems) == (3, 8)
    assert [attempt.problem for attempt in evaluation.attempts] == [problem for problem in problems for _ in range(3)]
    for attempt in evaluation.attempts:
        assert solution(*attempt.problem).startswith(attempt.completion)
        assert attempt.is_success == (attempt.completion == solution(*attempt.problem))
    of_problems = [{attempt.completion for attempt in evaluation.attempts[start : start + 3]} for start in range(0, 24, 3)]
    assert max(map(len, of_problems)) > 1
    assert evaluation.accuracy == Accuracy("N+1", sum(attempt.is_success for attempt in evaluation.attempts), 24)


def test_measures_of_several_samples_are_pass_at_k() -> None:
    """For powers of two and for all samples."""
    right = [[True, False, False, True, True], [False] * 5, [True] * 5]
    attempts = [Attempt((index, 1), "", is_right, 9) for index, row in enumerate(right) for is_right in row]
    evaluation = Evaluation(Kind(1), 5, attempts)
    assert evaluation.accuracy == Accuracy("N+1", 8, 15)
    assert evaluation.measures() == {f"pass@{k}": pass_at_k("N+1", [3, 0, 5], 5, k) for k in (1, 2, 4, 5)}


def test_greedy_or_sampled_as_asked() -> None:
    """A policy that is right when it is greedy, and ends at once when it samples."""

    class Fickle(ScriptedPolicy):
        def decode(self, obs, cache, deterministic=False):
            decoded = super().decode(obs, cache)
            return decoded if deterministic else decoded._replace(actions=np.zeros_like(decoded.actions))

    policy = random_policy(2, cls=Fickle)
    assert [accuracy.solved for accuracy in accuracies(policy, 1, 10)] == [10, 10]
    for deterministic, solved in ((True, 10), (False, 0)):
        assert evaluate(policy, Kind(1), 1, 10, deterministic=deterministic).accuracy.solved == solved


@pytest.mark.parametrize(("function", "kinds"), [(evaluate, (Kind(0),)), (accuracies, ())])
def test_no_problem_is_refused(function, kinds) -> None:
    with pytest.raises(ValueError, match="n_problems must be >= 1, but it is 0"):
        function(random_policy(1), *kinds, 1, 0)


def test_a_model_that_knows_nothing_solves_nothing() -> None:
    assert [accuracy.solved for accuracy in accuracies(random_policy(2), 1, 20)] == [0, 0]


def test_text_of_a_table() -> None:
    columns = {
        "before": [Accuracy("<=N", 9, 10), Accuracy("N+1", 0, 10)],
        "after": [Accuracy("<=N", 10, 10), Accuracy("N+1", 5, 10)],
    }
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(accuracy_table("How it went", columns))
    lines = console.export_text().splitlines()
    cells = [re.split(r"\s{2,}", line.strip()) for line in lines]
    assert "How it went" in lines[0]
    assert ["problems", "before", "after"] in cells
    assert ["<=N", "90.0% [59.6, 98.2]", "100.0% [72.2, 100.0]"] in cells
    assert ["N+1", "0.0% [0.0, 27.8]", "50.0% [23.7, 76.3]"] in cells
    assert "Wilson" in lines[-1]


def test_table_of_columns_that_do_not_match_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        accuracy_table("", {"before": [Accuracy("<=N", 1, 1)], "after": []})
