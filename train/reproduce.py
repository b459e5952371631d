"""Make the tables and figures of arXiv:2502.06533, and four checks: ``python -m train.reproduce TARGET [TARGET ...]``."""

import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import torch
import tyro
from rich.console import Console

from policies.checks import at_least
from train.experiment.runner import Runner
from train.experiment.store import PUBLISHED, Store
from train.measure.accuracy import check_n_problems
from train.measure.tables import rich_table
from train.reproduction import finetuned, pretrained
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
    "table-1": pretrained.table_1,
    "table-4": pretrained.table_4,
    "table-5": pretrained.table_5,
    "fig-1": pretrained.fig_1,
    "fig-2": pretrained.fig_2,
    "fig-3": finetuned.fig_3,
    "fig-4": finetuned.fig_4,
    "fig-5": pretrained.fig_5,
    "fig-6": finetuned.fig_6,
    "fig-7": finetuned.fig_7,
    "check-1": pretrained.certainty_by_position,
    "check-2": finetuned.weights_by_exponent,
    "check-3": finetuned.kl_over_training,
    "check-4": finetuned.failure_signatures,
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
    n_problems: int = 1000
    """Held-out problems of each kind in Tables 4 and 5 and Fig. 2."""
    runner: tyro.conf.OmitArgPrefixes[Runner] = field(default_factory=Runner)
    """Where fine-tuning runs are made."""
    device: str | None = None
    """Where to run, such as cpu or cuda; by default what the scale says."""
    store: Path = Path("runs/store")
    """Where models and runs are kept, shared with train.compare; nothing in it is made twice. The same command resumes an
    interrupted one."""
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
    at_least("seeds", args.seeds, 1, "pass how many runs each arm has")
    check_n_problems(args.n_problems)
    torch.manual_seed(0)
    scale, console = SCALES[args.scale], Console()
    device = args.device or scale.ppo.device
    workshop = Workshop(scale, Store(args.store, PUBLISHED), console, args.seeds, args.n_problems, args.runner, device)
    folder = args.output or Path("results/reproduction") / scale.name
    for target in TARGETS if "all" in args.targets else dict.fromkeys(args.targets):
        started = time.perf_counter()
        artefact = TARGETS[target](workshop)  # type: ignore[index]
        options = [word for word in sys.argv[1:] if word not in (*get_args(Target), "all")]
        command = shlex.join(["python", "-m", "train.reproduce", target, *options])
        artefact.write(folder, target, command, time.perf_counter() - started)
        write_index(folder, scale.name, TARGETS)
        if artefact.table:
            console.print(rich_table(artefact.title, artefact.table[0], artefact.table[1:]))
        console.print(artefact.caption, f"Wrote {folder / target}.csv, .png and .md", sep="\n", highlight=False)


if __name__ == "__main__":
    run_command(main)
