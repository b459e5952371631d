"""Sweep arguments of fine-tuning over seeds on Ray, into one table:
``python -m train.sweep --kl-coef 0.05 0.2 --weighting prioritized uniform``."""

import argparse
import dataclasses
import itertools
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from agents.weighting.token_weights import TokenWeights, named_weights
from train.compare import PUBLISHED, plan
from train.experiment.report import made_by, markdown_table, rich_table, write_arms
from train.experiment.results import read_result
from train.experiment.runner import LOCAL, Resources, run_on_ray
from train.experiment.store import NOT_SCIENCE, Store
from train.measure.accuracy import problems_name
from train.ppo import PRESETS, PPOArgs
from train.run.arguments import parse
from train.run.process import run_command
from train.run.run import write_rows

AXES = tuple(
    field.name
    for field in dataclasses.fields(PPOArgs)
    if field.name not in (*NOT_SCIENCE, "seed", "eval_problems") and not isinstance(field.default, bool | tuple)
)
"""Arguments of ``train.ppo`` that may have several values."""
READ_BY_WEIGHTING = ("kl_exponent", "certainty", "certainty_temperature")
"""Arguments that some weightings do not read."""


@dataclass(frozen=True)
class SweepArgs:
    ppo: tyro.conf.OmitArgPrefixes[PPOArgs]
    """What all runs share. Numbers and choices may have several values, such as --kl-coef 0.05 0.2: the arms are all their
    combinations. seed is the first one, and the store sets the run folder."""
    seeds: int = 5
    """Runs of each arm."""
    address: str = LOCAL
    """A Ray cluster (auto: the one that this machine belongs to); local starts Ray on this machine alone."""
    cpus: int = 1
    """Cores of a run."""
    gpus: float | None = None
    """GPUs of a run, by default 1 with a --device other than cpu, else 0; 0.25 lets four runs share one."""
    store: Path = Path("runs/store")
    """Where runs are kept; no run in it is made twice. All machines of a cluster must see it."""
    output: Path = Path("results/sweep")
    """Where the table goes."""


def parse_grid(argv: Sequence[str]) -> tuple[list[SweepArgs], tuple[str, ...]]:
    """Read a command line in which arguments of ``train.ppo`` have several values.

    :param argv: the command line
    :return: its points, one for each combination of values, and the names of the arguments that have several
    """
    splitter = argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for name in AXES:
        splitter.add_argument(f"--{name.replace('_', '-')}", f"--{name}", dest=name, nargs="+")
    given, rest = splitter.parse_known_args(argv)
    values: dict[str, list[str]] = vars(given)
    presets = {name: SweepArgs(ppo) for name, ppo in PRESETS.items()}
    points = [
        parse(
            presets,
            "Sweep arguments of fine-tuning over seeds, on Ray.",
            [*rest, *(f"--{name.replace('_', '-')}={value}" for name, value in zip(values, combination, strict=True))],
        )
        for combination in itertools.product(*values.values())
    ]
    return points, tuple(name for name in values if len(values[name]) > 1)


def name_arms(points: Sequence[PPOArgs], axes: Sequence[str]) -> dict[str, PPOArgs]:
    """Arms by the values in which they differ. Points that differ only in what their weighting does not read are one arm.

    :param points: of the grid
    :param axes: names of the arguments that have several values
    """
    alike: dict[PPOArgs, list[PPOArgs]] = {}
    for point in points:
        alike.setdefault(_normalized(point), []).append(point)
    arms = {}
    for args, members in alike.items():
        differing = [name for name in axes if len({getattr(member, name) for member in members}) == 1]
        arms[" ".join(f"{name}={_text(getattr(args, name))}" for name in differing) or args.preset] = args
    return arms


def _normalized(args: PPOArgs) -> PPOArgs:
    """With the preset's values of what the weighting does not read, such as the exponent of a uniform penalty."""
    for name in READ_BY_WEIGHTING:
        other = dataclasses.replace(args, **{name: getattr(PRESETS[args.preset], name)})
        if _weights(other) == _weights(args):
            args = other
    return args


def _weights(args: PPOArgs) -> TokenWeights:
    return named_weights(args.weighting, args.kl_exponent, args.certainty, args.certainty_temperature)


def _text(value: object) -> str:
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def tabulate(
    arms: Mapping[str, PPOArgs],
    done: Mapping[tuple[str, int], Path],
    store: Store,
    command: str,
    output: Path,
    console: Console,
) -> None:
    """Print the table, and write ``table.md``, ``arms.csv`` and ``runs.csv``.

    :param arms: by name
    :param done: run folders by arm and seed, at least one
    :param store: that knows the accuracies of the pre-trained models
    :param command: what to write above the table
    :param output: the folder to write into
    :param console: for the table
    """
    runs = [
        read_result(arm, seed, folder, arms[arm].extra_digits, store.before(arms[arm])) for (arm, seed), folder in done.items()
    ]
    results = {arm: {run.seed: run for run in runs if run.arm == arm} for arm in arms}
    longer = {problems_name(args.extra_digits) for args in arms.values()}
    header = longer.pop() if len(longer) == 1 else "N+k"
    output.mkdir(parents=True, exist_ok=True)
    write_rows(output / "runs.csv", map(dataclasses.asdict, runs))
    write_arms(output / "arms.csv", results)
    text = f"# Sweep\n\n{made_by(command, results, list(done.values()))}\n\n{markdown_table(results, header)}"
    (output / "table.md").write_text(text)
    console.print(rich_table("Sweep", results, header))
    console.print(f"Wrote {output}")


def main() -> None:
    points, axes = parse_grid(sys.argv[1:])
    args, console = points[0], Console()
    if args.cpus < 1:
        raise ValueError(f"cpus must be >= 1, but it is {args.cpus}: pass the cores of a run")
    store = Store(args.store, PUBLISHED)
    arms = name_arms([point.ppo for point in points], axes)
    fields = {arm: {name: getattr(ppo, name) for name in AXES} for arm, ppo in arms.items()}
    runs = plan(dataclasses.replace(args.ppo, eval_before=False), fields, args.seeds)
    gpus = float(args.ppo.device != "cpu") if args.gpus is None else args.gpus
    try:
        failed = run_on_ray(store, runs.values(), console, Resources(args.cpus, gpus), args.address)
    except KeyboardInterrupt:
        raise SystemExit("Stopped; the same command goes on with the runs that are missing") from None
    done = {name: folder for name, run in runs.items() if (folder := store.get(run))}
    if done:
        tabulate(arms, done, store, shlex.join(["python", "-m", "train.sweep", *sys.argv[1:]]), args.output, console)
    if failed:
        raise SystemExit(f"{len(failed)} runs failed; the same command makes them anew")


if __name__ == "__main__":
    run_command(main)
