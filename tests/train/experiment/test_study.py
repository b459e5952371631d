import dataclasses

import numpy as np
import pytest
from rich.console import Console

from tests.train.experiment.made_up_runs import BEFORE, results_of, write_to
from train.experiment.identity import accuracies_before, identity
from train.experiment.store import Store
from train.experiment.study import (
    DOMAIN,
    EPISODES,
    KEPT_TRIALS,
    SEEDS,
    TRIALS,
    TUNED,
    Method,
    arms_of,
    chosen,
    name_of,
    trials,
)
from train.experiment.study_report import Difference, choices, report_study
from train.finetuning.arguments import PPOArgs
from train.run.files import write_json
from train.run.log import PROGRESS

BASE = PPOArgs(total_episodes=EPISODES)


def finish(store: Store, args: PPOArgs, success: float, retention: float = 0.0) -> None:
    """Make up a run with such a sampled success, and a change on up to N digits in points."""
    before = accuracies_before(store.root, identity(args))
    before.parent.mkdir(parents=True, exist_ok=True)
    write_json(before, BEFORE)
    folder = write_to(store, args, 0.9, BEFORE["<=N"] + retention / 100, [1.0, 2.0])
    log = (folder / PROGRESS).read_text().splitlines()
    rows = [f"{64 * (index + 1)},{success},{row.split(',')[2]},1.0" for index, row in enumerate(log[1:])]
    (folder / PROGRESS).write_text("\n".join([f"{log[0]},objective/forward_kl", *rows]) + "\n")


@pytest.mark.parametrize("method", TUNED)
def test_every_method_tries_the_same_points(method: Method) -> None:
    """In the dimensions that it has: no method sees more learning rates than another, and no trial is made twice."""
    found, reference = trials(BASE, method), trials(BASE, "prioritized")
    assert len({name_of(method, args) for args in found}) == TRIALS
    for name in TUNED[method]:
        values = [getattr(args, name) for args in found]
        assert values == [getattr(args, name) for args in reference]
        low, high = DOMAIN[name]
        assert low <= min(values) < low * (high / low) ** 0.2, "no end of the domain is left out"
        assert low * (high / low) ** 0.8 < max(values) <= high
    for args in found:
        assert (
            dataclasses.replace(args, **{name: getattr(BASE, name) for name in ("weighting", *TUNED[method], "kl_coef")})
            == BASE
        )
        assert args.weighting == ("none" if method == "no KL" else method)


@pytest.fixture
def screened(tmp_path) -> Store:
    """Trial i of uniform succeeds in i%; the last one forgets 4 points."""
    store = Store(tmp_path / "store")
    for index, args in enumerate(arms_of("screening", BASE, ["uniform"], store).values()):
        finish(store, args, index / 100, -4.0 if index == TRIALS - 1 else 0.0)
    return store


def test_the_trials_that_learn_fastest_and_keep_are_run_on_more_seeds(screened: Store) -> None:
    names = list(arms_of("screening", BASE, ["uniform"], screened))
    arms = arms_of("tuning", BASE, ["uniform"], screened)
    assert list(arms) == names[-2 : -2 - KEPT_TRIALS : -1]
    assert all((args.seed, args.eval_split) == (100, "validation") for args in arms.values())


def test_a_stage_needs_the_one_before(tmp_path) -> None:
    with pytest.raises(ValueError, match="store must hold the run of uniform"):
        arms_of("tuning", BASE, ["uniform"], Store(tmp_path / "empty"))


def tune(store: Store, method: Method, success: dict[int, float], retention: dict[int, float]) -> None:
    """Make up the seeds 101 to 103 of the kept trials, by their rank in the screening."""
    for rank, args in enumerate(arms_of("tuning", BASE, [method], store).values()):
        for seed in (101, 102, 103):
            finish(store, dataclasses.replace(args, seed=seed), success[rank], retention.get(rank, 0.0))


def test_the_choice_has_the_largest_mean_area_of_those_that_keep(screened: Store) -> None:
    kept = list(arms_of("tuning", BASE, ["uniform"], screened).values())
    tune(screened, "uniform", {0: 0.2, 1: 0.9, 2: 0.6, 3: 0.5}, {1: -3.0})
    args, runs = chosen(BASE, "uniform", screened)
    assert args == kept[2]
    assert np.mean([run.success_area for run in runs]) == pytest.approx((0.08 + 3 * 0.6) / 4)


def test_if_none_keeps_the_choice_forgets_least(screened: Store) -> None:
    kept = list(arms_of("tuning", BASE, ["uniform"], screened).values())
    tune(screened, "uniform", {0: 0.2, 1: 0.9, 2: 0.6, 3: 0.5}, {0: -9.0, 1: -8.0, 2: -7.0, 3: -4.0})
    assert chosen(BASE, "uniform", screened)[0] == kept[3]


@pytest.fixture
def tested(tmp_path) -> Store:
    """A whole test of two methods: prioritized is 10 points of area ahead on every seed, give or take one."""
    store = Store(tmp_path / "store")
    for method in ("uniform", "prioritized"):
        for index, args in enumerate(arms_of("screening", BASE, [method], store).values()):
            finish(store, args, index / 100)
        tune(store, method, {rank: 0.5 + rank / 100 for rank in range(KEPT_TRIALS)}, {})
    for method, args in arms_of("test", BASE, ["uniform", "prioritized"], store).items():
        for seed in range(SEEDS["test"]):
            ahead = 0.1 + (-1) ** seed / 100 if method == "prioritized" else 0
            finish(store, dataclasses.replace(args, seed=seed), 0.4 + seed / 100 + ahead, -seed / 10)
    return store


def test_the_report_has_the_paired_differences_of_the_test(tested: Store, tmp_path) -> None:
    report_study(BASE, ["uniform", "prioritized"], tested, "python -m train.study report", tmp_path, Console(quiet=True))
    page = (tmp_path / "README.md").read_text()
    assert "| prioritized - uniform | area | 30 | +10.0 [+9.6, +10.4] | <0.0001 |" in page
    assert "matched" not in page.split("## Forgetting")[0], "that stage is not there"
    assert (tmp_path / "study.png").is_file()
    assert (tmp_path / "forgetting.png").is_file()


def test_the_matched_stage_holds_the_kl_that_prioritized_spent_in_tuning(tested: Store) -> None:
    arms = arms_of("matched", BASE, ["prioritized"], tested)
    assert {name: (args.weighting, args.kl_target) for name, args in arms.items()} == {
        "prioritized": ("prioritized", None),
        **{name: (name, 1.5) for name in ("uniform", "shuffled", "inverted", "oracle")},
    }
    assert len({(args.learning_rate, args.kl_coef, args.kl_exponent, args.eval_split) for args in arms.values()}) == 1


def test_a_choice_at_the_edge_is_marked(tested: Store) -> None:
    header, rows = choices(BASE, ["uniform", "prioritized"], tested)
    best = chosen(BASE, "uniform", tested)[0]
    tried = [args.learning_rate for args in trials(BASE, "uniform")]
    assert ("(edge)" in rows[0][header.index("learning rate")]) == (best.learning_rate in (min(tried), max(tried)))
    assert rows[0][header.index("kl exponent")] == ""


def test_a_difference_of_few_seeds_has_no_interval() -> None:
    found = Difference.of(results_of(one=[1.0, 2.0], other=[0.0, 3.0]), "one", "other", "gain")
    assert found.cells() == ["one - other", "gain", "2", "+0.0", "", ""]
