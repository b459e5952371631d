"""Pre-train a GPT-2 on the scratchpad by next-token prediction: ``python -m train.pretrain``."""

from train.pretraining.arguments import PRESETS
from train.run.arguments import parse
from train.run.process import run_command


def main() -> None:
    args = parse(PRESETS, "Pre-train a GPT-2 on the scratchpad by next-token prediction.")
    from rich.console import Console

    from train.pretraining.pretrain import train

    train(args, Console())


if __name__ == "__main__":
    run_command(main)
