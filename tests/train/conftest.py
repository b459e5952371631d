"""A minuscule pre-trained model and a minuscule fine-tuning run, made once for all of these tests."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from policies import GPT2Policy
from tests.train.helpers import PPO_RUN, PRETRAIN_RUN, hugging_face
from train import ppo
from train.pretraining.arguments import PretrainArgs
from train.pretraining.pretrain import MODEL, train
from train.run.models import Model


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory) -> Path:
    """A model of one-digit problems that has room for two digits; it solves some of them."""
    args = PretrainArgs(**PRETRAIN_RUN, run_folder=tmp_path_factory.mktemp("pretrained"))
    return train(args, Console(quiet=True)) / MODEL


@pytest.fixture(scope="session")
def model(pretrained):
    """The same as a plain Hugging Face model."""
    return hugging_face(pretrained)


@pytest.fixture
def policy(pretrained) -> GPT2Policy:
    """The same as a policy."""
    return Model.find(pretrained).load()


@pytest.fixture(scope="session")
def ppo_arguments(pretrained) -> list[str]:
    """A command line of ``train.ppo`` that takes seconds."""
    return ["--pretrained", str(pretrained), *PPO_RUN]


@pytest.fixture(scope="session")
def ppo_run(ppo_arguments, tmp_path_factory) -> Path:
    """The run folder of one ``train.ppo`` through its command line."""
    folder = tmp_path_factory.mktemp("ppo") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train/ppo.py", *ppo_arguments, "--run-folder", str(folder)])
        ppo.main()
    return folder


@pytest.fixture
def command(monkeypatch) -> Callable[..., None]:
    """Run the ``main()`` of a module as the command line would."""
    monkeypatch.setenv("COLUMNS", "300")  # no line of these tests is wrapped

    def run(module: ModuleType, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        module.main()

    return run
