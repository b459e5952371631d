"""Models at some time of their training, and what they make of a completion, in colour."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.text import Text
from torch import nn

from addition_gym import PAD_TOKEN_ID
from addition_gym.tasks import Task
from agents import PrioritizedKLPPO
from agents.weighting.signals import ReferenceCertainty
from agents.weighting.weightings import Weighting, certainty_power
from policies import GPT2Policy
from train.measure.choices import Colour, Completion
from train.measure.inspection import ADDITION, OF_AGENTS, QUANTITIES, Inspection, complete, inspect, rgb
from train.run.checkpoints import AGENT, agents_of
from train.run.meter import Advance, unseen
from train.run.models import Model


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
            "check the path, or lower --checkpoint-every of `addition-gym ppo`"
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


def look(
    snapshots: Iterable[Snapshot],
    problem: Any,
    completion: Completion,
    colour: Colour,
    pretrained_digits: int,
    seed: int,
    advance: Advance = unseen,
    task: Task | None = None,
) -> tuple[list[tuple[str, Inspection]], bool]:
    """Inspect a completion by every snapshot.

    :param snapshots: at least one
    :param problem: the operands, or a problem of the task
    :param completion: the right solution, or what each snapshot writes
    :param colour: what is to be shown
    :param pretrained_digits: N, which says what is critical
    :param seed: of a sampled completion
    :param advance: is told of every snapshot that has been looked at
    :param task: addition by default
    :return: name and inspection of each, and whether they are agents
    :raises ValueError: if the problem does not fit, or a pre-trained model lacks what the colour shows
    """
    frames: list[tuple[str, Inspection]] = []
    for name, policy, weighting, certainty, is_agent in snapshots:
        if not is_agent and colour in OF_AGENTS:
            raise ValueError(
                f"colour must not be {colour!r} for a pre-trained model, which is its own reference and has no critic: "
                "choose another, or inspect an agent or a run"
            )
        torch.manual_seed(seed)
        tokens = complete(policy, problem, completion, task or ADDITION)
        frames.append((name, inspect(policy, problem, tokens, pretrained_digits, weighting, certainty, task)))
        advance(1)
    return frames, is_agent


def coloured(inspection: Inspection, colour: Colour) -> Text:
    """The text with its tokens from white to orange or blue; critical ones underlined, the first error bold and reversed.

    :param inspection: of a completion
    :param colour: the quantity
    """
    text = Text().append(inspection.task.prompt(inspection.problem), style="dim")
    values = inspection.quantities[colour]
    for position, (token, value) in enumerate(zip(inspection.tokens, values, strict=True)):
        style = "black on rgb({},{},{})".format(*rgb(QUANTITIES[colour].shade(float(value))))
        style += " bold underline" if position in inspection.critical else ""
        style += " bold reverse" if position == inspection.first_error else ""
        text.append("∅" if token == PAD_TOKEN_ID else inspection.task.vocabulary.decode([token]), style=style)
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
