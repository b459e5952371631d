"""The grid of a sweep, its arms, and its table."""

import csv
import dataclasses
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from rich.console import Console

from tests.train.experiment.made_up_runs import BEFORE, write_to
from train import sweep
from train.experiment.arms import name_arms
from train.experiment.runner import Runner, make
from train.experiment.store import Store
from train.finetuning.arguments import PPOArgs
from train.measure.statistics import interquartile_mean, mean
from train.sweep import SweepArgs, parse_grid


def grid(command_line: str) -> tuple[list[SweepArgs], tuple[str, ...]]:
    return parse_grid(command_line.split())


def arms(command_line: str) -> dict[str, PPOArgs]:
    points, axes = grid(command_line)
    return name_arms([point.ppo for point in points], axes)


def test_the_grid_is_all_combinations() -> None:
    points, axes = grid("--seeds 2 --kl-exponent 0 10 --kl-coef 0.05 0.2 0.8 --n-epochs 2 --value-net-arch 3 4")
    assert axes == ("kl_exponent", "kl_coef")
    assert [point.ppo for point in points] == [
        PPOArgs(kl_exponent=beta, kl_coef=coef, n_epochs=2, value_net_arch=(3, 4))
        for beta in (0.0, 10.0)
        for coef in (0.05, 0.2, 0.8)
    ]
    assert {point.seeds for point in points} == {2}


def test_the_other_defaults_are_those_of_the_preset() -> None:
    (small, large), axes = grid("--preset official --total_timesteps 7 8 --kl-target=0.5")
    assert axes == ("total_timesteps",)
    assert (small.ppo.reward, small.ppo.kl_target, large.ppo.total_timesteps) == ("signed", 0.5, 8)


@pytest.mark.parametrize("wrong", ["--kl-coef 0.1 much", "--seed 0 1", "--weighting", "--device cpu cuda"])
def test_wrong_values_are_refused(wrong, capsys) -> None:
    with pytest.raises(SystemExit):
        grid(wrong)
    assert capsys.readouterr().err


def test_arms_are_named_by_what_differs() -> None:
    assert arms("--kl-coef 0.05 2 --n-epochs 3") == {
        "kl_coef=0.05": PPOArgs(kl_coef=0.05, n_epochs=3),
        "kl_coef=2": PPOArgs(kl_coef=2.0, n_epochs=3),
    }
    assert arms("--kl-coef 0.05") == {"tiny": PPOArgs(kl_coef=0.05)}


def test_what_a_weighting_does_not_read_makes_no_arms() -> None:
    """A uniform penalty has no exponent, so it is trained once, and is the run of the store that has the default exponent."""
    assert arms("--weighting uniform constant --kl-exponent 0 10") == {
        "weighting=uniform": PPOArgs(weighting="uniform"),
        "weighting=constant kl_exponent=0": PPOArgs(weighting="constant", kl_exponent=0.0),
        "weighting=constant kl_exponent=10": PPOArgs(weighting="constant", kl_exponent=10.0),
    }
    assert set(arms("--weighting prioritized oracle --certainty negentropy max_prob")) == {
        "weighting=prioritized certainty=negentropy",
        "weighting=prioritized certainty=max_prob",
        "weighting=oracle",
    }


@pytest.fixture
def finished(tmp_path, monkeypatch) -> Store:
    """Two arms of three seeds are done, and Ray is not installed."""
    store = Store(tmp_path / "store")
    for index, kl_coef in enumerate((0.1, 0.2)):
        for seed in range(3):
            args = PPOArgs(kl_coef=kl_coef, seed=seed, total_timesteps=7)
            write_to(store, args, 0.4 + 0.1 * index + 0.01 * seed, 0.9, [index + seed + 1.0])
    monkeypatch.setattr(Store, "before", lambda self, args: BEFORE)
    monkeypatch.setitem(sys.modules, "ray", None)
    return store


FLAGS = ("--kl-coef", 0.1, 0.2, "--total-timesteps", 7)


def test_what_the_store_has_is_only_tabulated(finished, tmp_path, command, capsys) -> None:
    output = tmp_path / "results"
    command(sweep, *FLAGS, "--seeds", 3, "--store", finished.root, "--output", output)
    with (output / "arms.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["arm"], row["runs"]) for row in rows] == [("kl_coef=0.1", "3"), ("kl_coef=0.2", "3")]
    for index, row in enumerate(rows):
        gains = [10 + 10 * index + seed for seed in range(3)]
        kls = [index + seed + 1.0 for seed in range(3)]
        for name, estimate in (
            ("gain", interquartile_mean(gains)),
            ("retention", interquartile_mean([-9] * 3)),
            ("kl", mean(kls)),
        ):
            numbers = [float(row[f"{name}{end}"]) for end in ("", "_low", "_high")]
            assert numbers == pytest.approx(dataclasses.astuple(estimate), nan_ok=True)  # three runs have no interval
    with (output / "runs.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 6
    table = (output / "README.md").read_text()
    assert f"`python -m train.sweep --kl-coef 0.1 0.2 --total-timesteps 7 --seeds 3 --store {finished.root}" in table
    assert "| kl_coef=0.2 | 3 | +21.0 | -9.0 | 3.00 | 50.0 | 64 (3 of 3) |" in table
    assert "prioritized" not in table
    assert "kl_coef=0.2" in capsys.readouterr().out


def test_arms_of_different_lengths_have_one_column(tmp_path, command, monkeypatch) -> None:
    store = Store(tmp_path / "store")
    for extra in (1, 2):
        write_to(store, PPOArgs(extra_digits=extra), 0.3 + extra / 10, 0.99, [1.0], f"N+{extra}")
    monkeypatch.setattr(Store, "before", lambda self, args: BEFORE)
    command(sweep, "--extra-digits", 1, 2, "--seeds", 1, "--store", store.root, "--output", tmp_path)
    table = (tmp_path / "README.md").read_text()
    assert "| N+k gain, points |" in table
    assert "| extra_digits=1 | 1 | +10.0 |" in table
    assert "| extra_digits=2 | 1 | +20.0 |" in table


def make_here(self: Runner, store: Store, runs: Iterable[PPOArgs], console: Console) -> list[Path]:
    """What Ray's workers do, one after another in this process."""
    for args in runs:
        make(store, args, Path.cwd())
    return []


def test_runs_that_are_made(ppo_arguments, tmp_path, command, monkeypatch) -> None:
    """The table holds what the runs and their model say, and the same command makes none of them again."""
    monkeypatch.setattr(Runner, "run_missing", make_here)
    store, output = Store(tmp_path / "store"), tmp_path / "out"
    flags = [*ppo_arguments, "--total-timesteps", "1", "--eval-problems", "3", "--kl-coef", "0.1", "1", "--seeds", "1"]
    for _ in range(2):
        command(sweep, *flags, "--store", store.root, "--output", output)
        (log,) = {path.read_text().count("Fine-tuning") for path in store.root.glob("*/log.txt")}
        assert log == 1
    points, axes = parse_grid(flags)
    arms = name_arms([point.ppo for point in points], axes)
    with (output / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["arm"] for row in rows] == list(arms) == ["kl_coef=0.1", "kl_coef=1"]
    for row, args in zip(rows, arms.values(), strict=True):
        args = dataclasses.replace(args, seed=int(row["seed"]))
        after = store.get(args).results["after"]["N+1"]["accuracy"]
        assert float(row["gain"]) == pytest.approx(100 * (after - store.before(args)["N+1"]))


def test_without_ray_the_error_names_the_extra(finished, command) -> None:
    with pytest.raises(ImportError, match=r"pip install 'addition-gym\[experiments\]'"):
        command(sweep, *FLAGS, "--seeds", 4, "--store", finished.root)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", 0], "seeds must be >= 1"),
        (["--eval-problems", 0], "eval_problems must be"),
        (["--cpus", 0], "cpus must be >= 1"),
        (["--resume", "runs/a"], "resume must not be given for many runs, .* but it is 'runs/a'"),
        (["--run-folder", "runs/a"], "run_folder must not be given for many runs"),
    ],
)
def test_bad_arguments(arguments, message, command) -> None:
    with pytest.raises(ValueError, match=message):
        command(sweep, *arguments)
