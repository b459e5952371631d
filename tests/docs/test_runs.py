"""The examples of the page on reading runs compare like with like."""

import re
import shlex
from typing import Any

import pytest

from tests.docs.pages import ROOT, python_blocks
from train import compare, load_runs

PAGE = ROOT / "docs" / "runs.md"


def test_the_mean_is_over_runs_that_differ_in_their_seeds_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    for block in python_blocks(PAGE):
        exec(block, names)
    found = names["runs"].loc[names["preset"].run.unique()]
    assert found.configuration.nunique() == 1
    assert len(found) == found.seed.nunique() == 5


def test_side_by_side(monkeypatch: pytest.MonkeyPatch, tmp_path, capsys) -> None:
    """The two runs differ in their baseline alone, and what the page shows is what is printed."""
    monkeypatch.chdir(ROOT)
    text = PAGE.read_text(encoding="utf-8")
    (line,) = re.findall(r"addition-gym (compare .*)", text)
    command, *runs = shlex.split(line)
    configurations = load_runs(*runs).runs.configuration
    assert {configuration.partition("=")[0] for configuration in configurations} == {"baseline"}
    assert not any(" " in configuration for configuration in configurations)
    monkeypatch.setattr("sys.argv", [command, *runs, "--output", str(tmp_path / "comparison.png")])
    monkeypatch.setenv("COLUMNS", "100")
    compare.main()
    out = capsys.readouterr().out.replace(f"{tmp_path}/", "")
    (shown,) = re.findall(r"```\n( +After training.*?)```", text, re.DOTALL)
    assert "\n".join(map(str.rstrip, out.splitlines()[:-1])) == shown.rstrip().rpartition("\n")[0]
