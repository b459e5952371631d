"""The study of ``docs/study.md``, stage by stage: ``python -m train.study screening``."""

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from train.experiment.arguments import Method, RunnerArgs, Stage
from train.finetuning.arguments import PPOArgs
from train.run.arguments import hinted
from train.run.process import run_command


@hinted
@dataclass(frozen=True)
class StudyArgs:
    stage: tyro.conf.Positional[Annotated[Stage | Literal["report"], tyro.conf.arg(metavar="STAGE")]]
    """screening, tuning, test, matched or front, each of which needs the ones before; or report, which trains nothing, needs
    the test, and adds what else is finished."""
    methods: tuple[Method, ...] = ("no KL", "uniform", "prioritized")
    """Which methods are tuned and tested; the stage matched has arms of its own."""
    pretrained: str = "tiny"
    """The base model."""
    runner: tyro.conf.OmitArgPrefixes[RunnerArgs] = field(default_factory=RunnerArgs)
    """Where runs are made."""
    summarize: bool = False
    """Train nothing; report what is done."""
    store: Path = Path("runs/study")
    """Where runs are kept; no run is made twice."""
    published: Path = Path("results/study/store")
    """More finished runs, only to be read."""
    output: Path = Path("results/study")
    """The folder of the report, with one more for each stage."""


def main() -> None:
    args = tyro.cli(StudyArgs, description="Make a stage of the study, and report it.")
    from rich.console import Console

    from train.experiment.arms import Experiment
    from train.experiment.experiment import run_experiment
    from train.experiment.runner import Runner
    from train.experiment.store import Store
    from train.experiment.study import EPISODES, SEEDS, arms_of

    store = Store(args.store, args.published)
    base = PPOArgs(pretrained=args.pretrained, total_episodes=EPISODES)
    command = shlex.join(["python", "-m", "train.study", *(word for word in sys.argv[1:] if word != "--summarize")])
    if args.stage == "report":
        from train.experiment.study_report import report_study

        report_study(base, args.methods, store, command, args.output, Console())
        return
    arms = arms_of(args.stage, base, args.methods, store)
    experiment = Experiment(f"Study: {args.stage}", command, arms, SEEDS[args.stage], store, args.output / args.stage)
    run_experiment(experiment, None if args.summarize else Runner.of(args.runner), Console())


if __name__ == "__main__":
    run_command(main)
