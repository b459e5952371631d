"""What makes two fine-tuning runs the same, but for their seed, and what they have in common before training."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from train.finetuning.arguments import BEFORE_IT_EXISTED, NOT_SCIENCE, PPOArgs
from train.finetuning.finetune import inputs_of
from train.finetuning.tasks import Addition
from train.run.models import Model
from train.run.run import RECORD, read_record

BEFORE = "before"
"""Folder of a store for the accuracies of the pre-trained models."""


def identity(args: PPOArgs) -> dict[str, Any]:
    """All that decides what a run finds out: the arguments except :data:`NOT_SCIENCE`, digests for names of model and own code.

    :raises ValueError: if the pre-trained model does not exist, has no weights, or does not say its N
    """
    model = Model.find(args.pretrained)
    digits = model.digits_or(args.pretrained_digits)
    return _identity({**dataclasses.asdict(args), "pretrained_digits": digits}, inputs_of(args))


def recorded_identity(folder: Path) -> dict[str, Any]:
    """:func:`identity` of a run that was made.

    An argument that was not there yet when it was made has, for that run, its default, or what
    :data:`train.finetuning.arguments.BEFORE_IT_EXISTED` says.
    """
    return _read_identity(folder, (folder / RECORD).stat().st_mtime_ns)


@cache
def _read_identity(folder: Path, changed: int) -> dict[str, Any]:
    """:param changed: when its record was, so that a store is read once however often it is asked"""
    record = read_record(folder, "store")
    return _identity(record["arguments"], {"pretrained": None, **record["inputs"]})


def _identity(arguments: dict[str, Any], inputs: Mapping[str, str | None]) -> dict[str, Any]:
    """As JSON reads it back; 2 and 2.0 are one number, and digests stand for the names of models and of the user's own code."""
    known = {field.name: field.default for field in dataclasses.fields(PPOArgs)} | BEFORE_IT_EXISTED
    found = {name: value for name, value in {**known, **arguments, **inputs}.items() if name not in NOT_SCIENCE}
    found["baseline"] = found["baseline"] or Addition.baseline
    numbers = {name: float(value) if type(value) is int else value for name, value in found.items()}
    comparable: dict[str, Any] = json.loads(json.dumps(numbers, default=str))
    return comparable


def accuracies_before(store: Path, found: Mapping[str, Any]) -> Path:
    """The file in a store with the accuracies before training that runs of one model and one evaluation share.

    :param store: its folder
    :param found: an :func:`identity`
    """
    numbers = (f"{found[name]:.0f}" for name in ("pretrained_digits", "extra_digits", "eval_problems"))
    validation = ["validation"] if found["eval_split"] == "validation" else []
    return store / BEFORE / f"{'-'.join([found['pretrained'][:12], *numbers, *validation])}.json"


def differences(identities: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of the values in which runs differ, seeds aside, in the order of ``train.ppo``."""
    identities = list(identities)
    names = dict.fromkeys(name for each in identities for name in each if name != "seed")
    return [name for name in names if len({json.dumps(each.get(name)) for each in identities}) > 1]


def written(value: object) -> str:
    """A value of an argument as a person would write it: 2 for 2.0."""
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)
