"""Fine-tune a pre-trained model on longer numbers by reinforcement learning: ``python -m train.ppo``."""

from train.finetuning.arguments import PRESETS
from train.run.arguments import parse
from train.run.process import run_command


def main() -> None:
    args = parse(PRESETS, "Fine-tune a pre-trained model on longer numbers with prioritized-KL PPO.")
    from rich.console import Console

    from train.finetuning.finetune import train

    train(args, Console())


if __name__ == "__main__":
    run_command(main)
