"""Measure the accuracy of a model or an agent, and how it fails: ``python -m train.evaluate``."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import tyro

from train.measure.choices import Distribution, HeldOut
from train.run.arguments import hinted
from train.run.process import run_command


@hinted
@dataclass(frozen=True)
class EvaluateArgs:
    model: str = "tiny"
    """A bundled model (tiny, seven), a folder in Hugging Face format, a run folder, a saved agent (.zip), or a model on the
    Hugging Face hub (owner/name)."""
    task: str | None = None
    """The id of the model's task, or one of your own, as module:id or file.py:id; by default what the model's folder or the
    agent's run folder says, or addition."""
    task_arguments: str = ""
    """Arguments of a task that is named, such as size=12,pretrained_size=6."""
    pretrained_digits: int | None = None
    """N; by default what the model's folder or the agent's run folder says."""
    distributions: tuple[Distribution, ...] = ("mixture", "identical", "varying")
    """Which held-out problems, for N, N+1, N+2 and N+3 digits: up to N and the RL mixture of N+k; both operands of exactly N+k
    digits; one of N+k digits and the other of at most as many."""
    n_problems: int = 200
    """Held-out problems of each kind."""
    split: HeldOut = "test"
    """Which held-out problems: test for final numbers, validation to tune by."""
    sampled: bool = False
    """Sample at the policy's temperature instead of taking the most probable token."""
    n_samples: int = 1
    """Completions of each problem. More than one are always sampled, and give pass@k instead of accuracy."""
    seed: int = 0
    """Seed of the problems and the sampling."""
    device: str = "cpu"
    """Where to run, such as cpu, cuda or auto."""
    output: Path | None = None
    """Write evaluation.json, accuracies.csv, errors.csv and completions.csv to this folder."""


def main() -> None:
    args = tyro.cli(EvaluateArgs, description="Accuracy on held-out problems of N to N+3 digits, and what goes wrong.")
    import torch
    from rich.console import Console

    from policies.checks import at_least
    from train.measure.accuracy import Kind, check_n_problems, evaluate, fitting_extras
    from train.measure.evaluation_tables import error_rows, error_table, measure_table, write
    from train.measure.task_accuracy import evaluate_task, write_task
    from train.run.files import check_output
    from train.run.meter import meter
    from train.run.models import Model
    from train.run.named_task import named_task

    check_n_problems(args.n_problems)
    at_least("n_samples", args.n_samples, 1, "pass a number of completions of each problem")
    if not args.distributions:
        raise ValueError("distributions must name at least one, but there is none: leave the flag out for all of them")
    check_output(args.output)
    torch.manual_seed(args.seed)
    model, console = Model.find(args.model), Console()
    sampled = args.sampled or args.n_samples > 1
    decoding = "sampled" if sampled else "greedy"
    if task := model.task if args.task is None else named_task(args.task, args.task_arguments):
        for name in ("pretrained_digits", "distributions"):
            if getattr(args, name) != getattr(EvaluateArgs(), name):
                raise ValueError(
                    f"{name} must not be given for a model of {type(task).__name__}, since only addition has it: leave it out"
                )
        found = evaluate_task(
            model.load(args.device, task), task, args.n_problems, args.seed, args.n_samples, not sampled, console, args.split
        )
        name = type(task).__name__
        title = f"{name}: accuracy on {args.n_problems} {args.split} problems, {decoding}, N = {task.pretrained_size}"
        console.print(measure_table(title, found, args.model))
        if args.output is not None:
            write_task(args.output, found, dataclasses.asdict(args))
            console.print(f"Written to {args.output}")
        return
    model.check_addition()
    pretrained_digits = model.digits_or(args.pretrained_digits)
    policy = model.load(args.device)
    kinds = [Kind(extra, name) for name in args.distributions for extra in fitting_extras(policy, pretrained_digits)]
    with meter(console, "Evaluating", len(kinds) * args.n_problems * args.n_samples) as advance:
        evaluations = [
            evaluate(
                policy,
                kind,
                pretrained_digits,
                args.n_problems,
                args.seed,
                args.n_samples,
                not sampled,
                advance,
                args.split,
            )
            for kind in kinds
        ]
    title = f"Accuracy on {args.n_problems} {args.split} problems, {decoding}, N = {pretrained_digits}"
    console.print(measure_table(title, evaluations, args.model))
    if errors := error_rows(evaluations):
        console.print(error_table(errors))
    if args.output is not None:
        write(args.output, evaluations, pretrained_digits, dataclasses.asdict(args))
        console.print(f"Written to {args.output}")


if __name__ == "__main__":
    run_command(main)
