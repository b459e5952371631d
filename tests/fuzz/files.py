"""Cases against whatever reads a file: models, checkpoints, agents, vocabularies, what runs record; and the command lines."""

import contextlib
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel

from addition_gym import PAD_TOKEN_ID, VOCAB_SIZE
from agents import PrioritizedKLPPO
from policies.gpt2 import build_gpt2, gpt2_config
from policies.model_files import load_gpt2, save_gpt2
from tests.fuzz import mutations
from tests.fuzz.documented import UndocumentedError, refused
from train.exporting.export import load_nanogpt
from train.exporting.vocabulary import our_vocabulary
from train.finetuning.arguments import PRESETS as PPO_PRESETS
from train.finetuning.arguments import PPOArgs
from train.pretraining.arguments import PRESETS as PRETRAIN_PRESETS
from train.pretraining.arguments import PretrainArgs
from train.pretraining.checkpoint import Checkpoint
from train.pretraining.pretrain import make_optimizers
from train.run.arguments import parse
from train.run.checkpoints import AGENT, Checkpoints, load_newest_agent
from train.run.log import PROGRESS, Progress
from train.run.models import Model
from train.run.run import RECORD, RESULTS, FinishedRun, Run, arguments_of

POSITIONS = 300
RUN, PRETRAINING = "run", "pretraining"
"""Folders of an interrupted run of each command."""
TABLE = "time/total_timesteps,time/episodes,rollout/success_rate,objective/kl\n100,8,0.5,\n230,16,0.25,1.5\n,,,1.25\n"
"""Of two rollouts."""


class Files:
    """Sound files of every kind, and the cases that damage them.

    :param folder: where to write, empty
    """

    def __init__(self, folder: Path):
        torch.manual_seed(0)
        self.folder = folder
        sizes = dict(n_layer=2, n_head=2, n_embd=8)
        self.model = build_gpt2(gpt2_config(VOCAB_SIZE, POSITIONS, pad_token_id=PAD_TOKEN_ID, **sizes))
        save_gpt2(self.model, folder / "hf")
        (folder / "hf" / "pretraining.json").write_text(json.dumps({"digits": 1}))

        (folder / "nano").mkdir()
        state = {
            name: weight.T.contiguous().clone()
            if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
            else weight.clone()
            for name, weight in self.model.state_dict().items()
        }
        content = {"model": state, "model_args": {**sizes, "vocab_size": VOCAB_SIZE, "block_size": POSITIONS}}
        torch.save(content, folder / "nano" / "ckpt.pt")
        (folder / "nano" / "vocab.json").write_text(json.dumps(our_vocabulary()))

        (folder / "hub").mkdir()
        save_file(state, folder / "hub" / "model.safetensors")
        (folder / "hub" / "config.json").write_text(json.dumps(content["model_args"]))
        (folder / "hub" / "vocab.json").write_text(json.dumps(our_vocabulary()))

        begin("pretrain", PretrainArgs(run_folder=folder / PRETRAINING))
        self.optimizers, self.average = make_optimizers(self.model, PretrainArgs(), 1.0), AveragedModel(self.model)
        checkpoints = Checkpoints(folder / PRETRAINING, ".pt")
        checkpoints.save("first", 3, Checkpoint.of("first", 3, self.model, self.optimizers, self.average).save)
        (self.checkpoint,) = checkpoints.paths()

        begin("ppo", PPOArgs(pretrained_digits=5, run_folder=folder / RUN))
        (folder / RUN / RESULTS).write_text(json.dumps({"before": {"N+1": {"solved": 1, "total": 4, "accuracy": 0.25}}}))
        (folder / RUN / PROGRESS).write_text(TABLE)
        agent = PrioritizedKLPPO(
            "GPT2Policy",
            "ScratchpadAdd-v0",
            n_episodes=1,
            batch_size=1,
            policy_kwargs=dict(n_layer=1, n_head=1, n_embd=4, value_net_arch=(3,), pad_token_id=PAD_TOKEN_ID),
            seed=0,
            device="cpu",
        )
        agent.save(folder / RUN / AGENT)
        self.cases: list[tuple[int, Callable[[np.random.Generator], None]]] = [
            (30, self.pretrained),
            (25, self.nanogpt),
            (10, self.pretraining_checkpoint),
            (15, self.agent),
            (3, self.newest_agent),
            (12, self.run_record),
            (3, self.progress),
            (5, self.command_line),
        ]
        self.sound()

    def sound(self) -> None:
        """What is not damaged is read."""
        for name in ("hf", RUN):
            model = Model.find(self.folder / name)
            model.load()
            assert model.pretrained_digits
        for name in ("nano", "hub"):
            load_nanogpt(self.folder / name, None, "gelu")
        Checkpoint.load(self.checkpoint).restore(self.model, self.optimizers, self.average)
        assert load_newest_agent(self.folder / RUN, "cpu")
        for name, arguments, folder in COMMANDS:
            resume(name, arguments, self.folder / folder)
        Progress(self.folder / RUN).curve("objective/kl")

    def case(self, rng: np.random.Generator) -> None:
        """One of them."""
        weights = np.array([weight for weight, _ in self.cases], dtype=float)
        self.cases[rng.choice(len(self.cases), p=weights / weights.sum())][1](rng)

    def pretrained(self, rng: np.random.Generator) -> None:
        """A folder in Hugging Face format."""
        folder = self.folder / "hf"
        name = mutations.pick(rng, ("config.json", "config.json", "model.safetensors", "model.safetensors", "pretraining.json"))
        with damaged(rng, folder / name):
            refused(("pretrained", "model"), load_gpt2, folder, VOCAB_SIZE, POSITIONS, PAD_TOKEN_ID)
            refused(("pretrained", "model", "digits"), lambda: Model.find(folder).pretrained_digits)

    def nanogpt(self, rng: np.random.Generator) -> None:
        """A nanoGPT checkpoint, and its vocabulary."""
        folder, names = mutations.pick(
            rng,
            [
                (self.folder / "nano", ("ckpt.pt", "ckpt.pt", "vocab.json")),
                (self.folder / "hub", ("model.safetensors", "config.json", "vocab.json")),
            ],
        )
        with damaged(rng, folder / mutations.pick(rng, names)):
            refused(("checkpoint", "state", "vocabulary", "rows", "n_head", "model"), load_nanogpt, folder, None, "gelu")

    def pretraining_checkpoint(self, rng: np.random.Generator) -> None:
        """What ``train.pretrain --resume`` reads."""
        with damaged(rng, self.checkpoint):
            refused(
                ("checkpoint",), lambda: Checkpoint.load(self.checkpoint).restore(self.model, self.optimizers, self.average)
            )

    def agent(self, rng: np.random.Generator) -> None:
        """A saved agent whose policy is read."""
        path = self.folder / RUN / AGENT
        with damaged(rng, path):
            refused(("model", "pretrained", "temperature", "pad_token_id"), lambda: Model.find(path).load())

    def newest_agent(self, rng: np.random.Generator) -> None:
        """What ``train.ppo --resume`` reads; only damaged by accident, since it is a pickle."""
        path = self.folder / RUN / AGENT
        sound = path.read_bytes()
        try:
            path.write_bytes(mutations.blob(rng, sound))
            refused(("resume",), load_newest_agent, path.parent, "cpu")
        finally:
            path.write_bytes(sound)

    def run_record(self, rng: np.random.Generator) -> None:
        """What ``--resume`` reads first, and what others read of a run."""
        name, arguments, folder = mutations.pick(rng, COMMANDS)
        run = self.folder / folder
        files = [path for path in (run / RECORD, run / RESULTS) if path.is_file()]
        with damaged(rng, mutations.pick(rng, files)):
            refused(("resume", "run"), resume, name, arguments, run)
            refused(("run",), FinishedRun, run)
            refused(("model", "pretrained_digits"), lambda: Model.find(self.folder / RUN).pretrained_digits)

    def progress(self, rng: np.random.Generator) -> None:
        """The table of a run."""
        with damaged(rng, self.folder / RUN / PROGRESS):
            refused(("run", "column"), lambda: Progress(self.folder / RUN).curve("objective/kl"))

    def command_line(self, rng: np.random.Generator) -> None:
        """Flags and values of any kind: arguments, or exit status 2 and a message; resume stands alone."""
        presets: Any = mutations.pick(rng, (PPO_PRESETS, PRETRAIN_PRESETS))
        fields = list(next(iter(presets.values())).__dataclass_fields__)
        words = []
        for _ in range(rng.integers(1, 5)):
            flag = "--" + mutations.pick(rng, fields).replace("_", "-")
            words += [flag if rng.random() < 0.9 else flag[: rng.integers(1, len(flag))]]
            words += [mutations.pick(rng, mutations.WORDS)] * int(rng.integers(3))
        errors = io.StringIO()
        try:
            with contextlib.redirect_stdout(errors), contextlib.redirect_stderr(errors):
                parse(presets, "", words)
        except SystemExit as end:
            if end.code not in (0, 2) or not errors.getvalue():
                raise UndocumentedError(f"{words} ended with status {end.code!r} and said {errors.getvalue()!r}") from end
        except BaseException as error:
            if isinstance(error, ValueError) and re.search("must be (the folder of a|that of the) run", str(error)):
                return
            raise UndocumentedError(f"{words} raised {type(error).__name__}: {str(error)[:300]}") from error


COMMANDS: list[tuple[str, Any, str]] = [("ppo", PPOArgs, RUN), ("pretrain", PretrainArgs, PRETRAINING)]
"""With their arguments, and the folder of an interrupted run."""


def begin(name: str, args: Any) -> None:
    """Begin a run, and leave it."""
    with Run.start(name, args, {args.preset: args}, Console(quiet=True)):
        pass


def resume(name: str, arguments: Any, folder: Path) -> None:
    """Resume a run, and leave it as it was."""
    args = arguments_of(arguments, folder)
    record = (folder / RECORD).read_bytes()
    try:
        begin(name, args)
    finally:
        (folder / RECORD).write_bytes(record)


@contextlib.contextmanager
def damaged(rng: np.random.Generator, path: Path):
    """A file is changed, and put right again."""
    sound = path.read_bytes()
    in_depth = rng.random() < 0.7
    if path.suffix == ".json" and in_depth:
        content = mutations.json_text(rng, json.loads(sound)).encode()
    elif path.suffix == ".safetensors" and in_depth:
        content = mutations.safetensors(rng, sound)
    elif zipfile.is_zipfile(io.BytesIO(sound)) and in_depth:
        content = archive(rng, sound)
    else:
        content = mutations.blob(rng, sound)
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(sound)


def archive(rng: np.random.Generator, sound: bytes) -> bytes:
    """A zip file in which a member is changed and its checksum is right."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(sound)) as source, zipfile.ZipFile(changed, "w", mutations.pick(rng, (0, 0, 8))) as target:
        members = {info.filename: source.read(info) for info in source.infolist()}
        texts = [name for name in members if name.endswith(("data", "data.pkl", ".pth"))]
        chosen = mutations.pick(rng, texts if rng.random() < 0.8 else list(members))
        for name, content in members.items():
            if name == chosen and content[:1] == b"{":
                whole = json.loads(content)
                arguments = mutations.json_text(rng, whole["policy_kwargs"])
                content = json.dumps({**whole, "policy_kwargs": "@"}).replace('"@"', arguments, 1).encode()
            elif name == chosen and content[:2] == b"PK":
                content = archive(rng, content)
            elif name == chosen:
                content = mutations.blob(rng, content)
            if name != chosen or rng.random() < 0.95:
                target.writestr(name, content)
    return changed.getvalue()
