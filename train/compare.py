"""Train the arms of an experiment over paired seeds, and compare them: ``python -m train.compare matched-budget``."""

import dataclasses
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console

from train.experiment.report import draw, markdown_table, readme, rich_table
from train.experiment.results import read_result
from train.experiment.store import Store
from train.experiment.verdict import verdict
from train.measure.accuracy import problems_name
from train.ppo import PRESETS, PPOArgs
from train.run.arguments import parse
from train.run.process import run_command
from train.run.run import write_rows
from train.scheduler import run_missing

Arms = Mapping[str, Mapping[str, Any]]
"""The arguments of :class:`train.ppo.PPOArgs` in which each arm differs from the others."""


PUBLISHED = Path("results/store")
"""Runs that come with the repository."""


@dataclass(frozen=True)
class CompareArgs:
    ppo: tyro.conf.OmitArgPrefixes[PPOArgs]
    """What all runs share. The arms set the weighting, and the coefficient where it is uniform; seed is the first one, and
    the store sets the run folder."""
    experiment: tyro.conf.Positional[Literal["matched-budget"]] = tyro.MISSING
    """Which arms are compared."""
    seeds: int = 5
    """Runs of each arm."""
    uniform_coefs: tuple[float, ...] = (0.05, 0.2, 0.8)
    """KL coefficients of the uniform arms."""
    prioritized_coefs: tuple[float, ...] = ()
    """More KL coefficients of the prioritized penalty; its arms beside the one of --kl-coef are exploratory."""
    workers: int | None = None
    """Runs at a time, by default one a core."""
    summarize: bool = False
    """Train nothing; compare what is done."""
    store: Path = Path("runs/store")
    """Where runs are kept; no run in it is made twice."""
    output: Path | None = None
    """Where table, pictures and README go; by default results/<experiment>."""


def matched_budget(uniform_coefs: tuple[float, ...], prioritized_coefs: tuple[float, ...] = ()) -> Arms:
    """Is it *where* the penalty is lifted, or only *how much* of it is left?

    :param uniform_coefs: KL coefficients of the uniform arms
    :param prioritized_coefs: of more prioritized arms
    :raises ValueError: if there is none
    """
    if not uniform_coefs:
        raise ValueError("uniform_coefs must hold at least one coefficient, but it is empty: pass some, such as 0.05 0.2 0.8")
    return {
        "no KL": {"weighting": "none", "kl_coef": 0.0},
        **{f"uniform {coef:g}": {"weighting": "uniform", "kl_coef": coef} for coef in uniform_coefs},
        **{name: {"weighting": name} for name in ("prioritized", "constant", "shuffled", "inverted", "oracle")},
        **{f"prioritized {coef:g}": {"weighting": "prioritized", "kl_coef": coef} for coef in prioritized_coefs},
    }


def plan(base: PPOArgs, arms: Arms, seeds: int) -> dict[tuple[str, int], PPOArgs]:
    """The runs by arm and seed, seed by seed, so that an unfinished experiment has whole seeds.

    :param base: what all runs share, and the first seed
    :param arms: how they differ
    :param seeds: runs of each arm
    :raises ValueError: if there would be no runs or no gains, or all would share a run folder
    """
    for name in ("run_folder", "resume"):
        if (value := getattr(base, name)) is not None:
            raise ValueError(
                f"{name} must not be given for many runs, each of which has its folder in the store, but it is {str(value)!r}: "
                "leave it out; the same command goes on with interrupted runs"
            )
    if seeds < 1:
        raise ValueError(f"seeds must be >= 1, but it is {seeds}: pass how many runs each arm has")
    if base.eval_problems < 1:
        raise ValueError(f"eval_problems must be >= 1, but it is {base.eval_problems}: gains are measured on them")
    return {
        (arm, seed): dataclasses.replace(base, **fields, seed=seed)
        for seed in range(base.seed, base.seed + seeds)
        for arm, fields in arms.items()
    }


def summarize(
    args: CompareArgs,
    arms: Arms,
    done: Mapping[tuple[str, int], Path],
    before: Mapping[str, float],
    command: str,
    console: Console,
) -> None:
    """Compare the runs that are done: print a table, and write it with the pictures and a README into ``args.output``.

    :param args: of the command
    :param arms: of the experiment
    :param done: run folders by arm and seed, at least one
    :param before: accuracies of the pre-trained model, by the name of the problems
    :param command: what to write into the README
    :param console: for the table
    """
    runs = [read_result(arm, seed, folder, args.ppo.extra_digits, before) for (arm, seed), folder in done.items()]
    results = {arm: {run.seed: run for run in runs if run.arm == arm} for arm in arms}
    answer = verdict(results, [arm for arm, fields in arms.items() if fields["weighting"] == "uniform"])
    longer = problems_name(args.ppo.extra_digits)
    output = args.output or Path("results") / args.experiment
    output.mkdir(parents=True, exist_ok=True)
    write_rows(output / "runs.csv", map(dataclasses.asdict, runs))
    (output / "table.md").write_text(f"{markdown_table(results, longer)}\n{answer}\n")
    draw(results, longer, output)
    (output / "README.md").write_text(readme(args.experiment, command, arms, results, list(done.values()), answer))
    console.print(rich_table(args.experiment, results, longer))
    console.print(answer, f"Wrote {output}", sep="\n")


def main() -> None:
    presets = {name: CompareArgs(ppo) for name, ppo in PRESETS.items()}
    args = parse(presets, "Train the arms of an experiment over paired seeds, and compare them.")
    console = Console()
    arms = matched_budget(args.uniform_coefs, args.prioritized_coefs)
    runs = plan(dataclasses.replace(args.ppo, eval_before=False), arms, args.seeds)
    store = Store(args.store, PUBLISHED)
    try:
        failed = [] if args.summarize else run_missing(store, runs.values(), console, args.workers)
    except KeyboardInterrupt:
        raise SystemExit("Stopped; the same command goes on with the runs that are missing") from None
    done = {name: folder for name, run in runs.items() if (folder := store.get(run))}
    if not done:
        raise SystemExit(f"There is no finished run of this experiment in {args.store}")
    words = [word for word in sys.argv[1:] if word != "--summarize"]
    summarize(args, arms, done, store.before(args.ppo), shlex.join(["python", "-m", "train.compare", *words]), console)
    if failed:
        raise SystemExit(f"{len(failed)} runs failed; the same command makes them anew")


if __name__ == "__main__":
    run_command(main)
