"""Criticality against plain sampling, against numbers worked out by hand, and against scipy-free AUROC."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
import torch

from addition_gym import PAD_TOKEN_ID, VOCAB_SIZE, encode, solution
from addition_gym.problems import split_of
from agents.weighting.signals import ReferenceCertainty
from agents.weighting.weightings import certainty_power
from tests.train.helpers import scripted_policy
from train import criticality
from train.measure.criticality import (
    CRITICAL,
    Criticality,
    auroc,
    average_precision,
    lost_by_place,
    measure,
    of_signals,
    place,
    token_rows,
)
from train.measure.inspection import Inspection, inspect
from train.measure.solve import solve

PROBLEM = (345, 67)


def made_up(splits: dict[int, tuple[str, float]], problem: tuple[int, int] = PROBLEM) -> Inspection:
    """A model that is sure of every token of the solution, but for some positions, where it takes another one with some
    probability ("" is padding)."""
    tokens = encode(solution(*problem))
    probabilities = np.zeros((len(tokens), VOCAB_SIZE))
    probabilities[np.arange(len(tokens)), tokens] = 1
    for position, (wrong, probability) in splits.items():
        probabilities[position, tokens[position]] = 1 - probability
        probabilities[position, int(encode(wrong)[0]) if wrong else PAD_TOKEN_ID] += probability
    log_probs = np.log(np.maximum(probabilities, 1e-30)).astype(np.float32)
    quantities = dict.fromkeys(("certainty", "entropy", "kl", "surprisal"), np.zeros(len(tokens), dtype=np.float32))
    return Inspection(problem, tokens, log_probs, log_probs, quantities, frozenset({10, 11}))


def test_it_equals_plain_sampling(policy):
    """The minuscule model solves some one-digit problems: the recursion gives the success that samples show."""
    torch.manual_seed(0)
    problem = (3, 4)
    inspection = inspect(policy, problem, encode(solution(*problem)), 1, certainty_power(1.0), ReferenceCertainty())
    (found,) = measure(policy, [inspection], n_samples=10)
    for t in (0, 40, 90):
        infos = solve(policy, [problem] * 200, False, n_lanes=200, completions=[solution(*problem)[:t]] * 200)
        share = np.mean([info["is_success"] for info in infos])
        expected = found.success[t]
        assert share == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 200))
    assert 0.02 < found.success[0] < found.success[90] < 0.5


def test_by_hand():
    """Three doubtful tokens: after the first the policy is lost, after the second it still finds the result, the third ends the
    episode."""
    text = solution(*PROBLEM)
    lost, harmless, end = text.index("5+7"), text.index("A->2") + 3, text.index("END")
    policy = scripted_policy(lambda a, b: text[:harmless] + "9" + text[harmless + 1 :])  # continues as the solution does
    inspection = made_up({lost: ("", 0.4), harmless: ("9", 0.5), end: ("", 0.25)})
    (found,) = measure(policy, [inspection], n_samples=2)
    assert found.success[0] == pytest.approx(0.6 * (0.5 * 0.75 + 0.5 * 1))
    assert found.success[end] == pytest.approx(0.75)
    assert found.success[-1] == 1
    assert found.criticality[lost] == pytest.approx(0.4)
    assert found.criticality[harmless] == pytest.approx(1 - 0.875 / 0.75)  # below 0: the detour skips the third one
    assert found.criticality[end] == pytest.approx(0.25)
    assert found.lost.sum() == pytest.approx(-np.log(found.success[0]))
    assert np.flatnonzero(found.criticality >= CRITICAL).tolist() == [lost, end]


def test_rare_wrong_tokens_count_as_failures():
    policy = scripted_policy(solution)
    (found,) = measure(policy, [made_up({5: ("9", 0.0009)})], n_samples=1)
    assert found.success[0] == pytest.approx(1 - 0.0009)


def test_an_early_end_of_the_result_line_is_a_failure():
    text = solution(*PROBLEM)
    (found,) = measure(scripted_policy(solution), [made_up({len(text) - 3: ("\n", 0.3)})], n_samples=1)
    assert found.success[0] == pytest.approx(0.7)


def test_auroc_counts_pairs():
    rng = np.random.default_rng(0)
    score, critical = rng.integers(0, 5, size=40), rng.random(40) < 0.3
    pairs = [(a > b) + 0.5 * (a == b) for a in score[critical] for b in score[~critical]]
    assert auroc(score, critical) == pytest.approx(np.mean(pairs))
    assert np.isnan(auroc([1.0, 2.0], [True, True]))


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_average_precision_against_a_walk_down_the_thresholds(levels):
    """Each threshold adds its gain in recall times its precision; with ties a threshold lets several tokens in."""
    rng = np.random.default_rng(levels)
    score, critical = rng.integers(0, levels, size=60), rng.random(60) < 0.3
    by_hand, recall = 0.0, 0.0
    for threshold in sorted(set(score), reverse=True):
        chosen = [bool(label) for value, label in zip(score, critical, strict=True) if value >= threshold]
        found = sum(chosen) / critical.sum()
        by_hand, recall = by_hand + (found - recall) * sum(chosen) / len(chosen), found
    assert average_precision(score, critical) == pytest.approx(by_hand)


def test_average_precision_of_a_perfect_and_a_blind_signal():
    critical = np.array([True, False, False, True, False])
    assert average_precision(critical, critical) == 1
    assert average_precision(np.zeros(5), critical) == pytest.approx(0.4)
    assert np.isnan(average_precision([1.0, 2.0], [False, False]))


def found_for(problem: tuple[int, int], positions: list[int]) -> Criticality:
    inspection = made_up({}, problem)
    success = np.ones(len(inspection.tokens) + 1)
    for position in positions:
        success[: position + 1] *= 0.5
    inspection.quantities["surprisal"] = np.isin(np.arange(len(inspection.tokens)), positions).astype(np.float32)
    return Criticality(inspection, success)


def test_aurocs_of_a_perfect_a_blind_and_a_half_right_signal():
    found = [found_for(PROBLEM, [10, 50]), found_for((12, 5), [11, 20]), found_for((3, 9), [10, 30])]
    estimates = of_signals(found, auroc)
    surprisal = estimates["surprisal of the right token"]
    kl, rule = estimates["KL to the reference"], estimates["the task's critical tokens"]
    assert (surprisal.value, surprisal.low, surprisal.high) == (1, 1, 1)
    assert kl.value == 0.5
    assert 0.5 < rule.low < rule.value < 1
    precisions = of_signals(found, average_precision)
    share = 6 / sum(len(each.inspection.tokens) for each in found)
    assert precisions["surprisal of the right token"].value == 1
    assert precisions["KL to the reference"].value == pytest.approx(share)


@pytest.mark.parametrize(
    ("fragment", "offset", "expected"),
    [
        ("<scratch>", 2, "frame"),
        ("[3,4,5]", 0, "line 1, outside the lists"),
        ("[3,4,5]", 3, "line 1, list of operand 1"),
        ("[6,7]", 4, "line 1, list of operand 2"),
        ("[6,7]", 5, "line 1, outside the lists"),
        ("[3,4] ", 1, "line 2, list of operand 1"),
        ("A=[2]", 4, "line 2, list A"),
        ("[] + []", 0, "END line, outside the lists"),
        ("[4,1,2]", 3, "END line, list A"),
        ("END", 0, "END line, outside the lists"),
        ("</scratch>", 0, "frame"),
        ("4 1 2\n", 0, "result line"),
        ("4 1 2\n", 5, "result line"),
    ],
)
def test_places(fragment, offset, expected):
    text = solution(*PROBLEM)
    assert place(text, text.rindex(fragment) + offset) == expected


def test_what_is_lost_is_shared_out():
    text = solution(*PROBLEM)
    found = [found_for(PROBLEM, [text.index("3,4,5") + 1, len(text) - 1]), found_for(PROBLEM, [len(text) - 3])]
    assert lost_by_place(found)["result line"] == pytest.approx(2 / 3)
    assert list(lost_by_place(found))[:2] == ["result line", "line 1, list of operand 1"]
    rows = list(token_rows(found))
    assert len(rows) == 2 * len(text)
    assert "".join(row["token"] for row in rows[: len(text)]) == text


def test_the_command(command, pretrained, tmp_path, capsys):
    sizes = ["--extra-digits", 0, "--n-problems", 2, "--n-samples", 1]
    command(criticality, "--model", pretrained, *sizes, "--output", tmp_path / "out")
    printed = capsys.readouterr().out
    assert "The policy succeeds with probability" in printed
    assert "certainty, negentropy" in printed
    content = json.loads((tmp_path / "out" / "criticality.json").read_text())
    assert sum(content["lost_by_place"].values()) == pytest.approx(1)
    with (tmp_path / "out" / "tokens.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    first = [row for row in rows if (row["a"], row["b"]) == (rows[0]["a"], rows[0]["b"])]
    assert "".join(row["token"] for row in first) == solution(int(rows[0]["a"]), int(rows[0]["b"]))
    for name in ("auroc", "average_precision"):
        with (tmp_path / "out" / f"{name}.csv").open(newline="") as file:
            assert next(csv.DictReader(file))["signal"] == "certainty, negentropy"
    assert (tmp_path / "out" / "criticality.png").stat().st_size > 10_000


def test_the_certainty_is_that_of_the_model_from_which_an_agent_was_fine_tuned(command, pretrained, ppo_run, tmp_path):
    """On the same problems its columns are those of the pre-trained model, and what the agent itself does is not."""
    tables = []
    for model in (pretrained, ppo_run):
        sizes = ["--extra-digits", 0, "--n-problems", 2, "--n-samples", 1]
        command(criticality, "--model", model, *sizes, "--output", tmp_path / model.name)
        tables.append(pd.read_csv(tmp_path / model.name / "tokens.csv"))
    before, after = tables
    for column in ("a", "b", "token", "certainty, negentropy", "certainty, min-entropy"):
        assert (before[column] == after[column]).all()
    for column in ("entropy of the policy", "surprisal of the right token"):
        assert (before[column] != after[column]).any()
    assert {split_of(a, b) for a, b in zip(before["a"], before["b"], strict=True)} == {"validation"}


def test_bad_arguments_are_named(command, pretrained):
    with pytest.raises(ValueError, match="n_samples must be >= 1, but it is 0"):
        command(criticality, "--model", pretrained, "--n-samples", 0)
    with pytest.raises(ValueError, match="extra_digits must leave problems that fit into the model, but it is 5"):
        command(criticality, "--model", pretrained, "--extra-digits", 5)
