"""Look inside a completion, token by token, in the terminal and in a web page: ``python -m train.inspect``."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from train.measure.choices import Colour, Completion
from train.run.arguments import hinted
from train.run.process import run_command

if TYPE_CHECKING:
    from addition_gym.tasks import Task
    from train.run.models import Model


@hinted
@dataclass(frozen=True)
class InspectArgs:
    a: tyro.conf.Positional[int | None] = None
    """First operand, for a model of addition."""
    b: tyro.conf.Positional[int | None] = None
    """Second operand."""
    problem: str | None = None
    """The problem, for a model of another task, such as 0110; by default a test problem that the seed chooses."""
    model: str = "tiny"
    """The bundled model (tiny), a folder in Hugging Face format, a run folder, or a saved agent (.zip). Agents are read as
    pickles here, which can run any code: inspect only those that you trust."""
    run: Path | None = None
    """A run folder whose checkpoints are shown, in place of --model; the page steps through them, the terminal shows the
    last. They are pickles too."""
    completion: Completion = "solution"
    """What to look at: the right solution, or what the model itself writes, greedily or sampled."""
    colour: Colour = "certainty"
    """What the colours mean: the certainty of the reference, the entropy of the policy, the surprisal of the token, the KL to
    the reference, the weight of the KL penalty, the value, or the advantage. The page can change it."""
    seed: int = 0
    """Seed of a sampled completion, and of the problem if none is given."""
    pretrained_digits: int | None = None
    """N, which says what is critical; by default what the model's folder or the agent's run folder says."""
    html: Path | None = None
    """Write a page for a web browser to this file: point at a token to see what else could have followed."""
    svg: Path | None = None
    """Write what the terminal shows to this SVG file too."""


_HOW = {"solution": "the right solution, read by", "greedy": "written greedily by", "sampled": "sampled from"}
_NOTE = {"solution": ": the solution, not written by the model; --completion greedy shows what it writes"}


def _problem(args: InspectArgs, model: "Model") -> tuple[Any, int, "Task | None"]:
    """The problem, N, and the task unless that is addition."""
    task = model.task
    if task is None:
        model.check_addition()
        if args.a is None or args.b is None:
            raise ValueError("a and b must be two numbers, but one is missing: pass both, such as 482913 75")
        return (args.a, args.b), model.digits_or(args.pretrained_digits), None
    if args.a is not None or args.pretrained_digits is not None:
        raise ValueError("a, b and pretrained_digits must not be given for a model of another task: pass --problem")
    if args.problem is None:
        import numpy as np

        problem = dataclasses.replace(task, split="test").sample(np.random.default_rng(args.seed))
    else:
        problem = task.parse(args.problem)
    return problem, task.pretrained_size, task


def main() -> None:
    args = tyro.cli(InspectArgs, description="Look inside a completion: every token coloured by what the model makes of it.")
    from rich.console import Console

    from train.measure.page import page
    from train.measure.snapshots import coloured, legend, look, run_agents, run_snapshots, snapshot
    from train.run.meter import meter
    from train.run.models import Model

    model = Model.find(run_agents(args.run)[-1] if args.run else args.model)
    problem, digits, task = _problem(args, model)
    snapshots = run_snapshots(args.run) if args.run else [snapshot(args.model)]
    with meter(Console(), "Checkpoints", len(run_agents(args.run)) + 1 if args.run else 1) as advance:
        frames, are_agents = look(snapshots, problem, args.completion, args.colour, digits, args.seed, advance, task)
    title = f"{_HOW[args.completion]} {args.run or args.model}, N = {digits}"
    _, inspection = frames[-1]
    console = Console(record=args.svg is not None, width=96 if args.svg else None)
    console.print(coloured(inspection, args.colour))
    console.print(inspection.verdict + _NOTE.get(args.completion, ""), style="bold", markup=False, highlight=False)
    console.print(legend(args.colour))
    if args.svg:
        console.save_svg(str(args.svg), title=f"{inspection.task.key(problem)}, {title}")
    if args.html:
        args.html.parent.mkdir(parents=True, exist_ok=True)
        args.html.write_text(page(title, frames, args.colour, are_agents), encoding="utf-8")
        console.print(f"Open {args.html} in a web browser.", markup=False, highlight=False)


if __name__ == "__main__":
    run_command(main)
