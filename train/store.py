"""A store of fine-tuning runs by configuration, so that nothing is trained twice.

::

    runs/store/<key>/            a run folder of train.ppo; done once it holds results.json
    runs/store/locks/<key>       locked by whoever runs it
    runs/store/interrupted/      what runs that did not finish left behind
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

from train.model_folder import pretrained_digits, resolve_model
from train.ppo import PPOArgs

NOT_SCIENCE = ("preset", "device", "max_batch_tokens", "run_folder")
"""Arguments that do not change what a run finds out, rounding aside. The preset only says where the others come from."""


def to_flags(args: Any) -> list[str]:
    """The command line that :func:`train.presets.parse` reads back as these arguments.

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
def _weights_digest(model: Path) -> str:
    """SHA-256 of a model's configuration and weights."""
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
    found["pretrained"] = _weights_digest(resolve_model(args.pretrained))
    if args.pretrained_digits is None:
        found["pretrained_digits"] = pretrained_digits(args.pretrained)
    return found


def run_key(args: PPOArgs) -> str:
    """Name of a run: the coefficient and the seed, for people, and a hash of :func:`scientific`.

    A new argument of ``train.ppo`` makes new keys: nobody but its author could say whether old runs still answer for it.
    """
    # 2 and 2.0 are one number
    numbers = {name: float(value) if type(value) is int else value for name, value in scientific(args).items()}
    digest = hashlib.sha256(json.dumps(numbers, sort_keys=True, default=str).encode()).hexdigest()
    return f"kl{args.kl_coef:g}-seed{args.seed}-{digest[:12]}"


@dataclass(frozen=True)
class Store:
    """Runs in a folder."""

    root: Path = Path("runs/store")

    def folder(self, args: PPOArgs) -> Path:
        """Where the run is, or would be."""
        return self.root / run_key(args)

    def get(self, args: PPOArgs) -> Path | None:
        """The run folder if the run is done."""
        folder = self.folder(args)
        return folder if (folder / "results.json").is_file() else None

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

    def fresh_folder(self, args: PPOArgs) -> Path:
        """An empty folder for a run that is locked and not done; what an earlier attempt left is moved aside."""
        folder = self.folder(args)
        if folder.exists():
            interrupted = self.root / "interrupted"
            interrupted.mkdir(exist_ok=True)
            folder.rename(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=interrupted))
        folder.mkdir(parents=True)
        return folder
