"""A store of fine-tuning runs by configuration, so that nothing is trained twice.

runs/store/<key>/            a run folder of train.ppo; done once it holds results.json; science.json says what it finds out
runs/store/before/           accuracies of the pre-trained models
runs/store/locks/<key>       locked by whoever runs it
runs/store/interrupted/      what runs left that ended before their first checkpoint
"""

import dataclasses
import fcntl
import hashlib
import json
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from train.measure.accuracy import evaluate
from train.ppo import PPOArgs
from train.run.checkpoints import checkpoints
from train.run.models import load_policy, pretrained_digits, resolve_model
from train.run.run import write_json

SCIENCE = "science.json"
"""What a run finds out, in its folder."""

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


def to_flags(args: Any) -> list[str]:
    """The command line that :func:`train.run.arguments.parse` reads back as these arguments.

    :param args: a dataclass of booleans, numbers, strings, paths, ``None`` and tuples of these
    """
    flags = []
    for field in dataclasses.fields(args):
        name, value = field.name.replace("_", "-"), getattr(args, field.name)
        if isinstance(value, bool):
            flags.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, tuple):
            flags += [f"--{name}", *map(str, value)]
        else:
            flags.append(f"--{name}={value}")
    return flags


@cache
def weights_digest(model: Path) -> str:
    """SHA-256 of a model's configuration and weights.

    :param model: its folder
    :raises ValueError: if it has no weights
    """
    weights = sorted(model.glob("*.safetensors"))
    if not weights:
        raise ValueError(f"pretrained must hold weights (*.safetensors), but {str(model)!r} does not: check the path")
    digest = hashlib.sha256()
    for path in (model / "config.json", *weights):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def scientific(args: PPOArgs) -> dict[str, Any]:
    """All that decides what a run finds out: the arguments but :data:`NOT_SCIENCE`, with the weights instead of their path.

    :raises ValueError: if the pre-trained model does not exist, has no weights, or does not say its N
    """
    found = {name: value for name, value in dataclasses.asdict(args).items() if name not in NOT_SCIENCE}
    found["pretrained"] = weights_digest(resolve_model(args.pretrained))
    if args.pretrained_digits is None:
        found["pretrained_digits"] = pretrained_digits(args.pretrained)
    return found


def run_key(args: PPOArgs) -> str:
    """Name of a new run: the weighting, the coefficient and the seed, for people, and a hash of :func:`scientific`."""
    digest = hashlib.sha256(json.dumps(_comparable(scientific(args)), sort_keys=True).encode()).hexdigest()
    return f"{args.weighting}-kl{args.kl_coef:g}-seed{args.seed}-{digest[:12]}"


def _comparable(found: dict[str, Any]) -> dict[str, Any]:
    """As JSON reads it back; 2 and 2.0 are one number."""
    numbers = {name: float(value) if type(value) is int else value for name, value in found.items()}
    comparable: dict[str, Any] = json.loads(json.dumps(numbers, default=str))
    return comparable


@dataclass(frozen=True)
class Store:
    """Runs in a folder."""

    root: Path = Path("runs/store")
    published: Path | None = None
    """More finished runs, only to be read."""

    def folder(self, args: PPOArgs) -> Path:
        """Where the run would be made."""
        return self.root / run_key(args)

    def get(self, args: PPOArgs) -> Path | None:
        """The folder of a finished run with these arguments.

        An argument that was not there yet when a run was made has, for that run, its default: whoever adds one to ``train.ppo``
        gives it a default that changes nothing.
        """
        wanted = _comparable(scientific(args))
        defaults = _comparable({field.name: field.default for field in dataclasses.fields(args)})
        for path in (path for root in (self.root, self.published) if root for path in sorted(root.glob(f"*/{SCIENCE}"))):
            made = {**defaults, **json.loads(path.read_text())}
            if (path.parent / "results.json").is_file() and all(made[name] == value for name, value in wanted.items()):
                return path.parent
        return None

    def lock(self, args: PPOArgs) -> IO[str] | None:
        """Claim a run: an open, locked file, or ``None`` if another process has it.

        The lock lasts until the file is closed here and in all processes that inherited it; the system frees it when they
        die, so there are no stale locks.
        """
        path = self.root / "locks" / run_key(args)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file

    def prepare(self, args: PPOArgs) -> PPOArgs:
        """The arguments that make a run which is locked and not done.

        It goes on where an earlier attempt left a checkpoint; otherwise that is moved aside, and the run gets an empty folder.
        """
        folder = self.folder(args)
        if checkpoints(folder / "checkpoints"):
            return dataclasses.replace(args, run_folder=folder, resume=folder)
        if folder.exists():
            interrupted = self.root / "interrupted"
            interrupted.mkdir(exist_ok=True)
            folder.rename(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=interrupted))
        folder.mkdir(parents=True)
        write_json(folder / SCIENCE, scientific(args))
        return dataclasses.replace(args, run_folder=folder, resume=None)

    def before(self, args: PPOArgs) -> dict[str, float]:
        """Greedy accuracy of the pre-trained model on the held-out problems of a run, by their name; measured once.

        Runs of an experiment share it, and so need not measure it each (``eval_before``).
        """
        science = scientific(args)
        names = (science["pretrained"][:12], str(args.extra_digits), str(args.eval_problems))
        path = self.root / "before" / f"{'-'.join(names)}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # whoever else needs it waits
            if not path.is_file():
                policy = load_policy(resolve_model(args.pretrained), args.device)
                extras = (0, args.extra_digits)
                accuracies = evaluate(policy, science["pretrained_digits"], args.eval_problems, extras=extras)
                write_json(path, {accuracy.problems: accuracy.value for accuracy in accuracies})
        found: dict[str, float] = json.loads(path.read_text())
        return found
