import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from addition_gym import encode, prompt, solution
from tests.train.helpers import (
    budget,
    critical,
    greedy_text,
    next_token_log_probs,
    random_policy,
    scripted_policy,
)
from train.measure.solve import critical_probabilities, solve

ONE_DIGIT = [(3, 4), (0, 9), (8, 8), (5, 0), (1, 1), (9, 9), (2, 7)]
MIXED = [(12, 3), (4, 5), (99, 99), (0, 10), (7, 61)]


def test_greedy_is_plain_argmax(policy, model) -> None:
    """Token for token what Hugging Face's forward of the whole text says, without a cache."""
    problems = MIXED + ONE_DIGIT
    expected = [greedy_text(model, problem, budget(2)) for problem in problems]
    assert [info["text"] for info in solve(policy, problems)] == expected
    assert len({len(text) for text in expected}) > 1  # the lanes do not all end together


def test_greedy_is_plain_argmax_of_a_model_that_only_babbles() -> None:
    policy = random_policy(2)
    expected = [greedy_text(policy.language_model, problem, budget(2)) for problem in MIXED[:3]]
    assert [info["text"] for info in solve(policy, MIXED[:3])] == expected


def test_order_is_kept_with_more_problems_than_lanes(policy) -> None:
    at_once = solve(policy, ONE_DIGIT)
    in_threes = solve(policy, ONE_DIGIT, n_lanes=3)
    assert [info["operands"] for info in in_threes] == ONE_DIGIT
    assert in_threes == at_once
    assert solve(policy, []) == []


def test_infos_say_how_it_went() -> None:
    """A policy that writes the solution, except for odd sums, where the last digit of the result is wrong."""

    def completion(a: int, b: int) -> str:
        right = solution(a, b)
        return right if (a + b) % 2 == 0 else right[:-2] + str((a + b + 1) % 10) + "\n"

    problems = [(12, 30), (1, 2), (405, 6), (77, 77)]
    for (a, b), info in zip(problems, solve(scripted_policy(completion), problems), strict=True):
        assert info["is_success"] == ((a + b) % 2 == 0)
        assert info["text"] == prompt(a, b) + completion(a, b)
        assert info["expected"] == " ".join(str(a + b))
        assert info["first_error"] == (-1 if info["is_success"] else len(solution(a, b)) - 2)


def test_sampling_follows_the_seed_and_differs_from_greedy(policy) -> None:
    def sampled(seed: int) -> list[str]:
        torch.manual_seed(seed)
        return [info["text"] for info in solve(policy, MIXED, deterministic=False)]

    greedy = [info["text"] for info in solve(policy, MIXED)]
    assert sampled(0) == sampled(0)
    assert sampled(0) != sampled(1)
    assert sampled(0) != greedy


def test_sampling_has_the_probabilities_of_the_model() -> None:
    """The first token of 600 completions, at a temperature of 2."""
    policy, problem, count = random_policy(1, temperature=2.0), (3, 4), 600
    torch.manual_seed(0)
    infos = solve(policy, [problem] * count, deterministic=False, n_lanes=count)
    first = [info["text"][len(prompt(*problem)) :][:1] for info in infos]  # empty: padding
    probabilities = (next_token_log_probs(policy.language_model, prompt(*problem)) / 2).softmax(0).numpy().astype(float)
    tokens = np.array([encode(character)[0] if character else 0 for character in first])
    observed = np.bincount(tokens, minlength=len(probabilities))
    assert chisquare(observed, count * probabilities / probabilities.sum()).pvalue > 1e-3
    assert probabilities.max() > 1.5 / len(probabilities)  # far from uniform


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("n", [1, 2])
def test_critical_probabilities_against_a_forward_for_each_prefix(n, temperature) -> None:
    policy = random_policy(4, temperature=temperature)
    problems = [(123, 4), (12, 345), (1, 2), (9876, 54)]
    gathered: dict[tuple[int, int, str], list[float]] = {}
    for problem in problems:
        for position, key in critical(problem, n).items():
            text = prompt(*problem) + solution(*problem)[:position]
            log_probs = (next_token_log_probs(policy.language_model, text) / temperature).log_softmax(0)
            right = encode(solution(*problem)[position])[0]
            gathered.setdefault(key, []).append(float(log_probs[right].exp()))
    found = critical_probabilities(policy, problems, n)
    assert found.keys() == gathered.keys()
    for key, values in gathered.items():
        assert found[key] == pytest.approx(np.mean(values), rel=1e-4), key
    assert max(map(len, gathered.values())) > 1  # means over several problems
    assert len(set(found.values())) == len(found)


def test_no_critical_token_no_probability(policy) -> None:
    assert critical_probabilities(policy, ONE_DIGIT, 1) == {}
