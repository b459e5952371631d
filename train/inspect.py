"""Look inside a completion, token by token, in the terminal and in a web page: ``python -m train.inspect``."""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console
from rich.text import Text

from addition_gym import PAD_TOKEN_ID, decode, prompt
from train.measure.inspection import (
    OF_AGENTS,
    QUANTITIES,
    Colour,
    Completion,
    Inspection,
    complete,
    inspect,
    load_checkpoint,
    load_run,
    rgb,
    run_checkpoints,
)
from train.measure.page import page
from train.run.models import pretrained_digits
from train.run.process import run_command


@dataclass(frozen=True)
class InspectArgs:
    a: tyro.conf.Positional[int]
    """First operand."""
    b: tyro.conf.Positional[int]
    """Second operand."""
    model: str = "tiny"
    """The bundled model (tiny), a folder in Hugging Face format, a run folder, or a saved agent (.zip). Agents are read as
    pickles here, which can run any code: inspect only those that you trust."""
    run: Path | None = None
    """A run folder whose checkpoints to look at, in place of --model; the page steps through them, the terminal shows the
    last. They are pickles too."""
    completion: Completion = "solution"
    """What to look at: the right solution, or what the model itself writes, greedily or sampled."""
    colour: Colour = "certainty"
    """What the colours mean: the certainty of the reference, the entropy of the policy, the surprisal of the token, the KL to
    the reference, the weight of the KL penalty, the value, or the advantage. The page can change it."""
    seed: int = 0
    """Of a sampled completion."""
    pretrained_digits: int | None = None
    """N, which says what is critical; by default what the model's folder or the agent's run folder says."""
    html: Path | None = None
    """Write a page for a web browser to this file: point at a token to see what else could have followed."""
    svg: Path | None = None
    """Write what the terminal shows to this SVG file too."""


def digits_of(args: InspectArgs) -> int:
    """N.

    :raises ValueError: if there is no such model, or neither it nor the arguments say N
    """
    if args.pretrained_digits is not None:
        return args.pretrained_digits
    return pretrained_digits(run_checkpoints(args.run)[-1] if args.run else args.model)


def look(args: InspectArgs) -> tuple[list[tuple[str, Inspection]], bool]:
    """Name and inspection of every checkpoint, and whether they are agents.

    :raises ValueError: if there is no such model, the problem does not fit, or a pre-trained model lacks what the colour shows
    """
    problem = (args.a, args.b)
    digits = digits_of(args)
    frames: list[tuple[str, Inspection]] = []
    for name, policy, weighting, certainty, is_agent in load_run(args.run) if args.run else [load_checkpoint(args.model)]:
        if not is_agent and args.colour in OF_AGENTS:
            raise ValueError(
                f"colour must not be {args.colour!r} for a pre-trained model, which is its own reference and has no critic: "
                "choose another, or inspect an agent or a run"
            )
        torch.manual_seed(args.seed)
        tokens = complete(policy, problem, args.completion)
        frames.append((name, inspect(policy, problem, tokens, digits, weighting, certainty)))
    return frames, is_agent


def coloured(inspection: Inspection, colour: Colour) -> Text:
    """The text with its tokens from white to orange or blue; critical ones underlined, the first error bold and reversed.

    :param inspection: of a completion
    :param colour: the quantity
    """
    text = Text().append(prompt(*inspection.problem), style="dim")
    values = inspection.quantities[colour]
    for position, (token, value) in enumerate(zip(inspection.tokens, values, strict=True)):
        style = "black on rgb({},{},{})".format(*rgb(QUANTITIES[colour].shade(float(value))))
        style += " bold underline" if position in inspection.critical else ""
        style += " bold reverse" if position == inspection.first_error else ""
        text.append("∅" if token == PAD_TOKEN_ID else decode([token]), style=style)
    return text


def legend(colour: Colour) -> Text:
    """The scale of a quantity, and what the marks mean."""
    quantity = QUANTITIES[colour]
    text = Text(style="dim")
    for end, sign in ((quantity.blue, -1), (quantity.orange, 1)):
        if end is not None:
            steps = [sign * step / 8 for step in range(9)]
            text.append(f"{quantity.plain:g} ")
            for shade in steps:
                text.append(" ", style="not dim on rgb({},{},{})".format(*rgb(shade)))
            text.append(f" {end:g}   ")
    text.append(f"{quantity.label}: {quantity.meaning}\n")
    return text.append("underlined: critical tokens; reversed: the first error; ∅: padding, the end")


def title(args: InspectArgs) -> str:
    """What is looked at, in words."""
    verb = {"solution": "the right solution, read by", "greedy": "written greedily by", "sampled": "sampled from"}
    return f"{verb[args.completion]} {args.run or args.model}, N = {digits_of(args)}"


def main() -> None:
    args = tyro.cli(InspectArgs, description="Look inside a completion: every token coloured by what the model makes of it.")
    frames, are_agents = look(args)
    _, inspection = frames[-1]
    console = Console(record=args.svg is not None, width=96 if args.svg else None)
    console.print(coloured(inspection, args.colour))
    console.print(inspection.verdict, style="bold", markup=False, highlight=False)
    console.print(legend(args.colour))
    if args.svg:
        console.save_svg(str(args.svg), title=f"{args.a}+{args.b}, {title(args)}")
    if args.html:
        args.html.parent.mkdir(parents=True, exist_ok=True)
        args.html.write_text(page(title(args), frames, args.colour, are_agents), encoding="utf-8")
        console.print(f"Open {args.html} in a web browser.", markup=False, highlight=False)


if __name__ == "__main__":
    run_command(main)
