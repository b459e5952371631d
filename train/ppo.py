"""Fine-tune a pre-trained model on longer numbers by reinforcement learning: ``python -m train.ppo``."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import torch
from rich.console import Console
from stable_baselines3.common.callbacks import CallbackList

import addition_gym
from addition_gym.episode import Reward
from agents import PrioritizedKLPPO
from agents.losses import Certainty, KLEstimator
from agents.weighting.token_weights import WeightingName
from policies.checks import at_least, between
from train.measure.accuracy import Accuracy, accuracies, accuracy_table
from train.measure.callbacks import (
    AccuracyCallback,
    CriticalTokenCallback,
    InspectorCallback,
    PositionCallback,
    SampleCallback,
)
from train.run.arguments import parse
from train.run.checkpoints import AGENT, CheckpointCallback, Checkpoints, agents_of, load_newest_agent, rescue, save_agent
from train.run.log import run_logger
from train.run.models import Model, check_device
from train.run.process import StopSignals, run_command
from train.run.run import Run, arguments_of


@dataclass(frozen=True)
class PPOArgs:
    preset: Literal["tiny", "paper", "official"] = "tiny"
    """Where the other defaults come from: ours, the paper's text, or the authors' code."""
    pretrained: str = "tiny"
    """The bundled model (tiny), or a folder in Hugging Face format."""
    pretrained_digits: int | None = None
    """N; by default what the folder says."""
    extra_digits: int = 1
    """k: train on the paper's mixture of N+k digits."""
    reward: Reward = "binary"
    """1 / 0, or 1 / -1 (signed)."""
    total_timesteps: int = 1_000_000
    """Completion tokens to train on."""
    n_envs: int = 64
    """Lanes of the vector environment."""
    n_episodes: int = 64
    """Episodes of a rollout, a multiple of n-envs."""
    batch_size: int = 8
    """Episodes of a minibatch."""
    max_batch_tokens: int = 2048
    """Most tokens that the model reads at once in an update; bounds memory, and changes nothing else."""
    n_epochs: int = 1
    """Passes over a rollout."""
    learning_rate: float = 1e-4
    """Of the language model."""
    value_learning_rate: float | None = 1e-3
    """Of the value head; None for the same."""
    gae_lambda: float = 1.0
    """Lambda of generalised advantage estimation."""
    clip_range: float = 0.2
    """PPO's epsilon."""
    normalize_advantage: bool = True
    """Normalise advantages over all tokens of a rollout."""
    ent_coef: float = 0.0
    """Entropy coefficient."""
    vf_coef: float = 0.5
    """Coefficient of the value loss."""
    max_grad_norm: float = 0.5
    """Largest norm of the gradient."""
    kl_coef: float = 2.0
    """Coefficient of the KL penalty; 0 for none."""
    kl_exponent: float = 150.0
    """Beta: 0 is the standard penalty, more prioritises more."""
    kl_estimator: KLEstimator = "full"
    """How the KL is computed."""
    kl_in: Literal["loss", "reward"] = "loss"
    """Penalise the KL in the loss, or in the reward of every token."""
    kl_target: float | None = None
    """KL of an episode, in nats, that the coefficient adapts to; None keeps it fixed."""
    weighting: WeightingName = "prioritized"
    """What weights the tokens: the paper's penalty (prioritized), the plain one (uniform), others and controls."""
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
    eval_before: bool = True
    """Evaluate before training too, not only after it."""
    eval_every: int = 10
    """Updates between two evaluations during training."""
    eval_every_problems: int = 50
    """Held-out problems of each kind in these."""
    checkpoint_every: int = 5
    """Updates between two checkpoints, from which --resume continues."""
    keep_checkpoints: int = 5
    """How many checkpoints stay."""
    seed: int = 0
    """Of problems, sampling and minibatches."""
    device: str = "cpu"
    """Where to train, such as cpu or cuda."""
    run_folder: Path | None = None
    """Where to write; by default a new folder under runs/."""
    resume: Path | None = None
    """The folder of an interrupted run: continue it, bit for bit on one CPU thread (OMP_NUM_THREADS=1), otherwise but for
    rounding. All other arguments are those of that run. Its checkpoints are pickles, which can run any code: resume only what
    you trust."""


_PAPER = PPOArgs(
    preset="paper",
    pretrained="runs/pretrain-paper/model",
    total_timesteps=1_000_000,
    n_envs=50,
    n_episodes=50,
    batch_size=50,
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
    "paper": _PAPER,
    "official": dataclasses.replace(
        _PAPER,
        preset="official",
        reward="signed",
        ent_coef=0.001,
        certainty="min_entropy",
        certainty_temperature=4.0,
        temperature=2.0,
    ),
}


def make_env(args: PPOArgs) -> gym.vector.VectorEnv:
    """The environment to train in. :param args: with N"""
    assert args.pretrained_digits is not None
    return gym.make_vec(
        "ScratchpadAdd-v0",
        num_envs=args.n_envs,
        digits=args.pretrained_digits + args.extra_digits,
        pretrained_digits=args.pretrained_digits,
        split="train",
        reward=args.reward,
    )


def make_agent(args: PPOArgs) -> PrioritizedKLPPO:
    """A new agent in its environment. :param args: with N"""
    return PrioritizedKLPPO(
        "GPT2Policy",
        make_env(args),
        learning_rate=args.learning_rate,
        value_learning_rate=args.value_learning_rate,
        n_episodes=args.n_episodes,
        batch_size=args.batch_size,
        max_batch_tokens=args.max_batch_tokens,
        n_epochs=args.n_epochs,
        gae_lambda=args.gae_lambda,
        clip_range=args.clip_range,
        normalize_advantage=args.normalize_advantage,
        ent_coef=args.ent_coef,
        vf_coef=args.vf_coef,
        max_grad_norm=args.max_grad_norm,
        kl_coef=args.kl_coef,
        kl_exponent=args.kl_exponent,
        kl_estimator=args.kl_estimator,
        kl_in=args.kl_in,
        kl_target=args.kl_target,
        weighting=args.weighting,
        certainty=args.certainty,
        certainty_temperature=args.certainty_temperature,
        policy_kwargs={
            "pretrained": Model.find(args.pretrained).folder,
            "value_net_arch": args.value_net_arch,
            "detach_value": args.detach_value,
            "temperature": args.temperature,
            "autocast": args.autocast,
            "pad_token_id": addition_gym.PAD_TOKEN_ID,
        },
        seed=args.seed,
        device=args.device,
    )


def inputs_of(args: PPOArgs) -> dict[str, str]:
    """What a run starts from, by argument. :return: digests"""
    return {"pretrained": Model.find(args.pretrained).digest()}


def resumed_agent(args: PPOArgs, folder: Path) -> PrioritizedKLPPO | None:
    """The agent of an interrupted run in a new environment; None if it left no checkpoint.

    :raises ValueError: if no checkpoint can be read, or they are of another number of lanes
    """
    agent = load_newest_agent(folder, args.device)
    if agent is not None:
        if agent.n_envs != args.n_envs:
            raise ValueError(f"n_envs must be that of the run, {agent.n_envs}, but its run.json has {args.n_envs}: put it back")
        agent.set_env(make_env(args), force_reset=False)  # type: ignore[arg-type]
    return agent


def check(args: PPOArgs) -> None:
    """Refuse what could not end well, as far as the agent does not, before anything is written.

    :raises ValueError: naming the argument
    """
    for name in ("eval_every", "eval_every_problems", "checkpoint_every", "keep_checkpoints", "total_timesteps"):
        at_least(name, getattr(args, name), 1, "pass a positive number")
    at_least("eval_problems", args.eval_problems, 0, "0 leaves the evaluations out")
    between("seed", args.seed, 0, 2**32 - 1, "pass a number from there")
    check_device(args.device)


def train(args: PPOArgs, console: Console) -> Path:
    """Fine-tune, evaluate before and after, and write a run folder; or resume an interrupted run.

    :return: the run folder
    :raises ValueError: if an argument breaks its constraint, or another process is making the run
    :raises Interrupted: if a signal stopped the run, after a checkpoint
    :raises TrainingFailed: at a NaN or an infinity, or if the run folder cannot be written
    """
    check(args)
    torch.manual_seed(args.seed)
    if args.pretrained_digits is None:
        args = dataclasses.replace(args, pretrained_digits=Model.find(args.pretrained).pretrained_digits)
    agent = None if args.resume else make_agent(args)  # whatever is wrong with the arguments shows before a folder is made
    with Run.start("ppo", args, PRESETS, console, {} if args.resume else inputs_of(args)) as run:
        agent = agent or resumed_agent(args, run.folder)
        if agent is None:
            run.check_inputs(inputs_of(args))
            agent = make_agent(args)
        _train(agent, args, run)
    return run.folder


def make_callbacks(args: PPOArgs, run: Run, signals: StopSignals) -> CallbackList:
    """What is measured, drawn and saved while the agent learns."""
    pretrained_digits, extra = args.pretrained_digits, args.extra_digits
    assert pretrained_digits is not None
    checkpoints = Checkpoints(run.folder, ".zip", args.keep_checkpoints)
    return CallbackList(
        [
            AccuracyCallback(pretrained_digits, (0, extra), args.eval_every_problems, args.eval_every, console=run.console),
            CriticalTokenCallback(pretrained_digits, extra),
            SampleCallback(pretrained_digits, extra, every=args.eval_every),
            PositionCallback(args.eval_every),
            InspectorCallback(pretrained_digits, extra, args.eval_every),
            CheckpointCallback(checkpoints, args.checkpoint_every, signals),
        ]
    )


def _train(agent: PrioritizedKLPPO, args: PPOArgs, run: Run) -> None:
    pretrained_digits, extras = args.pretrained_digits, (0, args.extra_digits)
    assert pretrained_digits is not None
    say = run.console.print

    def measure() -> dict[str, dict[str, Any]]:
        found = accuracies(agent.policy, pretrained_digits, args.eval_problems, extras=extras) if args.eval_problems else []
        return {accuracy.kind: accuracy.as_dict() for accuracy in found}

    if agent.training_state is None:
        agent.set_logger(run_logger(run.folder))
        longest = pretrained_digits + args.extra_digits
        say(f"Fine-tuning {args.pretrained} (N = {pretrained_digits}) on {longest} digits", markup=False)
        run.write_results({"before": measure() if args.eval_before else {}})
    else:
        agent.set_logger(run_logger(run.folder, resumed_at=agent.num_timesteps))
        say(f"Resuming after {agent.num_timesteps} timesteps")
    say(f"Run folder {run.folder}; watch it live: tensorboard --logdir {run.folder}", markup=False)
    try:
        with run.training(lambda: next(reversed(agents_of(run.folder)), None), lambda: rescue(agent)) as signals:
            if agent.num_timesteps < args.total_timesteps:
                callbacks = make_callbacks(args, run, signals)
                resumed = agent.training_state is not None
                if resumed:
                    agent.resume()
                agent.learn(
                    args.total_timesteps - agent.num_timesteps,
                    callback=callbacks,
                    reset_num_timesteps=not resumed,
                    progress_bar=run.console.is_terminal,
                )
                save_agent(agent, run.folder / AGENT)
    finally:
        agent.logger.close()
    results = {
        "before": {},
        **run.results(),
        "after": measure(),
        "episodes": agent.episodes_done,
        "timesteps": agent.num_timesteps,
        "seconds": round(agent.seconds_learned),
    }
    run.write_results(results)
    if results["after"]:
        title = f"Accuracy on {args.eval_problems} held-out problems, greedy, N = {pretrained_digits}"
        columns = {
            name: [Accuracy(kind, found["solved"], found["total"]) for kind, found in results[name].items()]
            for name in ("before", "after")
        }
        say(accuracy_table(title, {name: column for name, column in columns.items() if column}))
    minutes = f"{results['seconds'] / 60:.1f} minutes"
    say(f"Trained on {results['episodes']} episodes in {minutes}; the agent is {run.folder / AGENT}", markup=False)
    say(f"See the run: tensorboard --logdir {run.folder}", markup=False)


def main() -> None:
    args = parse(PRESETS, "Fine-tune a pre-trained model on longer numbers with prioritized-KL PPO.")
    args = arguments_of(PPOArgs, args.resume) if args.resume else args
    train(args, Console())


if __name__ == "__main__":
    run_command(main)
