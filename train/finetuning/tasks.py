"""What is learned in a fine-tuning run: scratchpad addition, or the user's own environment."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import gymnasium as gym
from rich.console import Console
from stable_baselines3.common.callbacks import BaseCallback

import addition_gym
from addition_gym.tasks import TASKS
from addition_gym.vector_env import TokenVectorEnv
from agents import PrioritizedKLPPO
from agents.baselines import Baseline
from policies.safe_files import read_json
from train.finetuning.arguments import PPOArgs
from train.measure.accuracy import Accuracy, Kind, accuracies
from train.measure.callbacks import CriticalTokenCallback, InspectorCallback, SampleCallback
from train.measure.choices import HeldOut
from train.measure.episodes import SUCCESS, play
from train.measure.task_accuracy import HARDER, PRETRAINED, evaluate_task
from train.run.arguments import ADDITION
from train.run.meter import SILENT, meter
from train.run.models import Model
from train.run.named_task import named_task, registered_name
from train.run.own_code import OwnCode

OF_ADDITION = ["pretrained_digits", "extra_digits"]
"""Arguments that only addition has."""


class Task(Protocol):
    """A task in which an agent is trained and evaluated."""

    kinds: Sequence[str]
    """What its accuracies are called."""
    pad_token_id: int
    """Fills what is unused in an observation."""
    baseline: Baseline
    """What returns are compared with if the arguments do not say."""

    def make_env(self) -> gym.vector.VectorEnv:
        """A new environment to train in, which resets a lane in the step that ends its episode."""

    def title(self, split: HeldOut) -> str:
        """What is solved how, for the heading of a table."""

    def measure(self, agent: PrioritizedKLPPO, n_problems: int, split: HeldOut, console: Console = SILENT) -> list[Accuracy]:
        """How well an agent does, greedily, on so many problems of each kind; the console shows the progress."""

    def callbacks(self) -> Sequence[BaseCallback]:
        """What is measured and drawn besides while the agent learns."""


class Addition:
    """Scratchpad addition of longer numbers than those of pre-training.

    :param args: of the run
    """

    pad_token_id = addition_gym.PAD_TOKEN_ID
    baseline: Baseline = "class"

    def __init__(self, args: PPOArgs):
        assert args.pretrained_digits is not None
        self.args, self.pretrained_digits = args, args.pretrained_digits
        self.kinds: Sequence[str] = [Kind(extra).name for extra in (0, args.extra_digits)]

    def title(self, split: HeldOut) -> str:
        return f"{split} problems, greedy, N = {self.pretrained_digits}"

    def make_env(self) -> gym.vector.VectorEnv:
        return gym.make_vec(
            ADDITION,
            num_envs=self.args.n_envs,
            digits=self.pretrained_digits + self.args.extra_digits,
            pretrained_digits=self.pretrained_digits,
            split="train",
            reward=self.args.reward,
            n_samples_per_problem=self.args.n_samples_per_problem,
        )

    def measure(self, agent: PrioritizedKLPPO, n_problems: int, split: HeldOut, console: Console = SILENT) -> list[Accuracy]:
        extras = (0, self.args.extra_digits)
        return accuracies(agent.policy, self.pretrained_digits, n_problems, extras=extras, console=console, split=split)

    def callbacks(self) -> Sequence[BaseCallback]:
        digits, extra, every = self.pretrained_digits, self.args.extra_digits, self.args.eval_every
        return [
            CriticalTokenCallback(digits, extra),
            SampleCallback(digits, extra, every=every),
            InspectorCallback(digits, extra, every),
        ]


class NamedTask:
    """A task of ``addition_gym`` other than addition.

    :param args: of the run
    """

    pad_token_id = addition_gym.PAD_TOKEN_ID
    baseline: Baseline = "class"

    def __init__(self, args: PPOArgs):
        self.args, self.task = args, named_task(args.env, args.task_arguments)
        self.kinds: Sequence[str] = [PRETRAINED, HARDER]

    def title(self, split: HeldOut) -> str:
        return f"{split} problems of {self.args.env}, greedy, N = {self.task.pretrained_size}"

    def make_env(self) -> gym.vector.VectorEnv:
        task = dataclasses.replace(self.task, split="train")
        n_samples = self.args.n_samples_per_problem
        return TokenVectorEnv(self.args.n_envs, task, self.args.reward, n_samples_per_problem=n_samples)

    def measure(self, agent: PrioritizedKLPPO, n_problems: int, split: HeldOut, console: Console = SILENT) -> list[Accuracy]:
        found = evaluate_task(agent.policy, self.task, n_problems, console=console, split=split)
        return [evaluation.accuracy for evaluation in found]

    def callbacks(self) -> Sequence[BaseCallback]:
        return []


class OwnTask:
    """A registered token-level environment that is not of this project. Its episodes are not split.

    :param args: of the run
    """

    baseline: Baseline = "critic"

    def __init__(self, args: PPOArgs):
        self.args, self.code = args, OwnCode.find("env", args.env)
        self.kinds: Sequence[str] = [SUCCESS]
        config = read_json(Model.find(args.pretrained).folder / "config.json", "pretrained")
        self.pad_token_id = int(config.get("pad_token_id") or 0)

    def title(self, split: HeldOut) -> str:
        return f"episodes, greedy, {self.code.name}"

    def make_env(self) -> gym.vector.VectorEnv:
        return self._lanes(self.args.n_envs)

    def measure(self, agent: PrioritizedKLPPO, n_problems: int, split: HeldOut, console: Console = SILENT) -> list[Accuracy]:
        lanes = self._lanes(min(self.args.n_envs, n_problems))
        with meter(console, "Evaluating", n_problems) as advance:
            return [play(agent, lanes, n_problems, advance=advance)]

    def callbacks(self) -> Sequence[BaseCallback]:
        return []

    def _lanes(self, n_envs: int) -> gym.vector.VectorEnv:
        if self.code.name not in gym.registry:
            raise ValueError(
                f"env must name an environment that {self.code.source} registers with Gymnasium, but it does not register "
                f"{self.code.name!r}: call gymnasium.register there, or correct the name"
            )
        if gym.spec(self.code.name).vector_entry_point is not None:
            return gym.make_vec(self.code.name, num_envs=n_envs)
        same_step = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
        return gym.make_vec(self.code.name, num_envs=n_envs, vectorization_mode="sync", vector_kwargs=same_step)


def task_of(args: PPOArgs) -> Task:
    """The task of a run.

    :raises ValueError: if its environment is unknown, or an argument is given that it does not have
    """
    kind: type[Addition | NamedTask | OwnTask]
    if args.env == ADDITION:
        kind, others = Addition, ["task_arguments"]
    elif registered_name("env", args.env) in TASKS:
        kind, others = NamedTask, OF_ADDITION
    else:
        kind, others = OwnTask, [*OF_ADDITION, "task_arguments", "reward", "n_samples_per_problem"]
    for name in others:
        if getattr(args, name) != getattr(PPOArgs(), name):
            why = "only addition has it" if name in OF_ADDITION else "that does not have it"
            raise ValueError(f"{name} must not stand beside env = {args.env!r}, since {why}: leave it out")
    return kind(args)
