"""Measure the accuracy of a model or an agent: ``python -m train.evaluate``."""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console

from train.accuracy import evaluate, table
from train.model_folder import load_policy, pretrained_digits
from train.run_folder import versions, write_json


@dataclass(frozen=True)
class EvaluateArgs:
    model: str = "tiny"
    """The bundled model (tiny), a folder in Hugging Face format, a run folder, or a saved agent (.zip)."""
    pretrained_digits: int | None = None
    """N; by default what the model's folder or the agent's run folder says."""
    problems: int = 500
    """Held-out problems of each kind."""
    sampled: bool = False
    """Sample at the policy's temperature instead of taking the most probable token."""
    seed: int = 0
    """Of the problems and the sampling."""
    device: str = "cpu"
    """Where to run, such as cpu or cuda."""
    output: Path | None = None
    """Write the accuracies to this JSON file too."""


def main() -> None:
    args = tyro.cli(EvaluateArgs, description="Accuracy on up to N digits and on the N+1, N+2 and N+3 mixtures.")
    torch.manual_seed(args.seed)
    if args.output and not args.output.parent.is_dir():
        raise ValueError(f"output must lie in an existing folder, but it is {str(args.output)!r}: make the folder first")
    digits = pretrained_digits(args.model) if args.pretrained_digits is None else args.pretrained_digits
    policy = load_policy(args.model, args.device)
    accuracies = evaluate(policy, digits, args.problems, args.seed, deterministic=not args.sampled)
    decoding = "sampled" if args.sampled else "greedy"
    Console().print(table(f"Accuracy on {args.problems} held-out problems, {decoding}, N = {digits}", {args.model: accuracies}))
    if args.output:
        write_json(args.output, {**{a.problems: a.as_dict() for a in accuracies}, "versions": versions()})


if __name__ == "__main__":
    main()
