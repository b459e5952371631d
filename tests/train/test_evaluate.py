import json

import pytest
import torch

from addition_gym import PAD_TOKEN_ID, solution
from tests.train.helpers import ScriptedPolicy, random_policy
from train import evaluate
from train.accuracy import evaluate as accuracies_of
from train.accuracy import held_out_problems
from train.model_folder import load_policy
from train.run_folder import versions


@pytest.fixture(params=["folder", "agent"])
def target(request, pretrained, ppo_run) -> list[str]:
    """Arguments that name a model and N: a folder knows its N, an agent does not."""
    if request.param == "folder":
        return ["--model", str(pretrained)]
    return ["--model", str(ppo_run / "agent.zip"), "--pretrained-digits", "1"]


def test_table_and_json(target, command, capsys, tmp_path) -> None:
    command(evaluate, *target, "--problems", 14, "--seed", 2, "--output", tmp_path / "accuracies.json")
    expected = accuracies_of(load_policy(target[1]), 1, 14, seed=2)
    assert [accuracy.problems for accuracy in expected] == ["<=N", "N+1"]
    out = capsys.readouterr().out
    assert "14 held-out problems, greedy, N = 1" in " ".join(out.split())
    for accuracy in expected:
        assert any(accuracy.problems in line and str(accuracy) in line for line in out.splitlines())
    written = json.loads((tmp_path / "accuracies.json").read_text())
    assert written.pop("versions") == versions()
    assert written == {accuracy.problems: {**accuracy.as_dict(), "interval": list(accuracy.interval)} for accuracy in expected}


class Slippery(ScriptedPolicy):
    """Greedy, it is right where the first operand is even; sampled, it is right unless it stops early by chance."""

    completion = staticmethod(lambda a, b: solution(a, b) if a % 2 == 0 else "\n</scratch>\n\n")

    def decode(self, obs, cache, deterministic=False, active=None):
        if deterministic:
            return super().decode(obs, cache, True, active)
        self.completion = solution
        actions, values, log_prob = super().decode(obs, cache, False, active)
        return torch.where(torch.rand(len(obs)) < 0.005, PAD_TOKEN_ID, actions), values, log_prob


@pytest.mark.parametrize("sampled", [False, True])
def test_problems_and_samples_follow_the_seed(sampled, pretrained, command, tmp_path, monkeypatch) -> None:
    found, policy = [], random_policy(2, cls=Slippery)
    monkeypatch.setattr(evaluate, "load_policy", lambda *_: policy)
    flags = ["--sampled"] if sampled else []
    for seed in (3, 4):
        command(evaluate, "--model", pretrained, "--problems", 20, "--seed", seed, *flags, "--output", tmp_path / "a.json")
        written = json.loads((tmp_path / "a.json").read_text())
        found.append([written[name]["solved"] for name in ("<=N", "N+1")])
        torch.manual_seed(seed)
        expected = [a.solved for a in accuracies_of(policy, 1, 20, seed, deterministic=not sampled)]
        assert found[-1] == expected
        assert all(0 < solved < 20 for solved in expected)
        if not sampled:
            assert expected == [sum(a % 2 == 0 for a, _ in held_out_problems(1, extra, 20, seed)) for extra in (0, 1)]
    assert found[0] != found[1]


def test_nothing_is_written_unless_asked(pretrained, command, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    command(evaluate, "--model", pretrained, "--problems", 1)
    assert list(tmp_path.iterdir()) == []


def test_given_digits_win_over_the_folder(pretrained, command, capsys) -> None:
    """N = 2 leaves room for up to N digits only."""
    command(evaluate, "--model", pretrained, "--problems", 2, "--pretrained-digits", 2)
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
        (["--problems", 0], "problems"),
        (["--problems", 1, "--pretrained-digits", 9], "digits"),  # no kind of problem fits: an empty table says nothing
        (["--problems", 1, "--pretrained-digits", -1], "digits"),
    ],
)
def test_bad_arguments(arguments, message, pretrained, command) -> None:
    """A ``ValueError`` that names the argument or the path."""
    with pytest.raises(ValueError, match=message):
        command(evaluate, "--model", pretrained, *arguments)


def test_title_says_sampled(pretrained, command, capsys) -> None:
    command(evaluate, "--model", pretrained, "--problems", 1, "--sampled")
    assert "1 held-out problems, sampled, N = 1" in " ".join(capsys.readouterr().out.split())


def test_unknown_argument_exits(command) -> None:
    with pytest.raises(SystemExit) as stop:
        command(evaluate, "--problem", "many")
    assert stop.value.code == 2
