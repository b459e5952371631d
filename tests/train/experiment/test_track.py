"""The track's rules: what an entry may be, who holds the record, and what the page says."""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.docs.pages import ROOT
from tests.train.experiment.made_up_runs import result
from train.experiment.track import Entry, Row, Rules, difference, ranked, read_rows, records, verdict, write_row
from train.experiment.track_page import BEGIN, END, cells, draw_curves, page_part, write_page
from train.finetuning.finetune import make_agent
from train.run.models import Model

ENTRIES = sorted((ROOT / "results" / "track" / "entries").glob("*.py"))
SEEDS = range(1000, 1010)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch) -> None:
    """Entries are modules of their own names, which no test leaves behind."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent.name in ("entries", "mine"):
            del sys.modules[name]


def row(entry: str, areas, day: int = 1, retention=(0.0,), by: str = "Ada L.", **fields) -> Row:
    """A row with these areas, and these retentions in turn, by seed."""
    runs = [
        {
            **vars(result(entry, seed, 10.0, retention[index % len(retention)], area=area)),
            "curve": {"episodes": [64, 128], "success": [area, area]},
        }
        for index, (seed, area) in enumerate(zip(SEEDS, areas, strict=False))
    ]
    made_by = [{"commit": "abcdef0123", "clean": True}]
    made = dict(track="track-1", entry=entry, says=f"It is {entry}.", settings={}, source="", by=by)
    return Row(**{**made, "date": f"2026-12-{day:02}T00:00:00+00:00", "made_by": made_by, "runs": runs, **fields})


FLAT = [0.5] * 10
SLOPE = [0.01 * index for index in range(10)]


def test_the_score_is_the_mean_with_its_t_interval() -> None:
    areas = [0.5 + step for step in SLOPE]
    score = row("a", areas).score
    low, high = stats.t.interval(0.95, 9, loc=54.5, scale=stats.sem([100 * area for area in areas]))
    assert (score.value, score.low, score.high) == pytest.approx((54.5, low, high))


def test_differences_are_paired_by_seed() -> None:
    """The seeds of one row are those of the other in another order, and some are missing."""
    ours, theirs = row("a", [0.6 + step for step in SLOPE]), row("b", [0.5 + step for step in SLOPE])
    shuffled = replace(theirs, runs=theirs.runs[::-1][2:])
    value, p = difference(ours, shuffled)
    assert (value.value, value.low, value.high) == pytest.approx((10, 10, 10))
    assert p == 2 / 2**8


def test_a_record_needs_p_below_one_in_a_hundred_and_what_was_known() -> None:
    uniform = row("uniform", FLAT)
    better = row("better", [0.6] * 10, day=2)  # all ten seeds: p = 2/1024
    one_worse = row("one-worse", [0.6] * 9 + [0.5], day=3)  # nine seeds differ
    lucky = row("lucky", [0.7] * 6 + [0.55] * 4, day=4)  # scores more, four seeds say no: p > 0.01
    forgetful = row("forgetful", [0.9] * 10, day=5, retention=(-10.0, 0.0))
    worse = row("worse", [0.1] * 10, day=6)
    rows = [worse, forgetful, lucky, one_worse, better, uniform]
    assert forgetful.retention.value == -5
    assert not forgetful.keeps
    assert [each.entry for each in records(rows)] == ["uniform", "better"]
    assert difference(lucky, better).value.value > 0
    assert difference(lucky, better).p > 0.01
    assert [each.entry for each in records([forgetful, worse])] == ["worse"]


def test_the_verdict() -> None:
    uniform, better, forgetful = row("uniform", FLAT), row("better", [0.6] * 10, 2), row("forgetful", FLAT, 3, (-9.0,))
    assert verdict(uniform, []) == verdict(uniform, [uniform]) == "uniform: score 50.0 [50.0, 50.0], a new record"
    against = "points to the record (uniform by Ada L.), p ="
    assert verdict(better, [uniform]) == f"better: score 60.0 [60.0, 60.0], +10.0 [+10.0, +10.0] {against} 0.002, a new record"
    assert verdict(row("same", FLAT, 2), [uniform]) == f"same: score 50.0 [50.0, 50.0], +0.0 [+0.0, +0.0] {against} 1.000"
    assert verdict(forgetful, [uniform]).endswith("may lose too much of what was known (-9.0 [-9.0, -9.0] points)")


def test_retention_counts_by_its_lower_end() -> None:
    assert row("a", FLAT, retention=(-3.5, -1.0)).retention.value > -3
    assert not row("a", FLAT, retention=(-3.5, -1.0)).keeps
    assert row("a", FLAT, retention=(-2.5, -1.0)).keeps


def test_ties_go_to_the_smaller_forward_kl() -> None:
    def moved(each: Row, forward_kl: float) -> Row:
        return replace(each, runs=[{**run, "forward_kl": forward_kl} for run in each.runs])

    far, near = moved(row("far", [0.50004] * 10), 9.0), moved(row("near", FLAT), 1.0)
    first = moved(row("first", [0.502] * 10), 99.0)
    last = row("last", [0.9] * 10, retention=(-9.0,))
    assert [each.entry for each in ranked([last, far, near, first])] == ["first", "near", "far", "last"]


def test_rows_come_back_as_they_were_written(tmp_path) -> None:
    rows: list[Row] = []
    for each in (row("uniform", FLAT), row("better", [0.6] * 10, day=2), row("better", [0.61] * 10, day=3, by="Bob")):
        write_row(each, rows, tmp_path)
        rows = read_rows(tmp_path, "track-1")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "better-ada-l.json",
        "better-bob.json",
        "uniform-ada-l.json",
    ]
    assert rows == [row("better", [0.6] * 10, 2), row("better", [0.61] * 10, 3, by="Bob"), row("uniform", FLAT)]
    assert read_rows(tmp_path, "track-2") == []
    written = json.loads((tmp_path / "better-bob.json").read_text())
    assert written["score"]["value"] == pytest.approx(61)
    assert written["minus_record"]["entry"] == "better"
    assert written["minus_record"]["value"] == pytest.approx(1)
    assert written["minus_uniform"]["value"] == pytest.approx(11)
    assert written["minus_uniform"]["p"] == 2 / 2**10


def test_a_row_names_every_commit_that_made_it() -> None:
    made_by = [
        {"commit": "abcdef0123", "clean": True, "threads": 1},
        {"commit": "abcdef0123", "clean": True, "threads": 2},
        {"commit": "0123456789", "clean": False},
        {"commit": None, "clean": None},
    ]
    assert row("a", FLAT, made_by=made_by).commit == "abcdef0 and 0123456, changed and unknown"


def test_the_page_says_what_the_rows_say(tmp_path) -> None:
    rows = [row("uniform", FLAT), row("better", [0.6] * 10, 2), row("forgetful", [0.9] * 10, 3, (-9.0,))]
    page = tmp_path / "page.md"
    page.write_text(f"Before\n\n{BEGIN}\nold\n{END}\n\nAfter\n")
    for _ in range(2):
        write_page(rows, page, "../data")
    text = page.read_text()
    assert text.startswith(f"Before\n\n{BEGIN}\n")
    assert text.endswith(f"{END}\n\nAfter\n")
    assert "old" not in text
    assert "| 1, record | [better](../data/better-ada-l.json) | 60.0 [60.0, 60.0] | +10.0 [+10.0, +10.0] | 0.002 |" in text
    assert (
        "| 2 | [uniform](../data/uniform-ada-l.json) | 50.0 [50.0, 50.0] |  |  | +0.0 [+0.0, +0.0] | 2.0 [2.0, 2.0] | Ada L. |"
        in text
    )
    assert "| - | [forgetful]" in text
    assert "- 2026-12-02: better by Ada L., score 60.0 [60.0, 60.0] (+10.0 [+10.0, +10.0] points, p = 0.002)" in text
    assert "- **better**: It is better." in text
    page.write_text("no place")
    with pytest.raises(ValueError, match="page must have '<!-- rows"):
        write_page(rows, page, "../data")


def test_a_track_without_rows() -> None:
    assert "No entry" in page_part([], "data")
    assert cells([]) == []


def test_curves_of_the_best_and_of_uniform_are_coloured(tmp_path, monkeypatch) -> None:
    rows = [row(f"entry{index}", [0.6 + index / 100] * 10) for index in range(8)] + [row("uniform", FLAT)]
    figures = []
    monkeypatch.setattr("matplotlib.pyplot.close", figures.append)
    draw_curves(rows, tmp_path / "curves.png")
    lines = {line.get_label(): line for line in figures[0].axes[0].lines}
    labels = [label for label in lines if not label.startswith("_")]
    assert labels == [*(f"entry{index}, {60 + index}.0%" for index in range(7, 2, -1)), "uniform, 50.0%"]
    assert len(figures[0].axes[0].lines) == 9
    np.testing.assert_allclose(lines["uniform, 50.0%"].get_ydata(), 0.5)


GOOD = '"""What it does."""\n\nfrom agents.weighting import TokenWeights\n\nweighting = TokenWeights()\n'


@pytest.mark.parametrize(
    ("name", "source", "error", "message"),
    [
        ("a_text.txt", GOOD, ValueError, "entry must be a Python file"),
        ("no_words.py", GOOD.partition("\n\n")[2], ValueError, "entry must say what it does"),
        ("too_long.py", GOOD + "#\n" * 60, ValueError, "entry must have at most 60 lines, but .* has 65"),
        ("no_weighting.py", '"""What it does."""\n', ValueError, "entry must name something in .* no 'weighting'"),
        ("no_weights.py", '"""What it does."""\nweighting = 1\n', TypeError, "entry must name a TokenWeights"),
        ("no_dictionary.py", GOOD + "settings = 1\n", TypeError, "settings must be a dictionary"),
        (
            "not_free.py",
            GOOD + 'settings = {"learning_rate": 1.0}\n',
            ValueError,
            "settings must be of kl_coef",
        ),
    ],
)
def test_what_is_no_entry(name, source, error, message, tmp_path) -> None:
    path = tmp_path / "mine" / name
    path.parent.mkdir()
    path.write_text(source)
    with pytest.raises(error, match=message):
        Entry.read(path)


def test_an_entry_sets_only_what_is_free(tmp_path) -> None:
    path = tmp_path / "mine" / "my_own_entry.py"
    path.parent.mkdir()
    path.write_text(GOOD + 'settings = {"kl_coef": 3.0, "kl_in": "reward"}\n')
    entry, rules = Entry.read(path), Rules()
    assert entry.says == "What it does."
    runs = entry.runs(rules)
    assert [args.seed for args in runs] == list(SEEDS)
    for args in runs:
        differing = {name for name, value in vars(args).items() if value != getattr(rules.learner, name)}
        assert differing - {"seed"} == {"kl_coef", "kl_in", "weighting", "eval_before"}


@pytest.mark.parametrize("path", ENTRIES, ids=lambda path: path.stem)
def test_the_entries_of_the_repository_can_be_run(path) -> None:
    entry = Entry.read(path)
    assert entry.says.endswith(".")
    make_agent(replace(entry.runs(Rules())[0], n_envs=1, n_episodes=1, batch_size=1))


def test_track_1_does_not_change() -> None:
    """Whatever else changes: its model, its learner, and the first problems of its first seed."""
    rules = Rules()
    assert Model.find("tiny").digest() == rules.model
    frozen = dict(
        pretrained="tiny",
        pretrained_digits=5,
        env="ScratchpadAdd-v0",
        extra_digits=1,
        reward="binary",
        total_timesteps=1_000_000,
        total_episodes=768,
        n_envs=64,
        n_samples_per_problem=1,
        n_episodes=64,
        batch_size=8,
        n_epochs=1,
        learning_rate=5e-5,
        baseline=None,  # that of the task
        class_horizon=64,
        clip_range=0.2,
        clip_rule="ppo",
        proximal_coef=0.0,
        normalize_advantage=True,
        ent_coef=0.0,
        max_grad_norm=0.5,
        adam_eps=1e-5,
        kl_coef=0.2,
        kl_estimator="full",
        kl_in="loss",
        kl_target=None,
        temperature=1.0,
        autocast=False,
        eval_problems=500,
        eval_split="test",
        seed=1000,
    )
    assert {name: getattr(rules.learner, name) for name in frozen} == frozen
    assert (rules.version, rules.seeds) == ("track-1", 10)
    agent = make_agent(rules.learner)
    assert agent.baseline == "class"
    problems = hashlib.sha256(agent.env.reset().tobytes()).hexdigest()
    assert problems[:16] == "1d00d6dd545dbdcb"
