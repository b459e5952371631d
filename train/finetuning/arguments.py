"""Arguments of fine-tuning, and where their defaults come from."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from train.measure.choices import HeldOut
from train.run.arguments import ADDITION, hinted

# As in agents and addition_gym, whose import would take the time that --help should take
Certainty = Literal["negentropy", "min_entropy", "max_prob"]
KLEstimator = Literal["full", "k2", "k3", "rk3"]
ClipRule = Literal["ppo", "dppo_binary", "dppo_tv"]
Reward = Literal["binary", "signed"]
Baseline = Literal["critic", "class", "rloo", "grpo", "grpo_no_std"]


@hinted
@dataclass(frozen=True)
class PPOArgs:
    preset: Literal["tiny", "parity", "paper", "official"] = "tiny"
    """Where the other defaults come from: ours for addition or another task, the paper's text, or the authors' code."""
    pretrained: str = "tiny"
    """A bundled model (tiny, seven), or a folder in Hugging Face format."""
    pretrained_digits: int | None = None
    """N; by default what the folder says."""
    env: Annotated[str, tyro.conf.arg(aliases=["--task"])] = ADDITION
    """Where to train: scratchpad addition, another task such as MixedParity-v0, or a task or a token-level environment of your
    own that a module or a file registers, as module:id or file.py:id."""
    task_arguments: str = ""
    """Arguments of a task other than addition, such as size=12,pretrained_size=6; the rest is as the model was made for, or the
    task's default."""
    extra_digits: int = 1
    """k: train on the paper's mixture of N+k digits."""
    reward: Reward = "binary"
    """1 / 0, or 1 / -1 (signed)."""
    total_timesteps: int = 1_000_000
    """Completion tokens to train on."""
    total_episodes: int | None = None
    """Training also ends with the rollout that reaches so many episodes; None for as many as the tokens allow."""
    n_envs: int = 64
    """Lanes of the vector environment."""
    n_samples_per_problem: int = 1
    """Lanes that get the same problem, for the baselines that need a group; divides n-envs."""
    n_episodes: int = 64
    """Episodes per rollout, a multiple of n-envs."""
    batch_size: int = 8
    """Episodes per minibatch."""
    max_batch_tokens: int = 2048
    """Most tokens that the model reads at once in an update; bounds memory, and changes nothing else."""
    n_epochs: int = 1
    """Passes over a rollout."""
    learning_rate: float = 5e-5
    """Learning rate of the language model."""
    value_learning_rate: float | None = 1e-3
    """Learning rate of the value head; None for the same."""
    baseline: Baseline | None = None
    """What returns are compared with: a critic, earlier episodes of the same class of problem (class), or other episodes of the
    same problem (rloo, grpo, or grpo_no_std, which does not divide by the group's standard deviation). By default class for
    addition, and critic in your own environment."""
    class_horizon: int = 64
    """Episodes of a class over which the baseline class averages."""
    gae_lambda: float = 1.0
    """Lambda of the critic's generalised advantage estimation."""
    clip_range: float = 0.2
    """PPO's epsilon, or the threshold of another clip-rule."""
    clip_rule: ClipRule = "ppo"
    """Clip the ratio (ppo), or drop tokens whose probability (dppo_binary) or distribution (dppo_tv) has moved too far."""
    proximal_coef: float = 0.0
    """Coefficient of the squared log-ratio to the policy that sampled."""
    normalize_advantage: bool = True
    """Normalise advantages over all tokens of a rollout; GRPO's stay as they are."""
    ent_coef: float = 0.0
    """Entropy coefficient."""
    vf_coef: float = 0.5
    """Coefficient of the value loss."""
    value_epochs: int = 0
    """Passes of the critic alone over a rollout; 0 trains it together with the language model."""
    max_grad_norm: float | None = 0.5
    """Largest norm of the gradient; None for any."""
    adam_eps: float = 1e-5
    """Adam's epsilon."""
    kl_coef: float = 0.2
    """Coefficient of the KL penalty; 0 for none."""
    kl_exponent: float = 150.0
    """Beta: 0 is the standard penalty, a larger value prioritises more."""
    kl_estimator: KLEstimator = "full"
    """How the KL is computed."""
    kl_in: Literal["loss", "reward"] = "loss"
    """Penalise the KL in the loss, or in the reward of every token."""
    kl_target: float | None = None
    """KL per episode, in nats, that the coefficient adapts to; None keeps it fixed."""
    kl_horizon: float = 100.0
    """Episodes in which kl-target can change the coefficient by a factor e; at least n-episodes."""
    weighting: str = "prioritized"
    """What weights the tokens: the paper's penalty (prioritized), the plain one (uniform), none, calibrated, the controls
    (shuffled, constant, inverted, oracle), other papers' (top-entropy, dual-token, covariance, probability-tilt, delight, tip,
    steer), or your own TokenWeights, as module:name or file.py:name."""
    certainty: Certainty = "negentropy"
    """How the reference's certainty is measured."""
    certainty_temperature: float = 1.0
    """Softmax temperature of the certainty."""
    temperature: float = 1.0
    """Softmax temperature of policy and reference."""
    autocast: bool = False
    """Run the matrix products in bfloat16; worth it where the CPU or GPU has bfloat16 instructions."""
    value_net_arch: tuple[int, ...] = ()
    """Hidden layers of the value head."""
    detach_value: bool = True
    """Keep the value loss out of the language model."""
    eval_problems: int = 500
    """Held-out problems of each kind before and after training; 0 for no evaluation."""
    eval_split: HeldOut = "test"
    """Which problems these are: test for final numbers; validation to tune by, so that the test problems choose nothing."""
    eval_before: bool = True
    """Evaluate before training too, not only after it."""
    eval_every: int = 10
    """Updates between two evaluations during training."""
    eval_every_problems: int = 50
    """Validation problems of each kind in these evaluations."""
    checkpoint_every: int = 5
    """Updates between two checkpoints, from which --resume continues."""
    keep_checkpoints: int = 5
    """How many checkpoints are kept."""
    seed: int = 0
    """Seed of problems, sampling and minibatches."""
    device: str = "cpu"
    """Where to train, such as cpu, cuda or auto."""
    run_folder: Path | None = None
    """Where to write; by default a new folder under runs/."""
    resume: Path | None = None
    """The folder of a run: continue it, bit for bit on one CPU thread (OMP_NUM_THREADS=1), otherwise up to rounding. All other
    arguments are those of that run, except --total-timesteps, which may be raised to extend it. Its checkpoints are pickles,
    which can run any code: resume only what you trust."""


NOT_SCIENCE = (
    "preset",
    "device",
    "max_batch_tokens",
    "eval_before",
    "checkpoint_every",
    "keep_checkpoints",
    "run_folder",
    "resume",
)
"""Arguments that do not change what a run finds out, rounding aside. The preset only says where the others come from."""

BEFORE_IT_EXISTED = {"baseline": "critic"}
"""What the runs had that were made before an argument existed, where its default says something else."""

TINY_0_2 = PPOArgs(baseline="critic", learning_rate=1e-4, kl_coef=2.0)
"""The preset tiny of version 0.2, which the matched-budget experiment and the reproduction keep."""

_PAPER = PPOArgs(
    preset="paper",
    baseline="critic",
    pretrained="runs/pretrain-paper/model",
    total_timesteps=10_000_000,
    n_envs=50,
    n_episodes=50,
    batch_size=1,
    max_batch_tokens=32_768,
    learning_rate=1e-6,
    value_learning_rate=None,
    gae_lambda=0.95,
    normalize_advantage=False,
    ent_coef=0.0005,
    vf_coef=0.1,
    kl_coef=5.0,
    kl_estimator="k2",
    autocast=True,
    value_net_arch=(128, 128),
    detach_value=False,
    device="cuda",
)

PRESETS = {
    "tiny": PPOArgs(),
    "parity": PPOArgs(preset="parity", pretrained="parity", env="MixedParity-v0", total_timesteps=100_000),
    "paper": _PAPER,
    "official": dataclasses.replace(
        _PAPER,
        preset="official",
        reward="signed",
        ent_coef=0.001,
        max_grad_norm=None,
        adam_eps=1e-8,
        certainty="min_entropy",
        certainty_temperature=4.0,
        temperature=2.0,
    ),
}
