r"""rl-zoo3 with hyperparameter files: its command line, to which this script adds our agent.

The zoo is an extra: `pip install -c constraints.txt -e '.[zoo]'`. Stock algorithms need no script:

    python -m rl_zoo3.train --algo ppo --env ScratchpadAdd-v0 --gym-packages addition_gym -conf examples/rl_zoo/ppo.yml \
        --env-kwargs digits:1 "distribution:'identical'" "reward:'signed'"

and our agent is one line more, the one below. A file is for one algorithm, as in the zoo itself:

    python examples/rl_zoo/train.py --algo prioritized_kl_ppo --env ScratchpadAdd-v0 -conf examples/rl_zoo/agent.yml \
        --env-kwargs digits:6 "split:'train'" --eval-env-kwargs digits:6 "split:'validation'"

Both write to logs/ALGORITHM/ (`-f` for elsewhere); add `-n 1500 --eval-freq 500 --eval-episodes 2` for a short run. The
environment's arguments stand on the command line because rl-zoo3 2.9 does not pass a file's `env_kwargs` on to its evaluation.
"""

import rl_zoo3
from rl_zoo3.train import train

import addition_gym  # noqa: F401  registers ScratchpadAdd-v0
from agents import PrioritizedKLPPO

rl_zoo3.ALGOS["prioritized_kl_ppo"] = PrioritizedKLPPO

if __name__ == "__main__":
    train()
