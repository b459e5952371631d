"""All commands in one: ``addition-gym COMMAND``, or ``python -m train COMMAND``."""

import sys
from importlib import import_module

from train.run.process import run_command

COMMANDS = {
    "ppo": "fine-tune a pre-trained model by reinforcement learning",
    "pretrain": "pre-train a model by next-token prediction",
    "evaluate": "measure accuracy on N to N+3 digits, and how completions fail",
    "inspect": "look inside a completion, token by token",
    "criticality": "measure which tokens are critical",
    "diagnose": "say whether a base model fails as the paper's does",
    "plot": "draw the learning curves of runs",
    "compare": "compare runs, or make and compare the arms of an experiment",
    "sweep": "fine-tune over seeds and combinations of arguments",
    "study": "make a stage of the study of uniform and prioritized penalties",
    "track": "score a weighting of your own against the record",
    "reproduce": "make the tables and figures of the paper",
    "export": "write a model as a plain GPT-2 folder",
    "publish": "copy finished runs from a store into the repository",
}


def usage() -> str:
    """What ``--help`` prints."""
    lines = [f"  {name:12} {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        ["usage: addition-gym COMMAND [OPTIONS]", "", *lines, "", "addition-gym COMMAND --help lists its options."]
    )


def main() -> None:
    """Run the command that the first argument names."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(usage())
        return
    if name not in COMMANDS:
        print(f"error: COMMAND must be one of {', '.join(COMMANDS)}, but it is {name!r}", file=sys.stderr)
        raise SystemExit(2)
    del sys.argv[1]
    sys.argv[0] = f"addition-gym {name}"
    run_command(import_module(f"train.{name}").main)


if __name__ == "__main__":
    main()
