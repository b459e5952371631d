import csv
import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pytest

from tests.train.experiment.made_up_runs import BEFORE, write_to
from train import compare
from train.experiment.arms import matched_budget, plan
from train.experiment.identity import identity
from train.experiment.runner import Runner
from train.experiment.store import Store
from train.finetuning.arguments import TINY_0_2, PPOArgs

ROOT = Path(__file__).parents[2]
ARMS = ["no KL", "uniform 0.05", "uniform 0.2", "uniform 0.8", "prioritized", "constant", "shuffled", "inverted", "oracle"]
COEFS = (0.05, 0.2, 0.8)


@pytest.fixture
def store(tmp_path, monkeypatch) -> Store:
    """``train.compare`` on it makes up its runs: arm number i gains 10 i + seed points, and loses i on up to N digits."""
    store = Store(tmp_path / "store")

    monkeypatch.setattr(Runner, "run_missing", lambda self, store, runs, console: make_up(store, runs))
    monkeypatch.setattr(Store, "before", lambda self, args: BEFORE)
    return store


def make_up(store: Store, runs: Iterable[PPOArgs]) -> list[Path]:
    arms = [identity(args) for args in matched_budget(TINY_0_2, COEFS).values()]
    runs = list(runs)
    for args in runs:
        if not store.get(args) and args.seed != 5:  # this one fails
            index = arms.index(identity(dataclasses.replace(args, seed=0)))
            write_to(store, args, 0.3 + index / 10 - 0.2 + args.seed / 100, 0.99 - index / 100, [index + 1.0])
    return [store.folder(args) for args in runs if not store.get(args)]


def test_arms() -> None:
    arms = matched_budget(PPOArgs(kl_coef=7.0), COEFS, (0.3,))
    assert arms.pop("prioritized 0.3") == PPOArgs(kl_coef=0.3)
    assert list(arms) == ARMS
    weightings = ["none", "uniform", "uniform", "uniform", "prioritized", "constant", "shuffled", "inverted", "oracle"]
    assert [args.weighting for args in arms.values()] == weightings
    assert [args.kl_coef for args in arms.values()] == [0.0, *COEFS, 7.0, 7.0, 7.0, 7.0, 7.0]


def test_no_uniform_arm_is_refused() -> None:
    with pytest.raises(ValueError, match="uniform_coefs must hold at least one coefficient, but it is empty"):
        matched_budget(PPOArgs(), ())


def test_plan_goes_seed_by_seed_and_changes_nothing_else() -> None:
    base = PPOArgs(seed=10, total_timesteps=7, kl_coef=3.0)
    runs = plan(matched_budget(base, COEFS), seeds=2)
    assert list(runs) == [(arm, seed) for seed in (10, 11) for arm in ARMS]
    for (arm, seed), args in runs.items():
        assert args.seed == seed
        assert args.kl_coef == {"no KL": 0.0, "uniform 0.05": 0.05, "uniform 0.2": 0.2, "uniform 0.8": 0.8}.get(arm, 3.0)
        assert not args.eval_before
        assert dataclasses.replace(args, seed=10, kl_coef=3.0, weighting="prioritized", eval_before=True) == base
    assert len(set(runs.values())) == len(runs)


def test_an_experiment(store, tmp_path, command, capsys) -> None:
    output = tmp_path / "results"
    command(compare, "matched-budget", "--store", store.root, "--output", output)
    names = {"runs.csv", "arms.csv", "README.md", "gain_against_retention.png", "gain_against_kl.png"}
    assert {path.name for path in output.iterdir()} == names
    with (output / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["arm"], int(row["seed"])) for row in rows] == [(arm, seed) for arm in ARMS for seed in range(5)]
    for row in rows:
        index, seed = ARMS.index(row["arm"]), int(row["seed"])
        assert float(row["gain"]) == pytest.approx(10 * index - 20 + seed)
        assert float(row["retention"]) == pytest.approx(-index)
        assert float(row["kl"]) == index + 1
    answer = "prioritized against uniform 0.8, the best uniform coefficient tried, on 5 paired seeds: gains more"
    # prioritized is the fifth arm, and loses 4 points on up to N digits
    lost = "No: prioritized loses 4.0 points on up to N digits, more than the rule allows."
    for text in ((output / "README.md").read_text(), capsys.readouterr().out):
        assert lost in text
        assert answer not in text
    readme = (output / "README.md").read_text()
    assert f"`python -m train.compare matched-budget --store {store.root} --output {output}`: 45 runs" in readme
    assert "seeds 0, 1, 2, 3, 4, 4.5 hours" in readme
    assert "commit abc123, clean True, python 3.11.7, torch 2.13.0, hardware CPU, threads 1" in readme
    assert "| arm | kl_coef | weighting |" in readme
    assert "| uniform 0.2 | `0.2` | `uniform` |" in readme
    assert "| oracle | 5 |" in readme
    assert "docs/matched_budget.md" in readme


def test_a_part_of_it(store, tmp_path, command, capsys) -> None:
    """Two seeds are done, of a third one only two arms."""
    command(compare, "matched-budget", "--store", store.root, "--output", tmp_path / "two", "--seeds", 2)
    third = [args for (_, seed), args in plan(matched_budget(TINY_0_2, COEFS), 3).items() if seed == 2]
    make_up(store, third[3:5])
    capsys.readouterr()
    before = sorted(store.root.iterdir())
    command(compare, "matched-budget", "--store", store.root, "--output", tmp_path / "part", "--summarize")
    assert sorted(store.root.iterdir()) == before
    table = (tmp_path / "part" / "README.md").read_text().split("The arms differ")[0]
    runs = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in table.splitlines() if line.startswith("|")}
    assert {arm: runs[arm] for arm in ARMS} == {arm: "3" if arm in ("uniform 0.8", "prioritized") else "2" for arm in ARMS}
    assert "the seeds that both arms have" in table
    assert "No verdict yet: 2 seeds are done in all arms of the question" in capsys.readouterr().out
    assert "--summarize" not in (tmp_path / "part" / "README.md").read_text()


def test_failed_runs_are_said_at_the_end(store, tmp_path, command) -> None:
    with pytest.raises(SystemExit, match="9 runs failed; the same command tries them again"):
        command(compare, "matched-budget", "--store", store.root, "--output", tmp_path / "out", "--seeds", 6)
    assert (tmp_path / "out" / "README.md").exists()


def test_other_runs_to_summarize(store, tmp_path, command) -> None:
    """Then it says how they differ, and which flags ask for them."""
    for kl_coef in (7.0, 2.0):
        args = dataclasses.replace(TINY_0_2, total_timesteps=7, eval_problems=300, kl_coef=kl_coef)
        write_to(store, args, 0.5, 0.9, [1.0])
    nearest = "total_timesteps 7 instead of 1000000, eval_problems 300 instead of 500"
    flags = ["--total-timesteps", "7", "--eval-problems", "300"]
    with pytest.raises(SystemExit, match=rf"{nearest}; for these, pass {' '.join(flags)}$"):
        command(compare, "matched-budget", "--store", store.root, "--output", tmp_path / "out", "--summarize")
    command(compare, "matched-budget", "--store", store.root, "--output", tmp_path / "out", "--summarize", *flags)
    assert "| prioritized | 1 |" in (tmp_path / "out" / "README.md").read_text()


def table(page: Path) -> list[list[str]]:
    """The first table of a page, its header first."""
    (text,) = re.findall(r"^\| arm \| runs .*?\n\n", page.read_text(), re.MULTILINE | re.DOTALL)
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.split("\n") if line and "---" not in line]


def test_the_published_table(command, capsys, tmp_path, monkeypatch) -> None:
    """The documented command prints it from what is committed, at 80 columns, and writes the same numbers.

    What was published before a column was there lacks it.
    """
    original = compare.main
    monkeypatch.setattr(compare, "main", lambda: (monkeypatch.setenv("COLUMNS", "80"), original()))
    page = (ROOT / "docs" / "matched_budget.md").read_text()
    (flags,) = re.findall(r"compare matched-budget (--seeds 5 .*)", page)
    monkeypatch.chdir(ROOT)
    command(compare, "matched-budget", *flags.split(), "--output", tmp_path / "out")
    published = ROOT / "results" / "archive" / "matched-budget"
    for name in ("arms.csv", "runs.csv"):
        ours, theirs = (pd.read_csv(folder / name) for folder in (tmp_path / "out", published))
        pd.testing.assert_frame_equal(ours[theirs.columns], theirs)
    ours, theirs = (table(folder / "README.md") for folder in (tmp_path / "out", published))
    assert len(theirs) == 12
    for row, line in zip(ours, theirs, strict=True):
        assert [*row[:5], row[9], row[12]] == line
    assert ours[3][10] == "[-10.3, +4.5]"  # uniform 0.2, as an independent audit found it
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    for text in ("prioritized 0.05", "[+32.2, +56.1]", "[16.58, 47.44]", "0.06 [0.00, 0.24]", "[-32.7, -11.7]"):
        assert text in out


def test_nothing_to_summarize(store, tmp_path, command) -> None:
    with pytest.raises(SystemExit, match=f"There is no finished run of this experiment in {store.root}"):
        command(compare, "matched-budget", "--store", store.root, "--output", tmp_path / "out", "--summarize")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "seeds must be >= 1, but it is 0"),
        (["--eval-problems", "0"], "eval_problems must be >= 1, but it is 0"),
        (["--resume", "runs/a"], "resume must not be given for many runs"),
    ],
)
def test_bad_arguments(store, command, arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        command(compare, "matched-budget", "--store", store.root, *arguments)


def test_the_experiment_must_be_named(store, command, capsys) -> None:
    with pytest.raises(SystemExit):
        command(compare, "--store", store.root)
    assert "matched-budget" in capsys.readouterr().err
