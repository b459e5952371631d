"""Draw fine-tuning runs from what they logged: ``python -m train.plot RUN [RUN ...]``."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from train.run.arguments import hinted
from train.run.process import run_command


@hinted
@dataclass(frozen=True)
class PlotArgs:
    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders of `ppo`, or folders that contain some. Runs that differ only in their seeds are drawn with their mean,
    others in one colour per configuration."""
    output: Path = Path("learning_curves.png")
    """The picture."""


def main() -> None:
    args = tyro.cli(PlotArgs, description="Draw what runs have logged over episodes.")
    from train.experiment.frames import load_runs
    from train.measure.curves import draw

    draw(*load_runs(*args.runs), args.output)
    print(f"Wrote {args.output}")


if __name__ == "__main__":
    run_command(main)
