"""An experiment: make the runs of its arms, and report what they found."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from train.experiment.arms import Arms, plan
from train.experiment.report import report
from train.experiment.results import Results
from train.experiment.runner import Runner
from train.experiment.store import Store


def run_experiment(
    title: str,
    command: str,
    arms: Arms,
    seeds: int,
    store: Store,
    runner: Runner | None,
    output: Path,
    console: Console,
    answer: Callable[[Results], str] = lambda _: "",
    note: str = "",
) -> None:
    """Make the runs that are missing, and report those that are done.

    :param title: of the report
    :param command: what makes it
    :param arms: of the experiment
    :param seeds: runs of each arm
    :param store: where runs are
    :param runner: None to train nothing
    :param output: the folder of the report
    :param console: for progress and the table
    :param answer: a sentence that the results say together
    :param note: what stands below it in the report
    :raises SystemExit: with status 1 if runs failed, or none is done
    """
    runs = plan(arms, seeds)
    failed = runner.run_missing(store, runs.values(), console) if runner else []
    done = {name: run for name, args in runs.items() if (run := store.get(args))}
    if done:
        report(title, command, arms, done, store, output, console, answer, note)
    if failed:
        raise SystemExit(f"{len(failed)} runs failed; the same command tries them again")
    if not done:
        raise SystemExit(f"There is no finished run of this experiment in {store.root}")
