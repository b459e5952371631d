import json

import pytest
import torch

from train import evaluate
from train.accuracy import evaluate as accuracies_of
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


def test_sampled(pretrained, command, capsys, tmp_path) -> None:
    """Problems and samples follow the seed."""
    command(evaluate, "--model", pretrained, "--problems", 25, "--sampled", "--seed", 3, "--output", tmp_path / "a.json")
    assert "sampled" in capsys.readouterr().out
    torch.manual_seed(3)
    expected = accuracies_of(load_policy(pretrained), 1, 25, seed=3, deterministic=False)
    written = json.loads((tmp_path / "a.json").read_text())
    assert {name: written[name]["solved"] for name in ("<=N", "N+1")} == {a.problems: a.solved for a in expected}


def test_nothing_is_written_unless_asked(pretrained, command, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    command(evaluate, "--model", pretrained, "--problems", 1)
    assert list(tmp_path.iterdir()) == []


def test_given_digits_win_over_the_folder(pretrained, command, capsys) -> None:
    """N = 2 leaves room for up to N digits only."""
    command(evaluate, "--model", pretrained, "--problems", 2, "--pretrained-digits", 2)
    out = capsys.readouterr().out
    assert "N = 2" in out
    assert "<=N" in out
    assert "N+1" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nowhere", "--pretrained-digits", 1], "'nowhere'"),
        (["--model", "nowhere.zip", "--pretrained-digits", 1], "'nowhere.zip' is not"),
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


def test_unknown_argument_exits(command) -> None:
    with pytest.raises(SystemExit) as stop:
        command(evaluate, "--problem", "many")
    assert stop.value.code == 2
