from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from stable_baselines3.common.logger import configure

from tests.train.helpers import N_EPISODES, events
from train import plot
from train.plot import COLOURS, draw, read_scalars

EPISODES = {100: 8, 250: 16, 300: 24, 500: 32}
"""Timesteps and episodes of the clock."""
CURVES = {
    "eval/accuracy_<=N": {100: 1.0, 300: 0.75},
    "eval/accuracy_N+1": {100: 0.0, 300: 0.5},
    "rollout/success_rate": {100: 0.0, 250: 0.125, 300: 0.25, 500: 0.5},
    "critical/line1_operand1_comma": {100: 0.0625, 250: 0.25, 300: 0.5, 500: 0.75},
    "critical/line1_operand2_comma": {100: 0.125, 250: 0.25, 300: 0.25, 500: 1.0},
    "critical/line1_operand1_digit": {100: 0.5, 500: 0.5},
    "train/loss": {200: 3.0, 275: 2.0},
}


def write_run(folder: Path, shift: float = 0.0) -> Path:
    """Events as a run of ``train.ppo`` leaves them."""
    logger = configure(str(folder), ["tensorboard"])
    for step in sorted({*EPISODES, *(step for curve in CURVES.values() for step in curve)}):
        if step in EPISODES:
            logger.record("time/episodes", EPISODES[step])
        for tag, curve in CURVES.items():
            if step in curve:
                logger.record(tag, curve[step] + shift)
        logger.dump(step)
    logger.close()
    return folder


def test_scalars_over_episodes(tmp_path) -> None:
    """A value that was written between two ticks of the clock stands between their episodes."""
    scalars = read_scalars(write_run(tmp_path))
    assert scalars.keys() == {*CURVES, "time/episodes"}
    between = {200: 8 + 8 * 100 / 150, 275: 20}
    for tag, curve in CURVES.items():
        episodes, values = scalars[tag]
        np.testing.assert_allclose(episodes, [{**EPISODES, **between}[step] for step in curve], rtol=1e-12)
        assert values.tolist() == list(curve.values())


def test_scalars_of_a_real_run(ppo_run) -> None:
    scalars = read_scalars(ppo_run)
    assert scalars.keys() == set(events(ppo_run).Tags()["scalars"])
    episodes, values = scalars["eval/accuracy_<=N"]
    assert episodes.tolist() == [N_EPISODES * (1 + 2 * index) for index in range(len(values))]
    assert values.tolist() == [event.value for event in events(ppo_run).Scalars("eval/accuracy_<=N")]


@pytest.fixture
def figure(monkeypatch):
    """The figure that ``draw`` closes."""
    kept = []
    close = plt.close
    monkeypatch.setattr(plt, "close", kept.append)
    yield lambda: kept[-1]
    close("all")


def test_lines_of_one_run(tmp_path, figure) -> None:
    draw([write_run(tmp_path / "run")], tmp_path / "a.png")
    left, right = figure().axes
    drawn = {line.get_label(): line.get_xydata().tolist() for axes in (left, right) for line in axes.lines}
    wanted = {
        "up to N digits, greedy": "eval/accuracy_<=N",
        "N+1 digits, greedy": "eval/accuracy_N+1",
        "N+1 digits, sampled (training)": "rollout/success_rate",
        "line 1, first operand": "critical/line1_operand1_comma",
        "line 1, second operand": "critical/line1_operand2_comma",
    }
    for label, tag in wanted.items():
        assert drawn[label] == [[EPISODES[step], value] for step, value in CURVES[tag].items()], label
    assert {text.get_text() for axes in (left, right) for text in axes.get_legend().texts} == wanted.keys()
    assert left.get_xlabel() == right.get_xlabel() == "episodes"


def test_mean_of_two_runs(tmp_path, figure) -> None:
    draw([write_run(tmp_path / "one"), write_run(tmp_path / "two", shift=0.25)], tmp_path / "a.png")
    lines = [line for line in figure().axes[0].lines if line.get_color() == COLOURS[2]]
    thin, thick = [line for line in lines if line.get_linewidth() < 1], [line for line in lines if line.get_linewidth() > 1]
    values = np.array(list(CURVES["rollout/success_rate"].values()))
    assert sorted(line.get_ydata().tolist() for line in thin) == [values.tolist(), (values + 0.25).tolist()]
    assert [line.get_ydata().tolist() for line in thick] == [(values + 0.125).tolist()]


def test_picture_shows_the_curves(tmp_path, command, capsys) -> None:
    write_run(tmp_path / "run")
    command(plot, tmp_path / "run", "--output", tmp_path / "curves.png")
    assert str(tmp_path / "curves.png") in capsys.readouterr().out
    pixels = plt.imread(tmp_path / "curves.png")[..., :3]
    assert pixels.shape[0] > 300
    assert pixels.shape[1] > 1000
    for colour in COLOURS[:3]:
        close = np.abs(pixels - np.array(to_rgb(colour))).max(axis=-1) < 0.02
        assert close.sum() > 100, colour


def test_picture_of_a_real_run(ppo_run, command, tmp_path) -> None:
    command(plot, ppo_run, ppo_run, "--output", tmp_path / "curves.png")
    pixels = plt.imread(tmp_path / "curves.png")[..., :3]
    assert (pixels < 1).any(axis=-1).mean() > 0.01


@pytest.mark.parametrize("kind", ["empty", "other events", "missing"])
def test_folder_without_events_of_a_run(kind, tmp_path, command) -> None:
    folder = tmp_path / "run"
    if kind != "missing":
        folder.mkdir()
    if kind == "other events":
        logger = configure(str(folder), ["tensorboard"])
        logger.record("something/else", 1.0)
        logger.dump(1)
        logger.close()
    with pytest.raises(ValueError, match=rf"runs must hold TensorBoard events of train.ppo, but '{folder}' does not"):
        command(plot, folder, "--output", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_no_run_at_all_is_refused(command, tmp_path) -> None:
    with pytest.raises((ValueError, SystemExit)):
        command(plot, "--output", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
