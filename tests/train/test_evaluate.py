import csv
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from addition_gym import PAD_TOKEN_ID, prompt, solution
from policies import GPT2Policy
from tests.train.helpers import ScriptedPolicy, budget, greedy_text, random_policy, scripted_policy
from train import evaluate
from train.measure.accuracy import Kind, accuracies, pass_at_k
from train.measure.accuracy import evaluate as evaluation_of
from train.run.models import Model
from train.run.provenance import provenance


@pytest.fixture(params=["folder", "agent"])
def target(request, pretrained, ppo_run) -> list[str]:
    """Arguments that name a model and N: a folder knows its N, an agent does not."""
    if request.param == "folder":
        return ["--model", str(pretrained)]
    return ["--model", str(ppo_run / "agent.zip"), "--pretrained-digits", "1"]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_table_and_files(target, command, capsys, tmp_path) -> None:
    command(evaluate, *target, "--n-problems", 14, "--seed", 2, "--output", tmp_path / "out", "--distributions", "mixture")
    expected = accuracies(Model.find(target[1]).load(), 1, 14, seed=2)
    assert [accuracy.kind for accuracy in expected] == ["<=N", "N+1"]
    out = capsys.readouterr().out
    assert "14 test problems, greedy, N = 1" in " ".join(out.split())
    for accuracy in expected:
        assert any(accuracy.kind in line and str(accuracy) in line for line in out.splitlines())
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert written["versions"] == provenance()
    assert written["pretrained_digits"] == 1
    assert written["arguments"]["n_problems"] == 14
    for row, accuracy in zip(written["accuracies"], expected, strict=True):
        assert (row["kind"], row["measure"], row["n_problems"]) == (accuracy.kind, "accuracy", 14)
        assert (row["value"], row["low"], row["high"]) == (accuracy.value, *accuracy.interval)
    assert [row["value"] for row in read_csv(tmp_path / "out" / "accuracies.csv")] == [str(a.value) for a in expected]
    wrong = {accuracy.kind: 14 - accuracy.solved for accuracy in expected}
    counts = Counter()
    for row in read_csv(tmp_path / "out" / "errors.csv"):
        counts[row["kind"]] += int(row["count"])
    assert counts == Counter({name: count for name, count in wrong.items() if count})


def test_agrees_with_a_slow_evaluation_token_for_token(pretrained, model, command, tmp_path) -> None:
    """Every completion is the argmax of a forward of every prefix; every number follows from the texts."""
    command(evaluate, "--model", pretrained, "--n-problems", 4, "--seed", 1, "--output", tmp_path / "out")
    rows = read_csv(tmp_path / "out" / "completions.csv")
    kinds = [
        (Kind(extra, distribution).name, Kind(extra, distribution).problems(1, 4, seed=1))
        for distribution in ("mixture", "identical", "varying")
        for extra in (0, 1)
    ]
    assert [(row["kind"], (int(row["a"]), int(row["b"]))) for row in rows] == [
        (name, problem) for name, problems in kinds for problem in problems
    ]
    solved = Counter()
    for row in rows:
        problem = int(row["a"]), int(row["b"])
        kind = dict(kinds)[row["kind"]]
        longest = max(len(str(operand)) for other in kind for operand in other)
        completion = greedy_text(model, problem, budget(longest))[len(prompt(*problem)) :]
        assert row["completion"] == completion
        result = re.search(r"\n</scratch>\n([^\n]*)\n", completion)
        right = result is not None and result[1] == " ".join(str(sum(problem)))
        assert row["is_success"] == str(right)
        assert (row["category"] == "") == right
        solved[row["kind"]] += right
        if not right:
            expected = solution(*problem)
            position = next(i for i, token in enumerate(expected) if completion[i : i + 1] != token)
            assert int(row["position"]) == position
            assert (row["expected"], row["given"]) == (expected[position], completion[position : position + 1])
    for row in read_csv(tmp_path / "out" / "accuracies.csv"):
        assert float(row["value"]) == solved[row["kind"]] / 4


class Slippery(ScriptedPolicy):
    """Greedy, it is right where the first operand is even; sampled, it is right unless it stops early by chance."""

    completion = staticmethod(lambda a, b: solution(a, b) if a % 2 == 0 else "\n</scratch>\n\n")

    def decode(self, obs, cache, deterministic=False):
        if deterministic:
            return super().decode(obs, cache)
        self.completion = solution
        decoded = super().decode(obs, cache)
        return decoded._replace(actions=np.where(torch.rand(len(obs)) < 0.005, PAD_TOKEN_ID, decoded.actions))


@pytest.fixture
def use(monkeypatch) -> Callable[[GPT2Policy], None]:
    """Let the command measure a policy in place of the one in the model's folder."""
    return lambda policy: monkeypatch.setattr(Model, "load", lambda *_: policy)


@pytest.mark.parametrize("sampled", [False, True])
def test_problems_and_samples_follow_the_seed(sampled, pretrained, command, tmp_path, use) -> None:
    found, policy = [], random_policy(2, cls=Slippery)
    use(policy)
    flags = ["--sampled"] if sampled else []
    for seed in (3, 4):
        out = tmp_path / str(seed)
        command(evaluate, "--model", pretrained, "--n-problems", 20, "--seed", seed, *flags, "--output", out)
        found.append([round(20 * float(row["value"])) for row in read_csv(out / "accuracies.csv")][:2])
        torch.manual_seed(seed)
        evaluations = [evaluation_of(policy, kind, 1, 20, seed, deterministic=not sampled) for kind in (Kind(0), Kind(1))]
        expected = [evaluation.accuracy.solved for evaluation in evaluations]
        assert found[-1] == expected
        assert all(0 < solved < 20 for solved in expected)
        if not sampled:
            assert expected == [sum(a % 2 == 0 for a, _ in Kind(extra).problems(1, 20, seed)) for extra in (0, 1)]
    assert found[0] != found[1]


def test_pass_at_k(pretrained, command, capsys, tmp_path, use) -> None:
    """Several samples are sampled; each estimate follows from the completions in the file."""
    policy = random_policy(2, cls=Slippery)
    use(policy)
    flags = ("--n-problems", 15, "--n-samples", 3, "--distributions", "varying", "--output", tmp_path / "out")
    command(evaluate, "--model", pretrained, *flags)
    rows = read_csv(tmp_path / "out" / "completions.csv")
    assert [int(row["sample"]) for row in rows] == [0, 1, 2] * 30
    out = " ".join(capsys.readouterr().out.split())
    assert "15 test problems, sampled, N = 1" in out
    assert "95% bootstrap intervals over problems, 3 samples of each" in out
    measured = read_csv(tmp_path / "out" / "accuracies.csv")
    assert [(row["kind"], row["measure"]) for row in measured] == [
        (name, f"pass@{k}") for name in ("varying N", "varying N+1") for k in (1, 2, 3)
    ]
    for row in measured:
        right = [r["is_success"] == "True" for r in rows if r["kind"] == row["kind"]]
        counts = [sum(right[start : start + 3]) for start in range(0, 45, 3)]
        estimate = pass_at_k(row["kind"], counts, 3, int(row["measure"][-1]))
        assert (float(row["value"]), float(row["low"]), float(row["high"])) == (estimate.value, *estimate.interval)
        assert row["n_problems"] == "15"


def test_error_table(pretrained, command, capsys, use) -> None:
    """A policy that closes the first list at once where the first operand is odd."""
    policy = scripted_policy(lambda a, b: solution(a, b) if a % 2 == 0 else "\n<scratch>\n[]", digits=1)
    use(policy)
    command(evaluate, "--model", pretrained, "--n-problems", 20, "--distributions", "identical")
    odd = [a for a, _ in Kind(0, "identical").problems(1, 20, seed=0) if a % 2]
    (most_frequent, count), *_ = Counter(map(str, odd)).most_common(1)
    row = next(line for line in capsys.readouterr().out.splitlines() if "stopped a list early" in line)
    cells = re.split(r"\s{2,}", row.strip())
    share = f"{100 * len(odd) / 20:.1f}%"
    assert cells == ["identical N", "stopped a list early", f"']' for '{most_frequent}' ({count})", str(len(odd)), share]


def test_no_error_no_table(pretrained, command, capsys, use) -> None:
    use(scripted_policy(solution, digits=1))
    command(evaluate, "--model", pretrained, "--n-problems", 2)
    assert "Wrong completions" not in capsys.readouterr().out


def test_out_of_budget_is_told(pretrained, command, tmp_path, use) -> None:
    use(scripted_policy(lambda *_: "\n" + "1" * 999, digits=1))
    command(evaluate, "--model", pretrained, "--n-problems", 2, "--output", tmp_path / "out")
    assert {row["category"] for row in read_csv(tmp_path / "out" / "errors.csv")} == {"out of budget"}


def test_nothing_is_written_unless_asked(pretrained, command, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    command(evaluate, "--model", pretrained, "--n-problems", 1)
    assert list(tmp_path.iterdir()) == []


def test_given_digits_win_over_the_folder(pretrained, command, capsys) -> None:
    """N = 2 leaves room for up to N digits only."""
    command(evaluate, "--model", pretrained, "--n-problems", 2, "--pretrained-digits", 2)
    out = capsys.readouterr().out
    assert "greedy, N = 2" in " ".join(out.split())
    assert "<=N" in out
    assert "N+1" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nowhere", "--pretrained-digits", 1], "'nowhere'"),
        (["--model", "nowhere.zip", "--pretrained-digits", 1], "'nowhere.zip' is none of these"),
        (["--model", "nowhere"], "'nowhere'"),
        (["--n-problems", 0], "n_problems must be >= 1"),
        (["--n-samples", 0], "n_samples must be >= 1"),
        (["--n-problems", 1, "--output", __file__], "output must be a folder"),
        (["--n-problems", 1, "--pretrained-digits", 9], "digits"),  # no kind of problem fits: an empty table says nothing
        (["--n-problems", 1, "--pretrained-digits", -1], "digits"),
    ],
)
def test_bad_arguments(arguments, message, pretrained, command) -> None:
    """A ``ValueError`` that names the argument or the path."""
    with pytest.raises(ValueError, match=message):
        command(evaluate, "--model", pretrained, *arguments)


def test_title_says_sampled(pretrained, command, capsys) -> None:
    command(evaluate, "--model", pretrained, "--n-problems", 1, "--sampled")
    assert "1 test problems, sampled, N = 1" in " ".join(capsys.readouterr().out.split())


def test_unknown_argument_exits(command) -> None:
    with pytest.raises(SystemExit) as stop:
        command(evaluate, "--n-problem", "many")
    assert stop.value.code == 2
