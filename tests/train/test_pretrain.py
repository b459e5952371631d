import json
import math
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from addition_gym import PAD_TOKEN_ID, VOCAB_SIZE, encode, prompt, solution
from policies.gpt2 import build_gpt2, gpt2_config
from policies.model_files import load_gpt2
from tests.train.helpers import (
    PRETRAIN_RUN,
    SHORT,
    budget,
    hugging_face,
    next_token_log_probs,
    same_weights,
    trained_weights,
    weights,
)
from train import pretrain
from train.measure.accuracy import accuracies
from train.pretraining import pretrain as pretraining
from train.pretraining.arguments import PretrainArgs
from train.pretraining.muon import Muon
from train.pretraining.pretrain import learning_rate_factor, make_optimizers, next_token_loss
from train.run.arguments import parse
from train.run.models import Model
from train.run.process import Interrupted
from train.run.run import is_finished

FLAGS = [part for name, value in PRETRAIN_RUN.items() for part in (f"--{name.replace('_', '-')}", value)]


def small_model(n_positions: int = 193):
    torch.manual_seed(0)
    return build_gpt2(gpt2_config(VOCAB_SIZE, n_positions, n_layer=2, n_head=2, n_embd=16, pad_token_id=PAD_TOKEN_ID))


def nats_per_token(model, problems) -> float:
    """Cross-entropy of the solutions, prefix by prefix."""
    losses = []
    for problem in problems:
        question, worked = prompt(*problem), solution(*problem)
        for position, token in enumerate(encode(worked)):
            losses.append(-float(next_token_log_probs(model, question + worked[:position])[token]))
    return float(np.mean(losses))


def pretrained_in(folder: Path, *flags: str) -> Path:
    """One run through the command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["train/pretrain.py", *map(str, FLAGS), *flags, "--run-folder", str(folder)])
        pretrain.main()
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return pretrained_in(tmp_path_factory.mktemp("pretrain") / "run", "--eval-problems", "15")


TWO_STAGES = ["--steps", "10", "--origin-steps", "10", "--eval-problems", "2"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run that nothing stopped."""
    return pretrained_in(tmp_path_factory.mktemp("pretrain") / "whole", *TWO_STAGES)


def same_model(run: Path, whole: Path) -> bool:
    """Bit for bit."""
    ours, theirs = (load_file(folder / "model" / "model.safetensors") for folder in (run, whole))
    return ours.keys() == theirs.keys() and all(torch.equal(weight, theirs[name]) for name, weight in ours.items())


def test_files(run) -> None:
    assert {path.name for path in run.iterdir()} == {"run.json", "results.json", "model", "lock"}
    assert {"config.json", "model.safetensors", "pretraining.json"} <= {path.name for path in (run / "model").iterdir()}
    record = json.loads((run / "run.json").read_text())
    assert record["arguments"].items() >= PRETRAIN_RUN.items()
    words = record["command"].split()
    assert words[:3] == ["python", "-m", "train.pretrain"]
    assert parse(pretrain.PRESETS, "", words[3:]) == PretrainArgs(**{**PRETRAIN_RUN, "eval_problems": 15})


def test_folder_says_how_it_was_made(run) -> None:
    record = json.loads((run / "model" / "pretraining.json").read_text())
    for name in PRETRAIN_RUN.keys() - {"device"}:  # where it was trained is for the run folder to say
        assert record[name] == PRETRAIN_RUN[name], name
    assert record["n_positions"] == budget(2)
    assert Model.find(run / "model").pretrained_digits == 1


def test_loss_falls(run) -> None:
    """From log(V), about 3.7 nats, to less than 0.6: measured on problems it was trained on, prefix by prefix."""
    problems = [(3, 4), (9, 8)]
    assert nats_per_token(small_model(), problems) == pytest.approx(math.log(VOCAB_SIZE), abs=0.3)
    assert nats_per_token(hugging_face(run / "model"), problems) < 0.6
    assert json.loads((run / "model" / "pretraining.json").read_text())["loss"] < 0.6


def test_model_loads_and_results_are_its_accuracies(run) -> None:
    model = load_gpt2(run / "model", VOCAB_SIZE, budget(2), PAD_TOKEN_ID)
    config = model.config
    assert (config.n_layer, config.n_head, config.n_embd, config.n_positions) == (1, 2, 32, budget(2))
    assert same_weights(weights(model), weights(hugging_face(run / "model")))
    results = json.loads((run / "results.json").read_text())["after"]
    measured = accuracies(Model.find(run / "model").load(), 1, 15, seed=0)
    assert results.keys() == {"<=N", "N+1"} == {accuracy.kind for accuracy in measured}
    for accuracy in measured:
        found = results[accuracy.kind]
        assert (found["solved"], found["total"]) == (accuracy.solved, 15)
        assert tuple(found["interval"]) == accuracy.interval


def test_prints_how_it_goes(command, capsys, tmp_path) -> None:
    arguments = {**SHORT, "steps": 101}
    flags = [part for name, value in arguments.items() for part in (f"--{name.replace('_', '-')}", value)]
    command(pretrain, *flags, "--eval-problems", 3, "--run-folder", tmp_path)
    out = capsys.readouterr().out
    assert "step   100 of 101  loss" in out
    loss = json.loads((tmp_path / "model" / "pretraining.json").read_text())["loss"]
    assert f"step   101 of 101  loss {loss:.4f}" in out
    assert "<=N" in out
    assert f"addition-gym ppo --pretrained {tmp_path / 'model'}" in out


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_same_seed_same_weights(optimizer, tmp_path) -> None:
    found = []
    for index, seed in enumerate((0, 0, 1)):
        found.append(trained_weights(tmp_path / str(index), seed=seed, optimizer=optimizer))
    assert same_weights(found[0], found[1])
    assert not same_weights(found[0], found[2])


@pytest.mark.parametrize("dies_after", [3, 7, 12, 17])
def test_resumed_is_the_uninterrupted_run_bit_for_bit(dies_after, whole, command, tmp_path, monkeypatch) -> None:
    losses = 0

    def dying(*inputs):
        nonlocal losses
        losses += 1
        if losses > dies_after:
            raise KeyboardInterrupt
        return next_token_loss(*inputs)

    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "next_token_loss", dying)
        with pytest.raises(KeyboardInterrupt):
            command(pretrain, "--run-folder", tmp_path / "died", *FLAGS, *TWO_STAGES, "--checkpoint-every", 3)
    command(pretrain, "--resume", tmp_path / "died")
    assert same_model(tmp_path / "died", whole)
    assert not (tmp_path / "died" / "checkpoints").exists()


@pytest.mark.parametrize(("stopped_at", "number"), [(4, signal.SIGINT), (10, signal.SIGTERM), (14, signal.SIGTERM)])
def test_a_signal_saves_and_ends(stopped_at, number, whole, command, tmp_path, monkeypatch, capsys) -> None:
    """In either stage, and at the last step of the first one, after which the second begins."""
    steps, before = 0, signal.getsignal(number)

    def interrupted(*inputs):
        nonlocal steps
        steps += 1
        if steps == stopped_at:
            signal.raise_signal(number)
        return next_token_loss(*inputs)

    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "next_token_loss", interrupted)
        with pytest.raises(Interrupted):
            command(pretrain, "--run-folder", tmp_path / "run", *FLAGS, *TWO_STAGES)
    assert steps == stopped_at + (stopped_at == 10)
    assert f"{number.name}: saved; resume with  addition-gym pretrain --resume {tmp_path / 'run'}" in capsys.readouterr().out
    assert signal.getsignal(number) == before
    command(pretrain, "--resume", tmp_path / "run")
    assert same_model(tmp_path / "run", whole)


@pytest.mark.parametrize("stopped_in", ["the last step", "the evaluation"])
def test_a_finished_model_is_only_evaluated(stopped_in, command, tmp_path, monkeypatch) -> None:
    flags = [*map(str, FLAGS), "--steps", "3", "--origin-steps", "0", "--eval-problems", "2", "--run-folder", tmp_path / "run"]

    def last_step(*inputs):
        signal.raise_signal(signal.SIGTERM)
        return next_token_loss(*inputs)

    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if stopped_in == "the evaluation":
            patch.setattr(pretraining, "accuracies", stopped)
        else:
            losses = iter([next_token_loss, next_token_loss, last_step])
            patch.setattr(pretraining, "next_token_loss", lambda *inputs: next(losses)(*inputs))
        with pytest.raises((Interrupted, KeyboardInterrupt)):
            command(pretrain, *flags)
    trained = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    assert not is_finished(tmp_path / "run")
    monkeypatch.setattr(pretraining, "pretrain", stopped)
    command(pretrain, "--resume", tmp_path / "run")
    assert is_finished(tmp_path / "run")
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == trained


def test_resume_needs_a_run(command, tmp_path) -> None:
    with pytest.raises(ValueError, match="resume must be the folder of a run"):
        command(pretrain, "--resume", tmp_path)


def test_a_run_that_is_done_is_not_made_again(command, run) -> None:
    with pytest.raises(ValueError, match="is done: start a new run"):
        command(pretrain, "--resume", run)


def test_optimizers_differ(tmp_path) -> None:
    models = []
    for change in ({"optimizer": "muon"}, {"optimizer": "adamw"}, {"optimizer": "adamw", "autocast": True}):
        models.append(trained_weights(tmp_path / str(len(models)), **change))
    assert not same_weights(models[0], models[1])
    assert not same_weights(models[1], models[2])
    for name, weight in models[1].items():
        np.testing.assert_allclose(models[2][name], weight, atol=0.1)  # bfloat16 changes little
        assert weight.dtype == models[2][name].dtype == np.float32


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_every_weight_has_one_optimizer(optimizer) -> None:
    model = small_model()
    optimizers = make_optimizers(model, PretrainArgs(**{**PRETRAIN_RUN, "optimizer": optimizer, "weight_decay": 0.3}))
    names = {parameter: name for name, parameter in model.named_parameters()}
    settings = {}
    for each in optimizers:
        for group in each.param_groups:
            for parameter in group["params"]:
                assert names[parameter] not in settings
                settings[names[parameter]] = (type(each), group["weight_decay"], group["lr"])
    assert settings.keys() == set(names.values())
    for name, (kind, decay, rate) in settings.items():
        matrix_of_a_block = name.startswith("transformer.h.") and name.endswith("weight") and ".ln_" not in name
        is_muon = optimizer == "muon" and matrix_of_a_block
        assert (kind is Muon) == is_muon, name
        assert rate == (PRETRAIN_RUN["muon_learning_rate"] if is_muon else PRETRAIN_RUN["learning_rate"]), name
        is_matrix = matrix_of_a_block or name in ("transformer.wte.weight", "transformer.wpe.weight")
        assert decay == (0.3 if is_matrix else 0.0), name


def test_learning_rate_rises_then_falls_to_a_tenth() -> None:
    factors = [learning_rate_factor(step, 1000, 100) for step in range(1000)]
    assert factors[0] == pytest.approx(0.01, rel=1e-3)
    assert factors[49] == pytest.approx(0.5, rel=0.01)
    assert factors[500] == pytest.approx(0.55)
    assert factors[-1] == pytest.approx(0.1, rel=1e-3)
    peak = int(np.argmax(factors))
    assert 98 <= peak <= 100
    assert (np.diff(factors[: peak + 1]) > 0).all()
    assert (np.diff(factors[peak:]) < 0).all()
    assert learning_rate_factor(0, 10, 0) == 1  # no warm-up


def test_loss_is_the_mean_over_completion_tokens() -> None:
    """Two blocks, of two examples and of one, against Hugging Face's forward of each prefix of each block."""
    model = small_model(n_positions=300)
    blocks, starts, length = [[(1, 2), (3, 4)], [(9, 9)]], [0, 43], 250
    tokens = torch.full((2, length + 1), PAD_TOKEN_ID)
    mask = torch.zeros(2, length + 1, dtype=torch.bool)
    losses = []
    for row, (problems, start) in enumerate(zip(blocks, starts, strict=True)):
        text = ""
        for problem in problems:
            text += prompt(*problem)
            for character in solution(*problem):
                losses.append(-float(next_token_log_probs(model, text, start)[encode(character)[0]]))
                mask[row, len(text)] = True
                text += character
        tokens[row, : len(text)] = torch.from_numpy(encode(text))
    positions = torch.tensor(starts)[:, None] + torch.arange(length)
    assert float(next_token_loss(model, tokens, mask, positions)) == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--digits", "0"], "digits must be >= 1"),
        (["--n-head", "5"], "n_embd must be a multiple of n_head"),
        (["--digits", "3", "--longest-digits", "2"], "longest_digits"),
        (["--steps", "0"], "steps"),
        (["--warmup-steps", "-5"], "warmup_steps must be >= 0"),
        (["--learning-rate", "nan"], "learning_rate must be >= 0 and finite"),
        (["--seed", "-1"], "seed must lie in"),
        (["--origin-share", "1.5"], "origin_share must lie in"),
        (["--gap-share", "-0.1"], "gap_share must lie in"),
        (["--average-decay", "1"], "average_decay must lie in"),
        (["--pretrained", "nowhere"], "pretrained must be one of .*'tiny' or the folder"),
        (["--pretrained", "tiny"], "n_layer must be that of the model to start from, 3, but it is 1"),
        (
            ["--pretrained", "tiny", "--n-layer", "3", "--n-head", "4", "--n-embd", "128"],
            "longest_digits must give at least the 673 positions of the model to start from",
        ),
        (["--device", "foo"], "device must be one that torch can use here, but it is 'foo'"),
    ],
)
def test_bad_arguments(change, message, command, tmp_path) -> None:
    """A ``ValueError`` that names the argument, before any training."""
    with pytest.raises(ValueError, match=message):
        command(pretrain, *FLAGS, "--steps", 3, "--run-folder", tmp_path / "run", *change)
    assert not (tmp_path / "run").exists()


def test_start_that_fails_can_be_repeated(command, tmp_path) -> None:
    """The run folder of a command that was refused is no run: the corrected command may use it."""
    flags = [*FLAGS, "--steps", 1, "--eval-problems", 1, "--run-folder", tmp_path / "run"]
    with pytest.raises(ValueError, match="n_head"):
        command(pretrain, *flags, "--n-head", 5)
    command(pretrain, *flags)
    assert (tmp_path / "run" / "results.json").exists()


def test_next_command_is_printed_on_one_line(command, tmp_path, capsys, monkeypatch) -> None:
    """It is there to be copied, however narrow the terminal and long the path."""
    monkeypatch.setenv("COLUMNS", "40")
    command(pretrain, *FLAGS, "--steps", 1, "--eval-problems", 1, "--run-folder", tmp_path / "run")
    assert f"addition-gym ppo --pretrained {tmp_path / 'run' / 'model'}" in capsys.readouterr().out
