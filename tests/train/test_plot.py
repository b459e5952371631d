import csv
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from tests.train.experiment.made_up_runs import write_record
from tests.train.helpers import N_EPISODES, events
from train import plot
from train.experiment.frames import load_runs
from train.finetuning.arguments import PPOArgs
from train.measure.curves import draw, mean_curve
from train.measure.pictures import COLOURS, STYLES
from train.run.log import Progress

EPISODES = [8, 16, 24, 32]
"""At the end of each rollout."""
CURVES = {
    "eval/accuracy_<=N": [1.0, None, 0.75, None],
    "eval/accuracy_N+1": [0.0, None, 0.5, None],
    "rollout/success_rate": [0.0, 0.125, 0.25, 0.5],
    "critical/line1_operand1_comma": [0.0625, 0.25, 0.5, 0.75],
    "critical/line1_operand2_comma": [0.125, 0.25, 0.25, 1.0],
    "critical/line1_operand1_digit": [0.5, None, None, 0.5],
}


def write_run(folder: Path, shift: float = 0.0, rollouts: int = 4, **arguments: object) -> Path:
    """The record and the table that a run of ``train.ppo`` leaves."""
    write_record(folder, PPOArgs(**arguments))
    columns = {"time/episodes": EPISODES, **CURVES}
    with (folder / "progress.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in range(rollouts):
            found = {name: values[row] for name, values in columns.items() if values[row] is not None}
            writer.writerow({name: value if name == "time/episodes" else value + shift for name, value in found.items()})
    return folder


def test_curves_of_a_real_run_are_those_of_tensorboard(ppo_run) -> None:
    """The table writes what an update recorded one row behind it, TensorBoard at the step of that row."""
    progress, shown = Progress(ppo_run), events(ppo_run)
    tags = shown.Tags()["scalars"]
    assert {"eval/accuracy_<=N", "rollout/success_rate", "tokens/critical/mean", "objective/kl", "train/loss"} <= set(tags)
    for tag in tags:
        if not tag.startswith("accuracy/"):  # before and after training
            values = [event.value for event in shown.Scalars(tag)]
            np.testing.assert_allclose(progress.curve(tag.removeprefix("tokens/"))[1], values, rtol=1e-6, err_msg=tag)
    episodes, values = progress.curve("eval/accuracy_<=N")
    assert episodes.tolist() == [N_EPISODES * (1 + 2 * index) for index in range(len(values))]
    for column in ("rollout/success_rate", "objective/kl"):
        episodes, values = progress.curve(column)
        assert episodes.tolist() == [N_EPISODES * (1 + index) for index in range(len(values))]
    assert len(values) >= 2


@pytest.fixture
def figure(monkeypatch):
    """The figure that ``draw`` closes."""
    kept = []
    close = plt.close
    monkeypatch.setattr(plt, "close", kept.append)
    yield lambda: kept[-1]
    close("all")


def test_lines_of_one_run(tmp_path, figure) -> None:
    draw(*load_runs(write_run(tmp_path / "run")), tmp_path / "a.png")
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
        points = [[episodes, value] for episodes, value in zip(EPISODES, CURVES[tag], strict=True) if value is not None]
        assert drawn[label] == points, label
    assert {text.get_text() for axes in (left, right) for text in axes.get_legend().texts} == wanted.keys()
    assert left.get_xlabel() == right.get_xlabel() == "episodes"


def test_mean_of_two_runs(tmp_path, figure) -> None:
    runs = write_run(tmp_path / "one", seed=1), write_run(tmp_path / "two", shift=0.25, seed=2)
    draw(*load_runs(*runs), tmp_path / "a.png")
    lines = [line for line in figure().axes[0].lines if line.get_color() == COLOURS[2]]
    thin, thick = [line for line in lines if line.get_linewidth() < 1], [line for line in lines if line.get_linewidth() > 1]
    values = np.array(CURVES["rollout/success_rate"])
    assert sorted(line.get_ydata().tolist() for line in thin) == [values.tolist(), (values + 0.25).tolist()]
    assert [line.get_ydata().tolist() for line in thick] == [(values + 0.125).tolist()]


def test_a_mean_stops_where_one_run_has_no_more_data() -> None:
    """Nothing is held, and nothing is drawn beyond what was measured; between its points a run is interpolated."""
    short, long = ([8, 16], [0.2, 0.4]), ([8, 12, 24], [0.0, 1.0, 0.0])
    episodes, values = mean_curve([tuple(map(np.array, curve)) for curve in (short, long)])
    assert episodes.tolist() == [8, 12, 16]
    assert values == pytest.approx([0.1, 0.65, (0.4 + 2 / 3) / 2])
    apart = mean_curve([(np.array([1, 2]), np.ones(2)), (np.array([3, 4]), np.ones(2))])
    assert [len(found) for found in apart] == [0, 0]


def test_a_short_run_ends_the_mean_and_not_the_long_one(tmp_path, figure) -> None:
    runs = write_run(tmp_path / "long", seed=1), write_run(tmp_path / "short", rollouts=2, seed=2)
    draw(*load_runs(*runs), tmp_path / "a.png")
    lines = {line.get_linewidth(): line for line in figure().axes[0].lines if line.get_label().startswith("N+1 digits, s")}
    assert lines[2].get_xdata().tolist() == EPISODES[:2]


def test_other_configurations_are_never_averaged(tmp_path, figure) -> None:
    """Each has a colour and a dash of its own, and the legend names what differs."""
    for seed in (0, 1):
        write_run(tmp_path / f"low-{seed}", seed=seed, kl_coef=0.2)
        write_run(tmp_path / f"none-{seed}", shift=0.25, seed=seed, kl_coef=0.0, weighting="none")
    draw(*load_runs(tmp_path), tmp_path / "a.png")
    names = ["kl_coef=0.2 weighting=prioritized (2 runs)", "kl_coef=0 weighting=none (2 runs)"]
    assert [text.get_text() for text in figure().legends[0].get_texts()] == names
    success = next(axes for axes in figure().axes if "sampled" in axes.get_title())
    thick = {line.get_label(): line for line in success.lines if line.get_linewidth() > 1}
    for index, name in enumerate(names):
        assert thick[name].get_ydata() == pytest.approx(np.array(CURVES["rollout/success_rate"]) + 0.25 * index)
        assert thick[name].get_color() == STYLES[index][0]
    assert [axes.get_title() for axes in figure().axes] == [
        "accuracy on longer numbers, greedy",
        "accuracy on up to N digits, greedy",
        "success in training, sampled",
    ]


def test_a_long_legend_is_not_cut_off(tmp_path, figure) -> None:
    for name in ("a", "b"):
        certainty = "max_prob" if name == "a" else "min_entropy"
        write_run(tmp_path / name, weighting=f"{name * 150}:weights", certainty=certainty, learning_rate=ord(name))
    draw(*load_runs(tmp_path), tmp_path / "a.png")
    drawn = figure()
    (legend,) = drawn.legends
    box, whole = legend.get_window_extent(), drawn.bbox
    assert len(legend.get_texts()) == 2
    assert whole.x0 <= box.x0
    assert box.x1 <= whole.x1
    assert whole.y0 <= box.y0


def test_a_single_measurement_is_seen(tmp_path, command) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "progress.csv").write_text("time/episodes,rollout/success_rate\n8,0.5\n")
    command(plot, run, "--output", tmp_path / "a.png")
    pixels = plt.imread(tmp_path / "a.png")[..., :3]
    close = np.abs(pixels - np.array(to_rgb(STYLES[0][0]))).max(axis=-1) < 0.02
    assert close[: pixels.shape[0] * 3 // 4].sum() > 50  # the legend is below


def test_a_run_of_another_task(tmp_path, figure) -> None:
    """What it has is drawn; where there is nothing, an error says so, and no empty picture is left."""
    for name in ("rollout/ep_rew_mean", "train/loss"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "progress.csv").write_text(f"time/episodes,{name}\n8,0.5\n16,0.75\n")
    draw(*load_runs(tmp_path / "rollout"), tmp_path / "a.png")
    assert [axes.get_title() for axes in figure().axes] == ["reward of an episode"]
    with pytest.raises(ValueError, match=r"runs must have logged one of .*, but '.*train/loss' has not: leave it out"):
        draw(*load_runs(tmp_path / "train", tmp_path / "rollout"), tmp_path / "b.png")
    assert not (tmp_path / "b.png").exists()


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


@pytest.mark.parametrize("exists", [False, True])
def test_folder_that_is_no_run(exists, tmp_path, command) -> None:
    folder = tmp_path / "run"
    if exists:
        folder.mkdir()
    with pytest.raises(ValueError, match=rf"run must be a run folder of train.ppo, but '{folder}' holds no progress.csv"):
        command(plot, folder, "--output", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_run_that_has_just_begun(tmp_path, command) -> None:
    """Its table is empty until the end of the first rollout."""
    for name, content in (("old", "time/episodes,rollout/success_rate\n8,0.5\n"), ("new", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "progress.csv").write_text(content)
    with pytest.raises(ValueError, match=rf"runs must have logged something, but '{tmp_path / 'new'}' has not yet"):
        command(plot, tmp_path / "old", tmp_path / "new", "--output", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_published_runs_are_drawn(command, tmp_path) -> None:
    """README's figure comes from these, without weights or TensorBoard's events."""
    published = Path(__file__).parents[2] / "results" / "preset" / "store"
    command(plot, *published.glob("*seed*"), "--output", tmp_path / "curves.png")
    pixels = plt.imread(tmp_path / "curves.png")[..., :3]
    for colour in COLOURS[:3]:
        assert (np.abs(pixels - np.array(to_rgb(colour))).max(axis=-1) < 0.02).sum() > 100, colour


def test_no_run_at_all_is_refused(command, tmp_path) -> None:
    with pytest.raises((ValueError, SystemExit)):
        command(plot, "--output", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
