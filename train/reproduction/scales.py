"""How large a reproduction is: which models it pre-trains, and how it fine-tunes them."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from train.finetuning.arguments import PRESETS as PPO_PRESETS
from train.finetuning.arguments import TINY_0_2, PPOArgs
from train.pretraining.arguments import PRESETS as PRETRAIN_PRESETS
from train.pretraining.arguments import PretrainArgs

ScaleName = Literal["tiny", "nano", "paper"]


@dataclass(frozen=True)
class Scale:
    """A size of model, and what belongs to it."""

    name: ScaleName
    pretrained_digits: tuple[int, ...]
    """N of the models of Tables 4 and 5 and Figs. 2 and 3."""
    certainty_digits: tuple[int, ...]
    """N of the models of Table 1."""
    focus: int
    """N of the model of all other figures and checks."""
    pretrain: PretrainArgs
    """But for N, its ``digits``."""
    ppo: PPOArgs
    """Of Figs. 4, 6 and 7 and the checks, but for model, seed, weighting and exponent."""
    comparison_kl_coef: float
    """Of Fig. 3, which compares pre-trained models under the standard penalty."""
    comparison_extra_digits: int
    """k of Fig. 3."""


SCALES: dict[ScaleName, Scale] = {
    "tiny": Scale(
        "tiny",
        pretrained_digits=(3, 4, 5),
        certainty_digits=(3, 4, 5),
        focus=5,
        pretrain=PRETRAIN_PRESETS["tiny"],
        ppo=dataclasses.replace(TINY_0_2, total_timesteps=500_000, eval_problems=300, eval_before=False, kl_coef=0.2),
        comparison_kl_coef=0.2,
        comparison_extra_digits=1,
    ),
    "nano": Scale(
        "nano",
        pretrained_digits=(5, 6, 7),
        certainty_digits=(5, 6, 7),
        focus=7,
        pretrain=dataclasses.replace(PRETRAIN_PRESETS["paper"], n_layer=6, n_head=6, n_embd=384),
        ppo=dataclasses.replace(TINY_0_2, eval_before=False, kl_coef=0.2, device="cuda"),
        comparison_kl_coef=0.2,
        comparison_extra_digits=1,
    ),
    "paper": Scale(
        "paper",
        pretrained_digits=(7, 9, 11, 13),
        certainty_digits=(3, 5, 7),
        focus=7,
        pretrain=PRETRAIN_PRESETS["paper"],
        ppo=dataclasses.replace(PPO_PRESETS["paper"], eval_before=False),
        comparison_kl_coef=10.0,
        comparison_extra_digits=2,
    ),
}
"""tiny is the size of the bundled model, nano that of Lee et al. (10.6M parameters), paper that of the paper (85M)."""
