"""Which tokens are critical, measured instead of assumed: ``python -m train.criticality``."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import tyro

from train.measure.choices import HeldOut
from train.run.arguments import hinted
from train.run.process import run_command


@hinted
@dataclass(frozen=True)
class CriticalityArgs:
    model: str = "tiny"
    """Whose successes decide what is critical: the bundled model (tiny), a folder in Hugging Face format, a run folder, a saved
    agent (.zip), or a model on the Hugging Face hub (owner/name). The certainty is that of an agent's reference: the model
    that it was fine-tuned from."""
    pretrained_digits: int | None = None
    """N; by default what the model's folder or the agent's run folder says."""
    extra_digits: int = 1
    """k: held-out problems of the paper's mixture of N+k digits."""
    n_problems: int = 50
    """Number of problems."""
    split: HeldOut = "validation"
    """Which held-out problems: test for final numbers only."""
    n_samples: int = 4
    """Rollouts after every first wrong token."""
    seed: int = 0
    """Seed of problems and rollouts."""
    device: str = "cpu"
    """Where to run, such as cpu, cuda or auto."""
    output: Path | None = None
    """Write tokens.csv, auroc.csv, average_precision.csv, criticality.json and criticality.png to this folder."""


def main() -> None:
    args = tyro.cli(CriticalityArgs, description="Which tokens are critical, by rollouts from the middle of right solutions.")
    import numpy as np
    import torch
    from rich.console import Console

    from addition_gym.tasks.addition import Addition
    from agents.weighting import ReferenceCertainty, certainty_power
    from policies.checks import at_least
    from train.measure.accuracy import Kind, check_n_problems, fitting_extras
    from train.measure.criticality import (
        EXPONENT,
        auroc,
        average_precision,
        draw,
        lost_by_place,
        measure,
        of_signals,
        summary,
        tables,
        token_rows,
    )
    from train.measure.inspection import complete, inspect
    from train.run.files import write_json, write_rows
    from train.run.models import Model
    from train.run.provenance import provenance

    check_n_problems(args.n_problems)
    at_least("n_samples", args.n_samples, 1, "pass a number of rollouts")
    torch.manual_seed(args.seed)
    model = Model.find(args.model)
    console, task = Console(), model.task
    if task is None:
        model.check_addition()
        pretrained_digits = model.digits_or(args.pretrained_digits)
        policy = model.load(args.device)
        if args.extra_digits not in fitting_extras(policy, pretrained_digits, [args.extra_digits]):
            raise ValueError(
                f"extra_digits must leave problems that fit into the model, but it is {args.extra_digits}: lower it"
            )
        kind = Kind(args.extra_digits)
        asked, problems = f"{kind.name} digits", kind.problems(pretrained_digits, args.n_problems, args.seed, args.split)
        task = Addition(pretrained_digits, "up_to", pretrained_digits)
    else:
        policy, pretrained_digits, asked = model.load(args.device), task.pretrained_size, "larger problems"
        rng, of_split = np.random.default_rng(args.seed), dataclasses.replace(task, split=args.split)
        problems = [of_split.sample(rng) for _ in range(args.n_problems)]
    weighting, certainty = certainty_power(EXPONENT), ReferenceCertainty()
    inspections = [
        inspect(policy, problem, complete(policy, problem, task=task), pretrained_digits, weighting, certainty, task)
        for problem in problems
    ]
    found = measure(policy, inspections, args.n_samples, console)
    aurocs, precisions = (of_signals(found, each, args.seed, console) for each in (auroc, average_precision))
    places = lost_by_place(found)
    console.print(f"{args.model}, N = {pretrained_digits}, {asked}, {args.split} problems.", summary(found))
    for table in tables(aurocs, precisions, places):
        console.print(table)
    if args.output is not None:
        args.output.mkdir(parents=True, exist_ok=True)
        write_rows(args.output / "tokens.csv", token_rows(found))
        for file, estimates in (("auroc.csv", aurocs), ("average_precision.csv", precisions)):
            write_rows(args.output / file, ({"signal": name, **dataclasses.asdict(e)} for name, e in estimates.items()))
        content = {"arguments": dataclasses.asdict(args), "summary": summary(found), "lost_by_place": places}
        write_json(args.output / "criticality.json", {**content, "versions": provenance()})
        draw(found, aurocs, args.output / "criticality.png")
        console.print(f"Written to {args.output}")


if __name__ == "__main__":
    run_command(main)
