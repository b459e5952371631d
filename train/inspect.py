"""Look inside a completion, token by token, in the terminal and in a web page: ``python -m train.inspect``."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import tyro
from rich.console import Console
from rich.text import Text
from torch import nn

from addition_gym import PAD_TOKEN_ID, decode, prompt
from agents import PrioritizedKLPPO
from agents.weighting.signals import ReferenceCertainty
from agents.weighting.weightings import Weighting, certainty_power
from policies import GPT2Policy
from train.measure.inspection import OF_AGENTS, QUANTITIES, Colour, Completion, Inspection, complete, inspect, rgb
from train.measure.page import page
from train.run.checkpoints import AGENT, agents_of
from train.run.models import Model
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


class Snapshot(NamedTuple):
    """A model at some time of its training."""

    name: str
    policy: GPT2Policy
    kl_weighting: Weighting
    """Of the KL penalty it is trained with."""
    certainty: ReferenceCertainty
    is_agent: bool


def snapshot(model: str | Path) -> Snapshot:
    """A model as it is, with what its KL penalty looks at; a pre-trained one gets the paper's, ``J ** 150``.

    :param model: as for :meth:`train.run.models.Model.find`
    :raises ValueError: if there is no such model
    """
    found = Model.find(model)
    if not found.is_agent:
        return Snapshot("pre-trained", found.load(), certainty_power(150.0), ReferenceCertainty(), is_agent=False)
    agent = PrioritizedKLPPO.load(found.path, device="cpu")
    certainty = ReferenceCertainty(agent.certainty, agent.certainty_temperature)
    return Snapshot(f"{agent.num_timesteps:,} tokens", agent.policy, agent.weighting.kl, certainty, is_agent=True)


def run_agents(run: Path) -> list[Path]:
    """The agents of a run, the oldest first: ``checkpoints/agent_<timesteps>.zip``, and ``agent.zip`` if it is done.

    :raises ValueError: if there are none
    """
    paths = agents_of(run)
    if not paths:
        raise ValueError(
            f"run must be a run folder with agents, but {str(run)!r} holds neither {AGENT} nor checkpoints/agent_*.zip: "
            "check the path, or lower --checkpoint-every of train.ppo"
        )
    return paths


def run_snapshots(run: Path) -> Iterator[Snapshot]:
    """The model a run started from, then its agents, one in memory at a time.

    :raises ValueError: as :func:`run_agents`
    """
    paths = run_agents(run)
    start = snapshot(paths[0])
    start.policy.language_model.load_state_dict(start.policy.reference.state_dict())
    for parameter in start.policy.value_net[-1].parameters():
        nn.init.zeros_(parameter)
    yield start._replace(name="start")
    for path in paths:
        found = snapshot(path)
        yield found._replace(name=f"end, {found.name}") if path.name == AGENT else found


def digits_of(args: InspectArgs) -> int:
    """N.

    :raises ValueError: if there is no such model, or neither it nor the arguments say N
    """
    if args.pretrained_digits is not None:
        return args.pretrained_digits
    return Model.find(run_agents(args.run)[-1] if args.run else args.model).pretrained_digits


def look(args: InspectArgs) -> tuple[list[tuple[str, Inspection]], bool]:
    """Name and inspection of every checkpoint, and whether they are agents.

    :raises ValueError: if there is no such model, the problem does not fit, or a pre-trained model lacks what the colour shows
    """
    problem = (args.a, args.b)
    pretrained_digits = digits_of(args)
    frames: list[tuple[str, Inspection]] = []
    for name, policy, weighting, certainty, is_agent in run_snapshots(args.run) if args.run else [snapshot(args.model)]:
        if not is_agent and args.colour in OF_AGENTS:
            raise ValueError(
                f"colour must not be {args.colour!r} for a pre-trained model, which is its own reference and has no critic: "
                "choose another, or inspect an agent or a run"
            )
        torch.manual_seed(args.seed)
        tokens = complete(policy, problem, args.completion)
        frames.append((name, inspect(policy, problem, tokens, pretrained_digits, weighting, certainty)))
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
