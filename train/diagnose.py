"""Whether a base model fails as the paper's does: ``python -m train.diagnose MODEL [MODEL ...]``."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import tyro

from train.measure.choices import HeldOut
from train.run.arguments import hinted
from train.run.process import run_command


@hinted
@dataclass(frozen=True)
class DiagnoseArgs:
    models: tyro.conf.Positional[tuple[str, ...]] = ("tiny",)
    """Each a bundled model (tiny, seven), a folder in Hugging Face format, a run folder, a saved agent (.zip), or a model on
    the Hugging Face hub (owner/name)."""
    pretrained_digits: int | None = None
    """N of all of them; by default what each model's folder or the agent's run folder says."""
    n_problems: int = 500
    """Held-out problems, each with two operands of N+1 digits."""
    split: HeldOut = "test"
    """Which held-out problems: test for final numbers, validation to choose a model by."""
    seed: int = 0
    """Seed of the problems."""
    device: str = "cpu"
    """Where to run, such as cpu, cuda or auto."""
    output: Path | None = None
    """Write diagnosis.csv and diagnosis.json to this folder."""


def main() -> None:
    args = tyro.cli(DiagnoseArgs, description="Five numbers that say whether a base model fails as the paper's does.")
    from rich.console import Console

    from train.measure.accuracy import check_n_problems
    from train.measure.diagnosis import diagnose, diagnosis_rows, diagnosis_table
    from train.run.files import check_output, write_json, write_rows
    from train.run.models import Model
    from train.run.provenance import provenance

    check_n_problems(args.n_problems)
    if not args.models:
        raise ValueError("models must name at least one, but there is none: leave them out for tiny")
    check_output(args.output)
    console, models = Console(), [Model.find(name) for name in args.models]
    for model in models:
        model.check_addition()
    digits = [model.digits_or(args.pretrained_digits) for model in models]
    diagnoses = {
        model.name: diagnose(model.load(args.device), n, args.n_problems, args.seed, args.split, console)
        for model, n in zip(models, digits, strict=True)
    }
    console.print(
        diagnosis_table(f"{args.n_problems} {args.split} problems with two operands of N+1 digits, greedy", diagnoses)
    )
    if args.output is not None:
        args.output.mkdir(parents=True, exist_ok=True)
        rows = diagnosis_rows(diagnoses, args.split)
        write_rows(args.output / "diagnosis.csv", rows)
        content = {"arguments": dataclasses.asdict(args), "numbers": rows, "versions": provenance()}
        write_json(args.output / "diagnosis.json", content)
        console.print(f"Written to {args.output}")


if __name__ == "__main__":
    run_command(main)
