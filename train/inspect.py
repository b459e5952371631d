"""Show a worked scratchpad, every token coloured by how certain a model is of the next one: ``python -m train.inspect``."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from matplotlib import colormaps
from rich.console import Console
from rich.text import Text

from addition_gym import encode, prompt, solution
from addition_gym.scratchpad import critical_tokens
from agents.losses import certainty_of
from policies import GPT2Policy
from train.model_folder import load_policy, pretrained_digits
from train.solve import Problem


@dataclass(frozen=True)
class InspectArgs:
    a: tyro.conf.Positional[int]
    """First operand."""
    b: tyro.conf.Positional[int]
    """Second operand."""
    model: str = "tiny"
    """The bundled model (tiny), a folder in Hugging Face format, a run folder, or a saved agent (.zip)."""
    pretrained_digits: int | None = None
    """N, which says what is critical; by default what the model's folder or the agent's run folder says."""
    svg: Path | None = None
    """Write the picture to this SVG file too."""


@torch.no_grad()
def solution_certainty(policy: GPT2Policy, problem: Problem) -> np.ndarray:
    """Certainty (normalised negentropy) of the model in every state of the right solution.

    :param policy: its language model is looked at, at its own softmax temperature
    :param problem: the operands
    :return: one number in [0, 1] for every token of ``solution(*problem)``
    :raises ValueError: if the solution does not fit into the model's position table
    """
    question, worked = encode(prompt(*problem)), encode(solution(*problem))
    n_positions = int(policy.language_model.config.n_positions)
    if len(question) + len(worked) > n_positions:
        raise ValueError(
            f"operands a and b must have a solution within the model's {n_positions} positions, but "
            f"{problem[0]}+{problem[1]} needs {len(question) + len(worked)}: choose shorter ones"
        )
    text = torch.as_tensor(np.concatenate([question, worked]), device=policy.device)[None]
    mask = torch.zeros_like(text, dtype=torch.bool)
    mask[0, len(question) - 1 : -1] = True
    log_probs, _ = policy.evaluate_sequences(text, mask)
    return certainty_of(log_probs).cpu().numpy()


def coloured(problem: Problem, certainty: np.ndarray, pretrained_digits: int) -> Text:
    """The solution from green (certainty 1) over yellow to red (certainty 0.5 or less), critical tokens underlined.

    :param problem: the operands
    :param certainty: from :func:`solution_certainty`
    :param pretrained_digits: N
    """
    critical = {token.position for token in critical_tokens(*problem, pretrained_digits)}
    text = Text().append(prompt(*problem), style="dim")
    for position, (character, value) in enumerate(zip(solution(*problem), certainty, strict=True)):
        red, green, blue = (round(255 * (0.4 + 0.6 * x)) for x in colormaps["RdYlGn"](2 * float(value) - 1)[:3])  # pale
        underline = " bold underline" if position in critical else ""
        text.append(character, style=f"black on rgb({red},{green},{blue}){underline}")
    return text


def main() -> None:
    args = tyro.cli(InspectArgs, description="Colour a worked scratchpad by certainty; critical tokens are underlined.")
    digits = pretrained_digits(args.model) if args.pretrained_digits is None else args.pretrained_digits
    problem = (args.a, args.b)
    certainty = solution_certainty(load_policy(args.model), problem)
    console = Console(record=args.svg is not None, width=96 if args.svg else None)
    console.print(coloured(problem, certainty, digits))
    console.print("green: sure, red: unsure, by the certainty before each token; underlined: critical tokens", style="dim")
    if args.svg:
        console.save_svg(str(args.svg), title=f"{args.a}+{args.b}, N = {digits}")


if __name__ == "__main__":
    main()
