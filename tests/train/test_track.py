"""``train.track`` as a stranger uses it: the entry of docs/track.md, run from its file."""

import json
import sys
from dataclasses import replace

import pytest

from tests.docs.pages import ROOT, python_blocks
from tests.train.test_sweep import make_here
from train import track
from train.experiment.runner import Runner
from train.experiment.track import Rules
from train.experiment.track_page import BEGIN, END
from train.finetuning.arguments import PPOArgs
from train.run.models import Model


@pytest.fixture
def small(pretrained, monkeypatch) -> Rules:
    """Rules of two seeds and two rollouts, in force, and runs in this process."""
    learner = PPOArgs(
        pretrained=str(pretrained),
        pretrained_digits=1,
        total_episodes=16,
        n_envs=4,
        n_episodes=8,
        batch_size=4,
        eval_problems=6,
        eval_every_problems=4,
        seed=1000,
    )
    rules = Rules("track-0", Model.find(pretrained).digest(), learner, seeds=2)
    monkeypatch.setattr("train.experiment.track.Rules", lambda: rules)
    monkeypatch.setattr(Runner, "run_missing", make_here)
    return rules


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with a page and the entry of the documentation, which is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    *_, block = python_blocks(ROOT / "docs" / "track.md")
    (tmp_path / "my_margin.py").write_text(block)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "track.md").write_text(f"{BEGIN}\n{END}\n")
    yield tmp_path
    sys.modules.pop("my_margin", None)


def test_a_stranger_gets_a_row(here, small, command, capsys) -> None:
    for _ in range(2):  # the second time nothing is run
        command(track, "my_margin.py", "--by", "Ada L.")
        row = json.loads((here / "results/track/my_margin-ada-l.json").read_text())
        assert [run["seed"] for run in row["runs"]] == [1000, 1001]
        assert all(run["curve"]["episodes"] == [8, 16] for run in row["runs"])
        assert [path.read_text().count("Fine-tuning") for path in here.glob("runs/track/*/log.txt")] == [1, 1]
    assert row["settings"] == {"kl_coef": 0.2}
    assert row["source"] == (here / "my_margin.py").read_text()
    assert row["score"]["value"] == pytest.approx(50 * sum(run["success_area"] for run in row["runs"]))
    assert all({"commit", "clean", "torch", "hardware"} <= made.keys() for made in row["made_by"])
    page = (here / "docs/track.md").read_text()
    assert "[my_margin](../results/track/my_margin-ada-l.json)" in page
    assert "Less KL where the reference's favourite token is barely ahead of the second." in page
    assert (here / "results/track/curves.png").is_file()
    assert "my_margin" in capsys.readouterr().out


def test_settings_that_cannot_work_are_refused_before_a_run(here, small, command) -> None:
    (here / "my_margin.py").write_text((here / "my_margin.py").read_text().replace('"kl_coef": 0.2', '"kl_in": "nowhere"'))
    with pytest.raises(ValueError, match="kl_in must be one of"):
        command(track, "my_margin.py")
    assert not (here / "runs").exists()


def test_another_model_is_refused(here, small, command, monkeypatch) -> None:
    monkeypatch.setattr("train.experiment.track.Rules", lambda: replace(small, model="0123"))
    with pytest.raises(ValueError, match="track-0 must start from the model with the digest 0123"):
        command(track, "my_margin.py")


def test_without_entries_the_page_is_written_again(here, small, command) -> None:
    command(track, "my_margin.py", "--by", "Ada L.")
    page = here / "docs/track.md"
    written = page.read_text()
    page.write_text(f"{BEGIN}\n{END}\n")
    command(track)
    assert page.read_text() == written
