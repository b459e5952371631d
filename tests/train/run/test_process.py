"""Every command tells a user's mistake in one line, with status 2, and a failure with status 1."""

import runpy
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from train.run import process
from train.run.process import Interrupted, TrainingFailed, run_command


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("ppo", ["--kl-coef", "-1"], "kl_coef must be >= 0"),
        ("ppo", ["--resume", "nowhere"], "resume must be the folder of a run"),
        ("pretrain", ["--digits", "0"], "digits must be"),
        ("evaluate", ["--n-samples", "0"], "n_samples must be >= 1"),
        ("evaluate", ["--device", "foo"], "device must be one that torch can use here"),
        ("inspect", ["-1", "4"], "operand a must be >= 0"),
        ("export", ["--output", "out", "--model", "nowhere"], "'nowhere'"),
        ("plot", ["nowhere"], "run must be a run folder of train.ppo"),
        ("compare", ["matched-budget", "--seeds", "0"], "seeds must be >= 1"),
        ("sweep", ["--seeds", "0"], "seeds must be >= 1"),
        ("reproduce", ["fig-1", "--seeds", "0"], "seeds must be >= 1"),
        ("criticality", ["--n-samples", "0"], "n_samples must be >= 1"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*found in sys.modules.*:RuntimeWarning")
def test_mistakes(name, arguments, message, monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_module(f"train.{name}", run_name="__main__")
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("no"), 2), (TypeError("no"), 2), (OSError("no"), 1), (ImportError("no"), 1), (TrainingFailed("no"), 1)],
)
def test_status(error, status, capsys, monkeypatch) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as exit_:
        run_command(main)
    assert exit_.value.code == status
    assert capsys.readouterr().err == "error: no\n"
    monkeypatch.setattr(process, "sys", SimpleNamespace(flags=SimpleNamespace(dev_mode=True), argv=["test"], stdout=sys.stdout))
    with pytest.raises(type(error)):
        run_command(main)


def test_status_of_an_interrupted_run() -> None:
    """As a shell's, which Slurm scripts look at."""

    def main() -> None:
        raise Interrupted(15)

    with pytest.raises(SystemExit) as exit_:
        run_command(main)
    assert exit_.value.code == 143


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_at_once(number, capsys) -> None:
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as exit_:
        run_command(lambda: signal.raise_signal(number))
    assert exit_.value.code == 128 + number
    assert capsys.readouterr().err == f"stopped by {number.name}\n"
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("command", [["train", "inspect", "13", "4"], ["train.ppo", "--help"]])
def test_a_reader_that_goes_away_is_no_error(command) -> None:
    started = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    started.stdout.close()
    assert started.stderr.read() == ""
    started.stderr.close()
    assert started.wait() in (1, 128 + signal.SIGPIPE)


def test_the_end_is_left_alone() -> None:
    run_command(lambda: None)
