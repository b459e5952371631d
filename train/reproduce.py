"""Make the tables and figures of arXiv:2502.06533, and four checks: ``python -m train.reproduce TARGET [TARGET ...]``."""

import shlex
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro

from train.experiment.arguments import RunnerArgs
from train.run.arguments import hinted
from train.run.process import run_command

ScaleName = Literal["tiny", "nano", "paper"]
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

TARGETS: dict[Target, str] = {
    "table-1": "How much less certain a pre-trained model is on critical tokens.",
    "table-4": "Accuracy before RL, both operands of the same length.",
    "table-5": "Accuracy before RL, one operand shorter.",
    "fig-1": "The task, with the critical tokens of a worked scratchpad.",
    "fig-2": "Table 5 as a picture.",
    "fig-3": "Learning curves of models pre-trained to different N.",
    "fig-4": "Standard against prioritized KL: success, and two critical tokens.",
    "fig-5": "Outputs on N+1 digits, every token coloured by certainty.",
    "fig-6": "Exponents over several orders of magnitude.",
    "fig-7": "The six critical commas during RL.",
    "check-1": "Certainty against entropy, by position in the scratchpad.",
    "check-2": "Exponents from 1 to 10000, and the weights they produce.",
    "check-3": "KL to the reference over training, with and without prioritisation.",
    "check-4": "Failure signatures side by side.",
}


@hinted
@dataclass(frozen=True)
class ReproduceArgs:
    targets: Annotated[tuple[Literal[Target, "all"], ...], tyro.conf.Positional, tyro.conf.arg(metavar="TARGET ...")]
    """What to make; "all" is everything."""
    scale: ScaleName = "tiny"
    """Size of the models: the bundled one's (tiny), 6 layers of width 384 as in Lee et al. (nano), or the paper's (paper). The
    latter two want a GPU and pre-train models for hours first."""
    seeds: int = 5
    """Fine-tuning runs of each arm, with the seeds 0, 1, ..."""
    n_problems: int = 1000
    """Held-out problems of each kind in Tables 4 and 5 and Fig. 2."""
    runner: tyro.conf.OmitArgPrefixes[RunnerArgs] = field(default_factory=RunnerArgs)
    """Where fine-tuning runs are made."""
    device: str | None = None
    """Where to run, such as cpu, cuda or auto; by default what the scale says."""
    store: Path = Path("runs/store")
    """Where models and runs are kept, shared with `compare`; nothing is made twice. The same command resumes an
    interrupted one."""
    output: Path | None = None
    """Where CSV, PNG and captions go; by default results/reproduction/<scale>."""


def main() -> None:
    targets = "\n".join(f"- {name}: {what}" for name, what in TARGETS.items())
    args = tyro.cli(
        ReproduceArgs,
        description=f"Make tables and figures of arXiv:2502.06533, and four checks:\n{targets}",
    )
    import torch
    from rich.console import Console

    from policies.checks import at_least
    from train.experiment.runner import Runner
    from train.experiment.store import PUBLISHED, Store
    from train.measure.accuracy import check_n_problems
    from train.measure.tables import rich_table
    from train.reproduction.artefact import write_index
    from train.reproduction.scales import SCALES
    from train.reproduction.targets import MAKERS
    from train.reproduction.workshop import Workshop

    if not args.targets:
        raise ValueError(f"targets must name at least one of {', '.join(TARGETS)} or all, but there is none: name some")
    at_least("seeds", args.seeds, 1, "pass how many runs each arm has")
    check_n_problems(args.n_problems)
    torch.manual_seed(0)
    scale, console = SCALES[args.scale], Console()
    device = args.device or scale.ppo.device
    workshop = Workshop(
        scale, Store(args.store, PUBLISHED), console, args.seeds, args.n_problems, Runner.of(args.runner), device
    )
    folder = args.output or Path("results/reproduction") / scale.name
    for target in TARGETS if "all" in args.targets else dict.fromkeys(args.targets):
        console.print(f"Making {target}", highlight=False)
        started = time.perf_counter()
        artefact = MAKERS[target](workshop)
        options = [word for word in sys.argv[1:] if word not in (*get_args(Target), "all")]
        command = shlex.join(["python", "-m", "train.reproduce", target, *options])
        artefact.write(folder, target, command, time.perf_counter() - started)
        write_index(folder, scale.name, TARGETS)
        if artefact.table:
            console.print(rich_table(artefact.title, artefact.table[0], artefact.table[1:]))
        console.print(artefact.caption, f"Wrote {folder / target}.csv, .png and .md", sep="\n", highlight=False)


if __name__ == "__main__":
    run_command(main)
