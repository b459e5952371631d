"""Fine-tune a pre-trained model on longer numbers by reinforcement learning."""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from stable_baselines3.common.callbacks import CallbackList

from addition_gym.tasks import TASKS
from agents import PrioritizedKLPPO
from agents.weighting import TokenWeights, named_weighting
from policies.checks import above, at_least, between
from policies.device import resolve_device
from train.finetuning.arguments import PRESETS, PPOArgs
from train.finetuning.tasks import Task, task_of
from train.measure.accuracy import Accuracy, accuracy_table
from train.measure.callbacks import DURING, AccuracyCallback, HyperparameterCallback, PositionCallback, ProgressCallback
from train.run.arguments import ADDITION
from train.run.checkpoints import AGENT, CheckpointCallback, Checkpoints, agents_of, load_newest_agent, rescue, save_agent
from train.run.logger import run_logger
from train.run.meter import Advance, duration, meter
from train.run.models import Model
from train.run.named_task import registered_name
from train.run.own_code import OwnCode
from train.run.process import StopSignals
from train.run.run import Run, read_record

BEFORE_AND_AFTER = "accuracy/"
"""Group of TensorBoard's scalars for the accuracies before and after training, on more problems than those during it."""


def make_agent(args: PPOArgs) -> PrioritizedKLPPO:
    """A new agent in its environment. :param args: with N"""
    task = task_of(args)
    return PrioritizedKLPPO(
        "GPT2Policy",
        task.make_env(),
        learning_rate=args.learning_rate,
        value_learning_rate=args.value_learning_rate,
        n_episodes=args.n_episodes,
        batch_size=args.batch_size,
        max_batch_tokens=args.max_batch_tokens,
        n_epochs=args.n_epochs,
        baseline=args.baseline or task.baseline,
        class_horizon=args.class_horizon,
        gae_lambda=args.gae_lambda,
        clip_range=args.clip_range,
        clip_rule=args.clip_rule,
        proximal_coef=args.proximal_coef,
        normalize_advantage=args.normalize_advantage,
        ent_coef=args.ent_coef,
        vf_coef=args.vf_coef,
        value_epochs=args.value_epochs,
        max_grad_norm=args.max_grad_norm,
        kl_coef=args.kl_coef,
        kl_exponent=args.kl_exponent,
        kl_estimator=args.kl_estimator,
        kl_in=args.kl_in,
        kl_target=args.kl_target,
        kl_horizon=args.kl_horizon,
        weighting=token_weights(args),
        certainty=args.certainty,
        certainty_temperature=args.certainty_temperature,
        policy_kwargs={
            "pretrained": Model.find(args.pretrained).folder,
            "value_net_arch": args.value_net_arch,
            "detach_value": args.detach_value,
            "temperature": args.temperature,
            "autocast": args.autocast,
            "optimizer_kwargs": {"eps": args.adam_eps},
            "pad_token_id": task.pad_token_id,
        },
        seed=args.seed,
        device=args.device,
    )


def task_arguments(args: PPOArgs) -> str:
    """Those of the task: what the model was made for, and over it what the command line says."""
    if args.env == ADDITION or registered_name("env", args.env) not in TASKS:
        return args.task_arguments
    given = (Model.find(args.pretrained).task_arguments(args.env), args.task_arguments)
    return ",".join(filter(None, given))


def token_weights(args: PPOArgs) -> TokenWeights:
    """The weighting that the arguments name, built in or the user's own.

    :raises ValueError: if there is no such weighting
    :raises TypeError: if the user's own is not a ``TokenWeights``
    """
    if ":" in args.weighting or args.weighting.endswith(".py"):
        own: TokenWeights = OwnCode.find("weighting", args.weighting).get(TokenWeights)
        return own
    return named_weighting(args.weighting, args.kl_exponent, args.certainty, args.certainty_temperature)  # type: ignore[arg-type]


def own_code(args: PPOArgs) -> dict[str, OwnCode]:
    """What the run uses that is not of this project, by argument."""
    specs = {"weighting": args.weighting, "env": args.env}
    return {name: OwnCode.find(name, spec) for name, spec in specs.items() if ":" in spec}


def inputs_of(args: PPOArgs) -> dict[str, str]:
    """What a run starts from, by argument. :return: digests"""
    code = {name: code.digest() for name, code in own_code(args).items()}
    return {"pretrained": Model.find(args.pretrained).digest(), **code}


def resumed_agent(args: PPOArgs, folder: Path) -> PrioritizedKLPPO | None:
    """The agent of an interrupted run in a new environment; None if it left no checkpoint.

    :raises ValueError: if no checkpoint can be read, or they are of another number of lanes
    """
    agent = load_newest_agent(folder, args.device)
    if agent is not None:
        if agent.n_envs != args.n_envs:
            raise ValueError(f"n_envs must be that of the run, {agent.n_envs}, but its run.json has {args.n_envs}: put it back")
        end = folder / AGENT
        if not is_trained(agent, args) and end.is_file():  # a finished run is extended
            Checkpoints(folder, ".zip").adopt(end, "agent", agent.num_timesteps)
        agent.set_env(task_of(args).make_env(), force_reset=False)
    return agent


def is_trained(agent: PrioritizedKLPPO, args: PPOArgs) -> bool:
    """Whether nothing is left to train."""
    enough = args.total_episodes is not None and agent.episodes_done >= args.total_episodes
    return enough or agent.num_timesteps >= args.total_timesteps


def check(args: PPOArgs) -> None:
    """Refuse what could not end well, as far as the agent does not, before anything is written.

    :raises ValueError: naming the argument
    """
    for name in ("eval_every", "eval_every_problems", "checkpoint_every", "keep_checkpoints", "total_timesteps"):
        at_least(name, getattr(args, name), 1, "pass a positive number")
    at_least("eval_problems", args.eval_problems, 0, "0 leaves the evaluations out")
    if args.total_episodes is not None:
        at_least("total_episodes", args.total_episodes, 1, "leave it out to train on as many as the tokens allow")
    above("adam_eps", args.adam_eps)
    between("seed", args.seed, 0, 2**32 - 1, "pass a number from there")


def train(args: PPOArgs, console: Console) -> Path:
    """Fine-tune, evaluate before and after, and write a run folder; or resume an interrupted run.

    :return: the run folder
    :raises ValueError: if an argument breaks its constraint, or another process is making the run
    :raises Interrupted: if a signal stopped the run, after a checkpoint
    :raises TrainingFailed: at a NaN or an infinity, or if the run folder cannot be written
    """
    check(args)
    args = dataclasses.replace(args, device=resolve_device(args.device))
    torch.manual_seed(args.seed)
    if args.pretrained_digits is None and args.env == ADDITION:
        args = dataclasses.replace(args, pretrained_digits=Model.find(args.pretrained).pretrained_digits)
    if not args.resume:
        args = dataclasses.replace(args, task_arguments=task_arguments(args))
    args = dataclasses.replace(args, baseline=args.baseline or task_of(args).baseline)
    agent = None if args.resume else make_agent(args)  # whatever is wrong with the arguments shows before a folder is made
    code = own_code(args)
    inputs = {} if args.resume else inputs_of(args)
    with Run.start("ppo", args, PRESETS, console, inputs, {each.source for each in code.values()}) as run:
        run.check_inputs({name: each.digest() for name, each in code.items()})
        agent = agent or resumed_agent(args, run.folder)
        if agent is None:
            run.check_inputs(inputs_of(args))
            agent = make_agent(args)
        _train(agent, task_of(args), args, run)
    return run.folder


def make_callbacks(
    agent: PrioritizedKLPPO, task: Task, args: PPOArgs, run: Run, signals: StopSignals, advance: Advance
) -> CallbackList:
    """What is measured, drawn and saved while the agent learns."""
    groups = (BEFORE_AND_AFTER, DURING) if args.eval_problems else (DURING,)
    shown = [f"{group}{kind}" for group in groups for kind in task.kinds]
    checkpoints = Checkpoints(run.folder, ".zip", args.keep_checkpoints)
    return CallbackList(
        [
            HyperparameterCallback(read_record(run.folder, "run")["arguments"], shown),
            ProgressCallback(advance),
            AccuracyCallback(lambda: task.measure(agent, args.eval_every_problems, "validation"), args.eval_every, run.console),
            *task.callbacks(),
            PositionCallback(args.eval_every),
            CheckpointCallback(checkpoints, args.checkpoint_every, signals),
        ]
    )


def _train(agent: PrioritizedKLPPO, task: Task, args: PPOArgs, run: Run) -> None:
    say = run.console.print

    def measure() -> dict[str, dict[str, Any]]:
        if not args.eval_problems:
            return {}
        found = task.measure(agent, args.eval_problems, args.eval_split, run.console)
        for accuracy in found:
            agent.logger.record(f"{BEFORE_AND_AFTER}{accuracy.kind}", accuracy.value, exclude="csv")
        agent.logger.dump(agent.num_timesteps)
        return {accuracy.kind: accuracy.as_dict() for accuracy in found}

    if agent.training_state is None:
        agent.set_logger(run_logger(run.folder))
        say(f"Fine-tuning {args.pretrained}; accuracies are on {task.title(args.eval_split)}", markup=False)
        run.write_results({"before": measure() if args.eval_before else {}})
    else:
        agent.set_logger(run_logger(run.folder, resumed_at=agent.num_timesteps))
        say(f"Resuming after {agent.num_timesteps} timesteps")
    say(f"Run folder {run.folder}; watch it live: tensorboard --logdir {run.folder}", markup=False)
    try:
        with run.training(lambda: next(reversed(agents_of(run.folder)), None), lambda: rescue(agent)) as signals:
            if not is_trained(agent, args):
                resumed = agent.training_state is not None
                if resumed:
                    agent.resume()
                with meter(run.console, "Training tokens", args.total_timesteps, agent.num_timesteps) as advance:
                    agent.learn(
                        args.total_timesteps - agent.num_timesteps,
                        callback=make_callbacks(agent, task, args, run, signals, advance),
                        reset_num_timesteps=not resumed,
                        total_episodes=args.total_episodes,
                    )
                save_agent(agent, run.folder / AGENT)
        after = measure()
    finally:
        agent.logger.close()
    results = {
        "before": {},
        **run.results(),
        "after": after,
        "episodes": agent.episodes_done,
        "timesteps": agent.num_timesteps,
        "seconds": round(agent.seconds_learned),
    }
    run.write_results(results)
    if results["after"]:
        title = f"Accuracy on {args.eval_problems} {task.title(args.eval_split)}"
        columns = {
            name: [Accuracy(kind, found["solved"], found["total"]) for kind, found in results[name].items()]
            for name in ("before", "after")
        }
        say(accuracy_table(title, {name: column for name, column in columns.items() if column}))
    took = duration(results["seconds"])
    say(f"Trained on {results['episodes']} episodes in {took}; the agent is {run.folder / AGENT}", markup=False)
    say(f"See the run: tensorboard --logdir {run.folder}", markup=False)
