"""``progress.csv``, written by SB3's logger and read back."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from train.run.log import Progress
from train.run.logger import run_logger


def log(folder: Path, rollouts: int, clock_at_the_end: bool = True) -> None:
    """As ``learn`` does: a row per rollout, which holds what the update before it recorded; the last update at the end.

    :param clock_at_the_end: False for a run that was made before the last row had one
    """
    logger = run_logger(folder)
    for rollout in range(1, rollouts + 1):
        logger.record("time/episodes", 64 * rollout)
        logger.record("time/total_timesteps", 1000 * rollout)
        logger.record("rollout/success_rate", rollout / 10)
        logger.record("objective/weight_mean", rollout / 100)  # of the rollout itself
        if rollout % 2:
            logger.record("eval/accuracy_N+1", rollout / 1000)
        logger.dump(1000 * rollout)
        logger.record("objective/kl", float(rollout))  # of its update
    if clock_at_the_end:
        logger.record("time/episodes", 64 * rollouts)
        logger.record("time/total_timesteps", 1000 * rollouts)
    logger.dump(1000 * rollouts)
    logger.close()


@pytest.mark.parametrize("clock_at_the_end", [True, False])
def test_curves(clock_at_the_end, tmp_path) -> None:
    log(tmp_path, 3, clock_at_the_end)
    progress = Progress(tmp_path)
    for column, episodes, values in (
        ("time/total_timesteps", [64, 128, 192], [1000, 2000, 3000]),
        ("rollout/success_rate", [64, 128, 192], [0.1, 0.2, 0.3]),
        ("objective/weight_mean", [64, 128, 192], [0.01, 0.02, 0.03]),
        ("objective/kl", [64, 128, 192], [1, 2, 3]),
        ("eval/accuracy_N+1", [64, 192], [0.001, 0.003]),
    ):
        found = progress.curve(column)
        assert np.allclose(found[0], episodes), column
        assert np.allclose(found[1], values), column
    assert progress.columns == [
        "time/episodes",
        "time/total_timesteps",
        "eval/accuracy_N+1",
        "rollout/success_rate",
        "objective/kl",
        "objective/weight_mean",
    ]


def test_rollouts_hold_what_their_own_update_recorded(tmp_path) -> None:
    log(tmp_path, 3)
    assert [(row["time/episodes"], row["objective/kl"]) for row in Progress(tmp_path).rollouts] == [(64, 1), (128, 2), (192, 3)]


def test_curves_of_a_run_that_was_extended(tmp_path) -> None:
    """A second ``learn`` goes on where the first one has written its last update: that row stays no rollout."""
    log(tmp_path, 2)
    logger = run_logger(tmp_path, resumed_at=2000)
    logger.record("time/episodes", 192)
    logger.record("time/total_timesteps", 3000)
    logger.dump(3000)
    logger.record("objective/kl", 3.0)
    logger.record("time/episodes", 192)
    logger.record("time/total_timesteps", 3000)
    logger.dump(3000)
    assert [values.tolist() for values in Progress(tmp_path).curve("objective/kl")] == [[64, 128, 192], [1, 2, 3]]


def test_columns_stand_in_one_order_whenever_they_came(tmp_path) -> None:
    """And only numbers are written."""
    logger = run_logger(tmp_path)
    for step, names in enumerate((["train/loss", "time/b"], ["critical/mean", "mine/x"], ["eval/a", "time/a", "rollout/r"])):
        for name in names:
            logger.record(name, step)
        logger.record("train/picture", object())
        logger.dump(step)
    assert (tmp_path / "progress.csv").read_text() == (
        "time/a,time/b,eval/a,rollout/r,train/loss,critical/mean,mine/x\n,0,,,0,,\n,,,,,1,1\n2,,2,2,,,\n"
    )


def test_reading_needs_no_torch() -> None:
    code = "import train.run.log, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "stable_baselines3"} & set(loaded)


@pytest.mark.parametrize("first", [None, -1.1e24, 0.3])
@pytest.mark.parametrize("under_way", [True, False])
def test_the_share_of_the_kl_begins_with_the_second_rollout(first: float | None, under_way: bool, tmp_path) -> None:
    """The first has no KL: nothing is logged there, and rounding errors were before 0.2.0."""
    logger = run_logger(tmp_path)
    for rollout in range(1, 4):
        logger.record("time/episodes", 64 * rollout)
        share = rollout / 10 if rollout > 1 else first
        if share is not None:
            logger.record("objective/kl_share_critical", share)
        logger.dump(1000 * rollout)
        logger.record("objective/kl", float(rollout))
    if not under_way:
        logger.dump(3000)
    logger.close()
    progress = Progress(tmp_path)
    assert [list(values) for values in progress.curve("objective/kl_share_critical")] == [[128, 192], [0.2, 0.3]]
    assert progress.curve("objective/kl")[0][0] == 64


def test_in_older_runs_the_share_of_the_kl_is_that_of_the_rollout_before(tmp_path) -> None:
    """They logged it in the update, so that the last one stands at the end."""
    logger = run_logger(tmp_path)
    for rollout in range(1, 4):
        logger.record("time/episodes", 64 * rollout)
        logger.dump(1000 * rollout)
        logger.record("objective/kl_share_critical", rollout / 10 if rollout > 1 else -1.1e24)
    logger.dump(3000)
    logger.close()
    assert [list(values) for values in Progress(tmp_path).curve("objective/kl_share_critical")] == [[128, 192], [0.2, 0.3]]


def test_a_share_is_a_share_in_all_published_runs() -> None:
    folders = [path.parent for path in Path("results").rglob("progress.csv")]
    assert len(folders) > 50
    for folder in folders:
        shares = Progress(folder).curve("objective/kl_share_critical")[1]
        assert ((shares >= 0) & (shares <= 1)).all(), folder


def test_curves_of_a_run_that_was_resumed_without_its_table(tmp_path) -> None:
    """Then the first row holds what the update before it recorded."""
    log(tmp_path, 3)
    path = tmp_path / "progress.csv"
    header, _, *rest = path.read_text().splitlines(keepends=True)
    path.write_text(header + "".join(rest))
    progress = Progress(tmp_path)
    assert [list(values) for values in progress.curve("objective/kl")] == [[128, 192], [2, 3]]
    assert [list(values) for values in progress.curve("objective/weight_mean")] == [[128, 192], [0.02, 0.03]]


def test_what_was_never_logged(tmp_path) -> None:
    log(tmp_path, 1)
    with pytest.raises(ValueError, match=r"column must be one that the run logged, but 'objective/k1' is not in"):
        Progress(tmp_path).curve("objective/k1")


def test_a_run_under_way_is_read_without_the_line_that_is_being_written(tmp_path) -> None:
    log(tmp_path, 3)
    path = tmp_path / "progress.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3]) + lines[3][:7])
    assert Progress(tmp_path).curve("rollout/success_rate")[1].tolist() == [0.1, 0.2]


def test_resuming_drops_the_rows_after_the_checkpoint(tmp_path) -> None:
    log(tmp_path, 3)
    text = (tmp_path / "progress.csv").read_text()
    run_logger(tmp_path, resumed_at=2000).close()
    assert Progress(tmp_path).curve("time/total_timesteps")[1].tolist() == [1000, 2000]
    assert text.startswith((tmp_path / "progress.csv").read_text())  # byte for byte as it was


@pytest.mark.parametrize("clock_at_the_end", [True, False])
def test_the_end_of_training_is_kept(clock_at_the_end, tmp_path) -> None:
    """In older runs the row of the last update does not name its step."""
    log(tmp_path, 3, clock_at_the_end)
    before = (tmp_path / "progress.csv").read_text()
    run_logger(tmp_path, resumed_at=3000).close()
    assert (tmp_path / "progress.csv").read_text() == before


@pytest.mark.parametrize("damage", [b"a,b\n1,x\n", b"a,b\n1,2,3\n", b"a,b\n1,\xff\n"])
def test_a_damaged_table(damage, tmp_path) -> None:
    (tmp_path / "progress.csv").write_bytes(damage)
    with pytest.raises(ValueError, match="run must have a sound table, but"):
        Progress(tmp_path)


def test_no_run(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"run must be a run folder of train.ppo, but .* holds no progress.csv"):
        Progress(tmp_path)
