"""Make the tables and figures of arXiv:2502.06533, and four checks: ``python -m train.reproduce TARGET [TARGET ...]``."""

import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
import tyro
from rich.console import Console
from rich.table import Table

from train.compare import PUBLISHED
from train.experiment.store import Store
from train.measure.accuracy import check_count
from train.reproduction import after, before
from train.reproduction.artefact import Artefact, write_index
from train.reproduction.scales import SCALES, ScaleName
from train.reproduction.workshop import Workshop
from train.run.process import run_command

Target = Literal[
    "table-1",
    "table-4",
    "table-5",
    "fig-1",
    "fig-2",
    "fig-3",
    "fig-4",
    "fig-5",
    "fig-6",
    "fig-7",
    "check-1",
    "check-2",
    "check-3",
    "check-4",
]

TARGETS: dict[Target, Callable[[Workshop], Artefact]] = {
    "table-1": before.table_1,
    "table-4": before.table_4,
    "table-5": before.table_5,
    "fig-1": before.fig_1,
    "fig-2": before.fig_2,
    "fig-3": after.fig_3,
    "fig-4": after.fig_4,
    "fig-5": before.fig_5,
    "fig-6": after.fig_6,
    "fig-7": after.fig_7,
    "check-1": before.check_1,
    "check-2": after.check_2,
    "check-3": after.check_3,
    "check-4": after.check_4,
}


@dataclass(frozen=True)
class ReproduceArgs:
    targets: tyro.conf.Positional[tuple[Target | Literal["all"], ...]]
    """What to make; "all" is everything."""
    scale: ScaleName = "tiny"
    """Size of the models: the bundled one's (tiny), 6 layers of width 384 as in Lee et al. (nano), or the paper's (paper). The
    latter two want a GPU and pre-train models for hours first."""
    seeds: int = 5
    """Fine-tuning runs of each arm, with the seeds 0, 1, ..."""
    problems: int = 1000
    """Held-out problems of each kind in Tables 4 and 5 and Fig. 2."""
    workers: int | None = None
    """Fine-tuning runs at a time, by default one a core."""
    device: str | None = None
    """Where to run, such as cpu or cuda; by default what the scale says."""
    store: Path = Path("runs/store")
    """Where models and runs are kept, shared with train.compare; nothing in it is made twice. An interrupted command goes on
    where it was."""
    output: Path | None = None
    """Where CSV, PNG and captions go; by default results/reproduction/<scale>."""


def main() -> None:
    targets = "\n".join(f"- {name}: {make.__doc__}" for name, make in TARGETS.items())
    args = tyro.cli(
        ReproduceArgs,
        description=f"Make tables and figures of arXiv:2502.06533, and checks that its readers ask for.\n\n{targets}",
    )
    if not args.targets:
        raise ValueError(f"targets must name at least one of {', '.join(TARGETS)} or all, but there is none: name some")
    if args.seeds < 1:
        raise ValueError(f"seeds must be >= 1, but it is {args.seeds}: pass how many runs each arm has")
    check_count(args.problems)
    torch.manual_seed(0)
    scale, console = SCALES[args.scale], Console()
    device = args.device or scale.ppo.device
    workshop = Workshop(scale, Store(args.store, PUBLISHED), console, args.seeds, args.problems, args.workers, device)
    folder = args.output or Path("results/reproduction") / scale.name
    for target in TARGETS if "all" in args.targets else dict.fromkeys(args.targets):
        started = time.perf_counter()
        try:
            artefact = TARGETS[target](workshop)  # type: ignore[index]
        except KeyboardInterrupt:
            raise SystemExit("Stopped; the same command goes on with what is missing") from None
        options = [word for word in sys.argv[1:] if word not in (*get_args(Target), "all")]
        command = shlex.join(["python", "-m", "train.reproduce", target, *options])
        artefact.write(folder, target, command, time.perf_counter() - started)
        write_index(folder, scale.name, TARGETS)
        if artefact.table:
            console.print(_rich(artefact))
        console.print(artefact.caption, f"Wrote {folder / target}.csv, .png and .md", sep="\n", highlight=False)


def _rich(artefact: Artefact) -> Table:
    header, *rows = artefact.table
    table = Table(title=artefact.title)
    for name in header:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


if __name__ == "__main__":
    run_command(main)
