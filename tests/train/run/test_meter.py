"""How far something is, said in time and not too often. The clock is the test's own."""

import io

import pytest
from rich.console import Console

from train import criticality, evaluate, ppo
from train.run import meter as module
from train.run.meter import duration, meter


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass at every step."""
    now = [0.0]

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return pass_by


def lines(clock, seconds: list[float], done: int = 0) -> list[str]:
    """What is printed, a step after each of these times, where there is no terminal."""
    file = io.StringIO()
    with meter(Console(file=file, width=200), "Solving", len(seconds) + done, done) as advance:
        for each in seconds:
            clock(each)
            advance(1)
    return file.getvalue().splitlines()


def test_what_is_done_in_five_seconds_says_nothing(clock) -> None:
    assert lines(clock, [0.04] * 100) == []


def test_a_line_for_every_tenth(clock) -> None:
    found = lines(clock, [2.0] * 100)
    assert found[0] == "Solving: 3 of 100 in 6 seconds, about 3.2 minutes left"
    assert found[1] == "Solving: 13 of 100 in 26 seconds, about 2.9 minutes left"
    assert len(found) == 10
    assert "100 of 100" not in found[-1]  # the result says so


def test_at_least_a_line_a_minute(clock) -> None:
    found = lines(clock, [25.0] * 1000)
    assert len(found) == pytest.approx(25_000 / 75, abs=2)
    assert found[-1].startswith("Solving: 997 of 1,000 in 6.9 hours")


def test_what_was_done_before_takes_no_time(clock) -> None:
    (first, *_) = lines(clock, [10.0] * 10, done=90)
    assert first == "Solving: 91 of 100 in 10 seconds, about 1.5 minutes left"


def test_a_step_that_is_long_in_coming(clock) -> None:
    """Whoever waits for it says that nothing is done yet."""
    file = io.StringIO()
    with meter(Console(file=file, width=200), "Runs", 2) as advance:
        for _ in range(14):
            clock(5.0)
            advance(0)
    assert file.getvalue().splitlines() == ["Runs: 0 of 2 in 5 seconds", "Runs: 0 of 2 in 1.1 minutes"]


def test_a_terminal_has_a_bar_that_goes_away() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100)
    with meter(console, "Solving", 4, done=1) as advance:
        advance(1)
        advance(7)  # a rollout goes beyond the number of tokens that was asked for
    text = file.getvalue()
    assert "Solving" in text
    assert "4/4" in text
    assert "9/4" not in text
    assert text.endswith("\x1b[2K")  # the line is erased


def test_commands_say_how_far_they_are(clock, pretrained, ppo_arguments, command, capsys, tmp_path, monkeypatch) -> None:
    """Where a clock says that every step takes ten seconds."""
    now = module.time.monotonic

    def late() -> float:
        clock(10.0)
        return now()

    monkeypatch.setattr(module.time, "monotonic", late)
    short = ["--extra-digits", 0, "--n-problems", 1, "--n-samples", 1]
    for arguments, said in (
        ([evaluate, "--model", pretrained, "--n-problems", 70, "--distributions", "mixture"], "Evaluating: 64 of 140 in "),
        ([criticality, "--model", pretrained, *short], "Rollouts after wrong tokens: 64 of "),
        ([ppo, *ppo_arguments, "--total-timesteps", 200, "--run-folder", tmp_path / "run"], "Training tokens: "),
    ):
        command(*arguments)
        assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 seconds"), (44.6, "45 seconds"), (360, "6.0 minutes"), (13_000, "3.6 hours")]
)
def test_duration(seconds, text) -> None:
    assert duration(seconds) == text
