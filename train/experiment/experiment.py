"""An experiment: make the runs of its arms, and report what they found."""

import shlex

from rich.console import Console

from train.experiment.arms import Experiment, plan
from train.experiment.identity import differences, identity, written
from train.experiment.report import report
from train.experiment.runner import Runner


def run_experiment(experiment: Experiment, runner: Runner | None, console: Console) -> None:
    """Make the runs that are missing, and report those that are done.

    :param experiment: its arms, its store and the rest
    :param runner: None to train nothing
    :param console: for progress and the table
    :raises SystemExit: with status 1 if runs failed, or none is done
    """
    runs, store = plan(experiment.arms, experiment.seeds), experiment.store
    there = sum(store.get(args) is not None for args in runs.values())
    if runner and there < len(runs):
        console.print(f"{there} of {len(runs)} runs are done, {len(runs) - there} are to be made", highlight=False)
        if not there:
            console.print(nearest(experiment), markup=False, highlight=False)
    failed = runner.run_missing(store, runs.values(), console) if runner else []
    done = {name: run for name, args in runs.items() if (run := store.get(args))}
    if done:
        report(experiment, done, console)
    if failed:
        raise SystemExit(f"{len(failed)} runs failed; the same command tries them again")
    if not done:
        where = f"{store.root} or {store.published}" if store.published else store.root
        raise SystemExit(f"There is no finished run of this experiment in {where}. {nearest(experiment)}".rstrip())


def nearest(experiment: Experiment) -> str:
    """How the runs that the store holds differ from those of an experiment without any, in words; empty for an empty store."""
    pairs = [
        (differences([held, wanted]), held, wanted)
        for held in experiment.store.finished()
        for wanted in map(identity, experiment.arms.values())
    ]
    if not pairs:
        return ""
    names, held, wanted = min(pairs, key=lambda pair: len(pair[0]))
    found = ", ".join(f"{name} {written(held.get(name))} instead of {written(wanted.get(name))}" for name in names)
    flags = " ".join(f"--{name.replace('_', '-')} {shlex.quote(written(held.get(name)))}" for name in names)
    return f"The nearest runs in the store have {found}; for these, pass {flags}"
