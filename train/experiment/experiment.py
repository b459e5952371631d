"""An experiment: make the runs of its arms, and report what they found."""

from rich.console import Console

from train.experiment.arms import Experiment, plan
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
    failed = runner.run_missing(store, runs.values(), console) if runner else []
    done = {name: run for name, args in runs.items() if (run := store.get(args))}
    if done:
        report(experiment, done, console)
    if failed:
        raise SystemExit(f"{len(failed)} runs failed; the same command tries them again")
    if not done:
        raise SystemExit(f"There is no finished run of this experiment in {store.root}")
