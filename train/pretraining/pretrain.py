"""Pre-train a GPT-2 on the scratchpad by next-token prediction."""

import dataclasses
import math
import shlex
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import GPT2LMHeadModel

from addition_gym import PAD_TOKEN_ID
from addition_gym.checks import check_digits
from addition_gym.tasks import Task
from addition_gym.tasks.addition import Addition, default_max_tokens
from agents.health import check_finite
from policies.checks import at_least, between
from policies.device import resolve_device
from policies.gpt2 import build_gpt2, gpt2_config, hidden_states
from policies.model_files import load_gpt2, save_gpt2
from train.measure.accuracy import accuracies, accuracy_table
from train.measure.task_accuracy import evaluate_task
from train.pretraining.arguments import PRESETS, PretrainArgs
from train.pretraining.checkpoint import Checkpoint
from train.pretraining.data import packed_blocks
from train.pretraining.muon import Muon
from train.run.arguments import ADDITION
from train.run.checkpoints import FOLDER as CHECKPOINTS
from train.run.checkpoints import Checkpoints, newest_sound
from train.run.files import write_json
from train.run.meter import Advance, meter, unseen
from train.run.models import PRETRAINING, Model
from train.run.named_task import named_task
from train.run.own_code import OwnCode
from train.run.process import StopSignals
from train.run.provenance import provenance
from train.run.run import Run

MODEL = "model"
"""Its folder in the run folder."""
LARGEST_GAP = 16
"""Of positions, before a token."""
OF_ADDITION = ("digits", "longest_digits", "distribution")
"""Arguments that only addition has."""
KEPT = 2
"""How many checkpoints stay, until the model is done."""


def task_of(args: PretrainArgs) -> Task:
    """What the model is for, at the size of fine-tuning."""
    if args.task == ADDITION:
        return Addition(args.digits + 1, "mixture", args.digits)
    return named_task(args.task, args.task_arguments)


def longest_episode(args: PretrainArgs, task: Task) -> int:
    """Tokens of the longest episodes that the position table has room for: those of size N + 3, or three more than asked."""
    if args.task == ADDITION:
        return default_max_tokens(args.longest_digits or args.digits + 3)
    return dataclasses.replace(task, size=min(task.size + 3, task.max_size)).default_max_tokens


def make_optimizers(model: GPT2LMHeadModel, args: PretrainArgs, scale: float = 1.0) -> list[torch.optim.Optimizer]:
    """The optimizers of a stage; biases and layer norms are not decayed.

    :param scale: factor of the learning rates
    """
    named = dict(model.named_parameters())
    hidden = [p for name, p in named.items() if ".h." in name and p.dim() == 2] if args.optimizer == "muon" else []
    taken = {id(p) for p in hidden}
    rest = [p for p in named.values() if id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.dim() >= 2], "weight_decay": args.weight_decay},
        {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=scale * args.learning_rate, betas=(0.9, 0.99))]
    if hidden:
        optimizers.append(Muon(hidden, lr=scale * args.muon_learning_rate, weight_decay=args.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def learning_rate_factor(step: int, steps: int, warmup_steps: int) -> float:
    """Linear warm-up, then a cosine from 1 to 0.1."""
    return min(1.0, (step + 1) / max(warmup_steps, 1)) * (0.55 + 0.45 * math.cos(math.pi * step / steps))


def next_token_loss(model: GPT2LMHeadModel, tokens: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
    """Mean cross-entropy, in nats, of the tokens where ``mask`` is True.

    :param tokens: ``(B, T + 1)``
    :param mask: ``(B, T + 1)``
    :param positions: of the tokens in the position table, ``(B, T)``
    """
    hidden = hidden_states(model.transformer, tokens[:, :-1], positions)[mask[:, 1:]]  # (M, D)
    return F.cross_entropy(model.lm_head(hidden).float(), tokens[:, 1:][mask[:, 1:]])


def load_start(args: PretrainArgs, pretrained: str) -> GPT2LMHeadModel:
    """The model whose weights the training starts from.

    :raises ValueError: if there is none, or it is of another size or has more positions than the one to be trained
    """
    task = task_of(args)
    start = load_gpt2(pretrained, task.vocabulary.size, 1, PAD_TOKEN_ID)
    for name in ("n_layer", "n_head", "n_embd"):
        if getattr(start.config, name) != getattr(args, name):
            raise ValueError(
                f"{name} must be that of the model to start from, {getattr(start.config, name)}, but it is "
                f"{getattr(args, name)}: change it, or choose another --pretrained"
            )
    if start.config.n_positions > longest_episode(args, task):
        raise ValueError(
            f"longest_digits must give at least the {start.config.n_positions} positions of the model to start from, but gives "
            f"{longest_episode(args, task)}: raise it"
        )
    return start


def start_from(model: GPT2LMHeadModel, start: GPT2LMHeadModel) -> None:
    """Copy all weights; the positions that ``start`` lacks stay as they are."""
    weights = start.state_dict()
    table = model.transformer.wpe.weight.detach().clone()
    table[: start.config.n_positions] = start.transformer.wpe.weight.detach()
    model.load_state_dict({**weights, "transformer.wpe.weight": table})


@dataclass(frozen=True)
class Stage:
    """A part of pre-training with its own optimizers, learning-rate schedule and data."""

    name: str
    steps: int
    seed: int
    """Of the data."""
    scale: float = 1.0
    """Factor of the learning rates."""
    origin_share: float = 0.0
    """Share of blocks that start at position 0; the others start anywhere in the position table."""


def pretrain(args: PretrainArgs, run: Run, signals: StopSignals) -> None:
    """Train a model in two stages and save it, in Hugging Face format, in the run folder.

    If every block started at position 0, its first example would always be where an RL episode is, and the model would
    learn by heart that no number is longer than N there: on N+1 digits the right comma in the first line then had probability
    0.007 at position 0, but 0.49 in the second example of a block. So most blocks start anywhere at first. If all do,
    position 0 itself is left under-trained, which a short second stage repairs. A resumed run continues from the newest
    checkpoint.

    :raises ValueError: if there are checkpoints, and none can be read
    :raises Interrupted: if a signal stopped the run, after a checkpoint
    """
    torch.manual_seed(args.seed)
    task = task_of(args)
    config = gpt2_config(
        task.vocabulary.size, longest_episode(args, task), args.n_layer, args.n_head, args.n_embd, PAD_TOKEN_ID
    )
    model = build_gpt2(config)
    if args.pretrained is not None:
        start_from(model, load_start(args, args.pretrained))
    model.to(args.device)
    started = time.perf_counter()
    stages = [Stage("first", args.steps, args.seed, origin_share=args.origin_share)]
    if args.origin_steps:
        stages.append(Stage("second", args.origin_steps, args.seed + 1, scale=0.5, origin_share=0.5))
    checkpoints = Checkpoints(run.folder, ".pt", KEPT)
    checkpoint = newest_sound(checkpoints.paths(), Checkpoint.load)
    names = [stage.name for stage in stages]
    loss = math.nan
    for stage in stages[names.index(checkpoint.stage) if checkpoint else 0 :]:
        with meter(run.console, f"Pre-training, {stage.name} stage", stage.steps) as advance:
            loss = train_stage(model, args, stage, run.console, checkpoint, checkpoints, signals, advance)
        checkpoint = None
    save_gpt2(model, run.folder / MODEL)
    not_recipe: tuple[str, ...] = ("device", "run_folder", "resume", "checkpoint_every")
    not_recipe += ("task", "task_arguments") if args.task == ADDITION else OF_ADDITION
    settings = {name: value for name, value in dataclasses.asdict(args).items() if name not in not_recipe}
    record = {**settings, "n_positions": config.n_positions, "loss": loss, "seconds": round(time.perf_counter() - started)}
    write_json(run.folder / MODEL / PRETRAINING, {**record, "versions": provenance()})
    shutil.rmtree(run.folder / CHECKPOINTS, ignore_errors=True)


def random_gaps(rng: np.random.Generator, n_blocks: int, block_size: int, share: float) -> npt.NDArray[np.int64]:
    """How many positions are left out before each token, 0 before most.

    Positions cannot then be learnt by heart, so that what is copied has to be found by what stands before it. An RL episode
    has no gaps, so half of the blocks have none.

    :param share: of the tokens that have a gap, in the other half
    :return: ``(B, T)``
    """
    size = (n_blocks, block_size)
    with_gap = (rng.random(size) < share) & (rng.random((n_blocks, 1)) < 0.5)
    with_gap[:, 0] = False
    return with_gap * rng.integers(1, LARGEST_GAP, size=size, endpoint=True)


def train_stage(
    model: GPT2LMHeadModel,
    args: PretrainArgs,
    stage: Stage,
    console: Console,
    checkpoint: Checkpoint | None = None,
    checkpoints: Checkpoints | None = None,
    signals: StopSignals | None = None,
    advance: Advance = unseen,
) -> float:
    """Train for some steps with fresh optimizers, a warm-up and a cosine.

    :param model: trained in place; ends as the moving average of its weights
    :param console: gets a line every 100 steps
    :param checkpoint: of this stage, to resume from; its data are drawn again from the seed, which takes seconds
    :param checkpoints: where to write checkpoints; None for none
    :param signals: that stop the run after a checkpoint
    :param advance: is told of every step that is done
    :return: the last loss, in nats per completion token
    :raises Interrupted: if a signal stopped the run, after a checkpoint
    """
    optimizers = make_optimizers(model, args, stage.scale)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(args.average_decay))
    task = task_of(args)
    problems = dataclasses.replace(task.pretraining, distribution=args.distribution)
    block_size = task.longest_text
    n_blocks = -(-args.tokens_per_step // block_size)
    last_start = int(model.config.n_positions) - block_size
    rng = np.random.default_rng(stage.seed)
    batches = packed_blocks(problems, rng, n_blocks, block_size)
    if checkpoint:
        checkpoint.restore(model, optimizers, average)
    model.train()
    loss = torch.tensor(math.nan)
    for step in range(stage.steps):
        tokens, mask = next(batches)
        offsets = rng.integers(0, last_start, size=(n_blocks, 1), endpoint=True)
        if stage.origin_share:
            offsets[rng.random(n_blocks) < stage.origin_share] = 0
        if args.gap_share:
            offsets = np.minimum(offsets + random_gaps(rng, n_blocks, block_size, args.gap_share).cumsum(axis=1), last_start)
        advance(1)
        if checkpoint and step < checkpoint.steps_done:
            continue
        factor = learning_rate_factor(step, stage.steps, args.warmup_steps)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
        positions = torch.as_tensor(offsets + np.arange(block_size), device=args.device)
        with torch.autocast(torch.device(args.device).type, torch.bfloat16, enabled=args.autocast):
            loss = next_token_loss(model, tokens.to(args.device), mask.to(args.device), positions)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), args.max_grad_norm)
        done = step + 1
        if not norm.isfinite():
            check_finite({f"the loss of step {done} of the {stage.name} stage": loss, "norm of the gradient": norm})
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        average.update_parameters(model)
        if done % 100 == 0 or done == stage.steps:
            console.print(f"{stage.name} stage, step {done:5d} of {stage.steps}  loss {loss.item():.4f}")
        stop = signals is not None and signals.received
        if checkpoints and done < stage.steps and (done % args.checkpoint_every == 0 or stop):
            checkpoints.save(stage.name, done, Checkpoint.of(stage.name, done, model, optimizers, average).save)
            if signals:
                signals.check()
    model.load_state_dict(average.module.state_dict())
    model.eval()
    return loss.item()


def check(args: PretrainArgs) -> None:
    """Refuse a run that could not end well, before anything is written.

    :raises ValueError: naming the argument
    """
    check_digits("digits", args.digits)
    for name in ("task_arguments",) if args.task == ADDITION else OF_ADDITION:
        if getattr(args, name) != getattr(PretrainArgs(), name):
            raise ValueError(f"{name} must not stand beside task = {args.task!r}, which does not have it: leave it out")
    for name in ("steps", "tokens_per_step", "eval_problems", "checkpoint_every"):
        at_least(name, getattr(args, name), 1, "pass a positive number")
    for name in ("origin_steps", "warmup_steps"):
        at_least(name, getattr(args, name), 0, "0 leaves it out")
    for name in ("learning_rate", "muon_learning_rate", "weight_decay", "max_grad_norm"):
        at_least(name, getattr(args, name), 0, "pass such a number", finite=True)
    between("origin_share", args.origin_share, 0, 1, "pass a share")
    between("gap_share", args.gap_share, 0, 1, "0 leaves the gaps out")
    between("average_decay", args.average_decay, 0, 1, "0 leaves the average out", ends="[)")
    between("seed", args.seed, 0, 2**32 - 1, "pass a number from there")
    if args.longest_digits is not None and args.longest_digits <= args.digits:
        raise ValueError(
            f"longest_digits must be > digits = {args.digits}, so that fine-tuning has positions for longer numbers, "
            f"but it is {args.longest_digits}: raise it"
        )
    gpt2_config(task_of(args).vocabulary.size, 1, args.n_layer, args.n_head, args.n_embd, PAD_TOKEN_ID)
    if args.pretrained is not None:
        load_start(args, args.pretrained)


def train(args: PretrainArgs, console: Console) -> Path:
    """Pre-train, evaluate, and write a run folder; or resume an interrupted run.

    :return: the run folder; the model is in its folder ``model``
    :raises ValueError: if an argument breaks its constraint, or another process is making the run
    :raises Interrupted: if a signal stopped the run, after a checkpoint
    :raises TrainingFailed: at a NaN or an infinity, or if the run folder cannot be written
    """
    check(args)
    args = dataclasses.replace(args, device=resolve_device(args.device))
    sources = {OwnCode.find("task", args.task).source} if ":" in args.task else set()
    with Run.start("pretrain", args, PRESETS, console, sources=sources) as run:
        model = run.folder / MODEL
        if not (model / PRETRAINING).is_file():
            with run.training(Checkpoints(run.folder, ".pt").newest) as signals:
                pretrain(args, run, signals)
        policy = Model.find(model).load(args.device, task_of(args))
        if args.task == ADDITION:
            found = accuracies(policy, args.digits, args.eval_problems, args.seed, console=console)
        else:
            evaluations = evaluate_task(policy, task_of(args), args.eval_problems, args.seed, console=console)
            found = [evaluation.accuracy for evaluation in evaluations]
        console.print(accuracy_table(f"Accuracy on {args.eval_problems} test problems, greedy", {"pre-trained": found}))
        run.write_results({"after": {accuracy.kind: accuracy.as_dict() for accuracy in found}})
    console.print(f"The model is in {model}; fine-tune it with", markup=False)
    named = "" if args.task == ADDITION else f" --task {shlex.quote(args.task)}"
    command = f"addition-gym ppo --pretrained {shlex.quote(str(model))}{named}"
    console.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)
    return run.folder
