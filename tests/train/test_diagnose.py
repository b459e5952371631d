"""The five numbers of a base model against a slow count on scripted completions, and its bars."""

import csv
import json

import numpy as np
import pytest
import torch

from addition_gym import VOCAB_SIZE, encode, prompt, solution
from tests.train.helpers import bucket, scripted_policy
from tests.train.measure.test_tables import cells, shown
from train import diagnose as diagnose_command
from train.measure.accuracy import Accuracy, Kind
from train.measure.diagnosis import Diagnosis, certainties, diagnose, diagnosis_table, first_lists
from train.run.models import Model
from train.run.provenance import provenance

N = 2
N_PROBLEMS = 40
FATES = {
    "right": lambda text: text,
    "list": lambda text: text.replace(",", "", 1)[:-2] + "\n",  # the first comma of line 1, and a wrong result
    "line 2": lambda text: replaced(text, text.index("+", text.index("->")) + 2, "]")[:-2] + "\n",  # the second list's bracket
    "END line": lambda text: replaced(text, text.index("[] +"), "C")[:-2] + "\n",
    "list A": lambda text: replaced(text, text.index("A=[") + 2, ",")[:-2] + "\n",
    "harmless": lambda text: text.replace("]", ",", 1),  # in line 1, but the result is right
    "ends": lambda text: text[: text.index(",") - 1],  # instead of the first digit of line 1
}
IN_LISTS = {"list", "line 2", "ends"}


def replaced(text: str, position: int, token: str) -> str:
    return text[:position] + token + text[position + 1 :]


def fate(a: int, b: int) -> str:
    return list(FATES)[(a + b) % len(FATES)]


def lists_by_walking(a: int, b: int) -> list[bool]:
    """Character by character: brackets are counted in each line that adds a column."""
    marks = []
    for number, written in enumerate(solution(a, b).split("\n")):
        line, opened, inside = number - 1, 0, False  # the solution begins with a line break and <scratch>
        for token in written + "\n":
            opened += token == "["
            inside = inside or token == "["
            marks.append(inside and opened <= 2 and 1 <= line <= 3 and "->" in written)
            inside = inside and token != "]"
    return marks[:-1]


@pytest.mark.parametrize(("a", "b"), [(345, 167), (12345, 67890), (1, 2), (98, 7), (100000, 9)])
def test_first_lists(a, b) -> None:
    found = first_lists(a, b)
    assert found.tolist() == lists_by_walking(a, b)
    lines = [line for line in solution(a, b).split("\n") if "->" in line][:3]
    assert "".join(np.array(list(solution(a, b)))[found]) == "".join(
        "".join(line.split(" ,")[0].split(" + ")) for line in lines
    )


@pytest.mark.parametrize(("temperature", "split"), [(1.0, "test"), (4.0, "validation")])
def test_a_slow_count_agrees(temperature, split) -> None:
    """J is that of the model's own distribution, whatever the temperature at which the policy samples."""
    policy = scripted_policy(lambda a, b: FATES[fate(a, b)](solution(a, b)))
    policy.temperature = temperature
    with torch.no_grad():
        policy.language_model.transformer.ln_f.weight.mul_(40)  # surer: a power of 150 leaves something
    found = diagnose(policy, N, N_PROBLEMS, seed=3, split=split)
    problems = Kind(1, "identical").problems(N, N_PROBLEMS, seed=3, split=split)
    assert all(len(str(operand)) == N + 1 for problem in problems for operand in problem)
    assert {bucket(*problem) for problem in problems} == {{"test": 0, "validation": 1}[split]}
    fates = [fate(*problem) for problem in problems]
    assert set(fates) == set(FATES)
    solved, in_lists = sum(name in ("right", "harmless") for name in fates), sum(name in IN_LISTS for name in fates)
    assert (found.accuracy.solved, found.accuracy.total) == (solved, N_PROBLEMS)
    assert (found.fatal_in_lists.solved, found.fatal_in_lists.total) == (in_lists, N_PROBLEMS - solved)
    weights, doubts = [], []
    for problem, name in zip(problems, fates, strict=True):
        text, written = solution(*problem), FATES[name](solution(*problem))
        first = next((i for i, right in enumerate(text) if written[i : i + 1] != right), None)
        certainty = slow_certainties(policy, problem)
        doubts += [1 - certainty[i] for i, inside in enumerate(lists_by_walking(*problem)) if not inside]
        if name in IN_LISTS:
            weights.append(certainty[first] ** 150)
    assert 0.01 < np.mean(weights) < 0.99
    assert found.fatal_weight == pytest.approx(np.mean(weights), rel=1e-3)
    assert found.doubt == pytest.approx(np.mean(doubts), rel=1e-5)
    width, layers, positions = 16, 1, policy.max_tokens
    n_parameters = (VOCAB_SIZE + positions) * width + layers * (12 * width**2 + 13 * width) + 2 * width  # of a GPT-2
    assert found.megabytes == pytest.approx(4 * n_parameters / 1e6)
    assert found.pretrained_digits == N


def slow_certainties(policy, problem) -> list[float]:
    """From the logits of plain transformers, in a loop."""
    text = encode(prompt(*problem) + solution(*problem))
    with torch.no_grad():
        logits = policy.language_model(torch.from_numpy(text)[None], use_cache=False).logits[0].double()
    found = []
    for state in logits[len(prompt(*problem)) - 1 : -1]:
        probabilities = state.softmax(0)
        entropy = -sum(float(p) * np.log(float(p)) for p in probabilities)
        found.append(1 - entropy / np.log(len(probabilities)))
    return found


def test_certainties_of_a_trained_model(policy) -> None:
    problem = (34, 56)
    assert certainties(policy, problem) == pytest.approx(slow_certainties(policy, problem), abs=1e-5)


def made_up(**numbers: object) -> Diagnosis:
    faithful = dict(
        pretrained_digits=7,
        megabytes=4.0,
        accuracy=Accuracy("identical N+1", 40, 100),
        fatal_in_lists=Accuracy("fatal errors", 48, 60),
        fatal_weight=0.0999,
        doubt=0.001,
    )
    return Diagnosis(**{**faithful, **numbers})


@pytest.mark.parametrize(
    ("numbers", "missed"),
    [
        ({}, set()),
        ({"accuracy": Accuracy("", 70, 100)}, set()),
        ({"pretrained_digits": 6}, {"N"}),
        ({"megabytes": 4.001}, {"weights, MB"}),
        ({"accuracy": Accuracy("", 39, 100)}, {"accuracy, identical N+1"}),
        ({"accuracy": Accuracy("", 71, 100)}, {"accuracy, identical N+1"}),
        ({"fatal_in_lists": Accuracy("", 47, 60)}, {"fatal in first lists"}),
        ({"fatal_weight": 0.1}, {"J^150 before these"}),
        ({"doubt": 0.00101}, {"1 - J elsewhere"}),
        ({"fatal_in_lists": None, "fatal_weight": None}, {"fatal in first lists", "J^150 before these"}),
    ],
)
def test_bars(numbers, missed) -> None:
    assert {finding.number for finding in made_up(**numbers).findings() if not finding.met} == missed


def test_where_nothing_fails_there_is_nothing_to_count() -> None:
    found = diagnose(scripted_policy(solution), N, 3)
    assert (found.accuracy.value, found.fatal_in_lists, found.fatal_weight) == (1, None, None)
    assert [str(finding) for finding in found.findings()][3:5] == ["none missed", "none missed"]


def test_where_no_failure_is_in_the_lists_there_is_no_weight() -> None:
    found = diagnose(scripted_policy(lambda a, b: FATES["END line"](solution(a, b))), N, 3)
    assert (found.fatal_in_lists.value, found.fatal_weight) == (0, None)


def test_the_command(command, pretrained, policy, tmp_path, capsys) -> None:
    other = tmp_path / "other"
    other.symlink_to(pretrained)
    sizes = ("--n-problems", 6, "--seed", 1, "--split", "validation")
    command(diagnose_command, pretrained, other, *sizes, "--output", tmp_path / "out")
    out = capsys.readouterr().out
    assert "6 validation problems with two operands of N+1 digits, greedy" in out
    expected = diagnose(policy, 1, 6, seed=1, split="validation").findings()
    for finding in expected:
        (line,) = (line for line in out.splitlines() if line.startswith(f"{finding.number} "))
        assert line.count(str(finding)) == 2
        assert f" {finding.bar} " in line
    with (tmp_path / "out" / "diagnosis.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["number"]) for row in rows] == [
        (str(model), finding.number) for model in (pretrained, other) for finding in expected
    ]
    for row, finding in zip(rows, expected * 2, strict=True):
        assert row["value"] == ("" if finding.value is None else str(finding.value))
        assert (row["bar"], row["met"], row["split"]) == (finding.bar, str(finding.met), "validation")
        assert (row["low"], row["high"]) == tuple(map(str, finding.interval or ("", "")))
    written = json.loads((tmp_path / "out" / "diagnosis.json").read_text())
    assert [number["value"] for number in written["numbers"]] == [finding.value for finding in expected * 2]
    assert written["arguments"]["n_problems"] == 6
    assert written["versions"] == provenance()


def test_the_table_has_a_row_for_each_number() -> None:
    diagnoses = {"a": made_up(), "b": made_up(pretrained_digits=5)}
    header, *rows = cells(shown(diagnosis_table("", diagnoses), width=200))
    assert header == ["bar", "a", "b"]
    assert rows[0] == ["N", ">= 7", "7 met", "5 missed"]
    assert rows[2] == ["accuracy, identical N+1", "40-70%", *["40.0% met [30.9, 49.8]"] * 2]


def test_bad_arguments_are_named(command, pretrained, tmp_path) -> None:
    with pytest.raises(ValueError, match="n_problems must be >= 1, but it is 0"):
        command(diagnose_command, pretrained, "--n-problems", 0)
    with pytest.raises(ValueError, match=r"pretrained_digits must leave room for .* but it is 2: pre-train with"):
        command(diagnose_command, pretrained, "--pretrained-digits", 2)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"output must be a folder, but .*file' is a file"):
        command(diagnose_command, pretrained, "--output", tmp_path / "file")
    with pytest.raises(ValueError, match="model must be 'tiny', a folder"):
        command(diagnose_command, pretrained, tmp_path / "nothing")


def test_it_measures_the_bundled_model_if_none_is_named(command, monkeypatch, capsys) -> None:
    monkeypatch.setattr(Model, "load", lambda *_: scripted_policy(solution, digits=6))
    command(diagnose_command, "--n-problems", 2)
    assert "tiny" in capsys.readouterr().out
