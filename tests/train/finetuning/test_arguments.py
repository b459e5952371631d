import pytest

from addition_gym import solution
from train.finetuning.arguments import PRESETS
from train.pretraining.arguments import PRESETS as PRETRAIN_PRESETS
from train.run.arguments import ADDITION


@pytest.mark.parametrize("preset", [name for name, args in PRESETS.items() if args.env == ADDITION])
def test_presets_can_learn(preset: str) -> None:
    """All steps of Adam, each of about the learning rate, can move a weight by half of the 0.02 that those of GPT-2 start with.

    With one step for 50 episodes, and a million tokens, those of ``paper`` and ``official`` could move it by 3e-5.
    """
    args = PRESETS[preset]
    digits = PRETRAIN_PRESETS["tiny" if preset == "tiny" else "paper"].digits
    longest = int("9" * (digits + args.extra_digits))
    episodes = args.total_timesteps / len(solution(longest, longest))
    assert args.learning_rate * args.n_epochs * episodes / args.batch_size > 0.01
