"""The study of ``docs/study.md``: its stages, the trials of its methods, and how one of them is chosen."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from train.experiment.arguments import Method, Stage
from train.experiment.arms import Arms, plan
from train.experiment.results import Results, RunResult, Runs, read_results
from train.experiment.store import Store
from train.finetuning.arguments import PPOArgs

EPISODES = 768
"""The budget of a run."""
TUNED: dict[Method, tuple[str, ...]] = {
    "no KL": ("learning_rate",),
    "uniform": ("learning_rate", "kl_coef"),
    "prioritized": ("learning_rate", "kl_coef", "kl_exponent"),
    "calibrated": ("learning_rate", "kl_coef"),
    "shuffled": ("learning_rate", "kl_coef", "kl_exponent"),
}
"""The arguments that a method tunes."""
DOMAIN = {"learning_rate": (1e-5, 1e-4), "kl_coef": (0.003, 3.0), "kl_exponent": (10.0, 500.0)}
"""Their values, log-uniform."""
TRIALS = 12
KEPT_TRIALS = 4
"""Trials of a method that are run on more than one seed."""
FIRST_SEED: dict[Stage, int] = {"screening": 100, "tuning": 100, "test": 0, "matched": 0, "front": 0}
SEEDS: dict[Stage, int] = {"screening": 1, "tuning": 4, "test": 30, "matched": 20, "front": 10}
WORST_SCREENED, WORST_CHOSEN = -3.0, -2.0
"""Retention that a trial must keep, in percentage points, to be run on more seeds, and to be chosen."""
MATCHED = 0.2
"""An arm is matched if its mean KL differs by such a share at most."""


def trials(base: PPOArgs, method: Method) -> list[PPOArgs]:
    """The trials of a method: points of one sequence, in the dimensions that it has.

    :param base: what all runs share
    """
    from scipy.stats import qmc

    points = qmc.Halton(len(DOMAIN), seed=0).random(TRIALS)  # (TRIALS, dimensions)
    low, high = np.log(np.array(list(DOMAIN.values()))).T
    values: list[dict[str, Any]] = [
        dict(zip(DOMAIN, (float(f"{value:.2g}") for value in np.exp(point)), strict=True))
        for point in low + points * (high - low)
    ]
    fixed: dict[str, Any] = {"weighting": "none", "kl_coef": 0.0} if method == "no KL" else {"weighting": method}
    return [dataclasses.replace(base, **fixed, **{name: each[name] for name in TUNED[method]}) for each in values]


def name_of(method: Method, args: PPOArgs) -> str:
    """An arm by what its method tunes."""
    return " ".join([method, *(f"{name}={getattr(args, name):g}" for name in TUNED[method])])


def arms_of(stage: Stage, base: PPOArgs, methods: Sequence[Method], store: Store) -> Arms:
    """The arms of a stage; those of later stages follow from the finished runs of earlier ones.

    :param base: what all runs share; its seed and its problems are set here
    :param methods: which
    :param store: where the runs are
    :raises ValueError: if runs that must be there are not
    """
    tuning = stage in ("screening", "tuning")
    base = dataclasses.replace(base, seed=FIRST_SEED[stage], eval_split="validation" if tuning else "test")
    if stage == "screening":
        return {name_of(method, args): args for method in methods for args in trials(base, method)}
    if stage == "tuning":
        return {name_of(method, args): args for method in methods for args in kept(base, method, store)}
    if stage == "test":
        return {method: _at(base, chosen(base, method, store)[0]) for method in methods}
    if stage == "front":
        return {
            f"{method} x {factor:g}": dataclasses.replace(args, kl_coef=factor * args.kl_coef)
            for method in methods
            if method != "no KL"
            for args in [_at(base, chosen(base, method, store)[0])]
            for factor in (0.5, 1.0, 2.0)
        }
    args, runs = chosen(base, "prioritized", store)
    prioritized = _at(base, args)
    target = float(f"{np.mean([run.kl for run in runs]):.2g}")
    others = {
        name: dataclasses.replace(prioritized, weighting=name, kl_target=target)
        for name in ("uniform", "shuffled", "inverted", "oracle")
    }
    return {"prioritized": prioritized, **others}


def kept(base: PPOArgs, method: Method, store: Store) -> list[PPOArgs]:
    """The trials that are run on more seeds, after the screening."""
    arms = arms_of("screening", base, [method], store)
    results = read(arms, SEEDS["screening"], store)
    (seed,) = {args.seed for args in arms.values()}
    keeping = [arm for arm in arms if results[arm][seed].retention >= WORST_SCREENED] or list(arms)
    best = sorted(keeping, key=lambda arm: results[arm][seed].success_area, reverse=True)[:KEPT_TRIALS]
    return [arms[arm] for arm in best]


def chosen(base: PPOArgs, method: Method, store: Store) -> tuple[PPOArgs, list[RunResult]]:
    """The trial that stands for a method, and its runs in tuning."""
    arms = arms_of("tuning", base, [method], store)
    results = {arm: list(found.values()) for arm, found in read(arms, SEEDS["tuning"], store).items()}

    def mean(arm: str, measure: str) -> float:
        return float(np.mean([getattr(run, measure) for run in results[arm]]))

    keeping = [arm for arm in arms if mean(arm, "retention") >= WORST_CHOSEN]
    best = (
        max(keeping, key=lambda arm: mean(arm, "success_area"))
        if keeping
        else max(arms, key=lambda arm: mean(arm, "retention"))
    )
    return arms[best], results[best]


def finished(arms: Arms, seeds: int, store: Store) -> Runs:
    """All runs of a stage.

    :raises ValueError: if one is not there
    """
    runs = {}
    for (arm, seed), args in plan(arms, seeds).items():
        if (run := store.get(args)) is None:
            raise ValueError(
                f"store must hold the run of {arm} and seed {seed}, but {str(store.root)!r} does not: run the stage before"
            )
        runs[arm, seed] = run
    return runs


def read(arms: Arms, seeds: int, store: Store) -> Results:
    """What the runs of a stage found; errors as :func:`finished`."""
    return read_results(arms, finished(arms, seeds, store), store)


def _at(base: PPOArgs, args: PPOArgs) -> PPOArgs:
    """A trial with the seed and the problems of another stage."""
    return dataclasses.replace(args, seed=base.seed, eval_split=base.eval_split)
