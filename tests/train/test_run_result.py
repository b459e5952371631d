import csv
import json

import pytest

from tests.train.made_up_runs import BEFORE, result, write_run
from train.run_result import read_result, write_csv


@pytest.mark.parametrize(("extra_digits", "name"), [(1, "N+1"), (2, "N+2")])
def test_read(tmp_path, extra_digits, name) -> None:
    folder = write_run(tmp_path, 0.5, 0.97, [100, 1, 2, 3, 4, 6], extra=name)
    found = read_result("oracle", 3, folder, extra_digits, BEFORE)
    assert (found.arm, found.seed, found.seconds) == ("oracle", 3, 360)
    assert (found.longer_before, found.longer_after, found.shorter_before, found.shorter_after) == (0.3, 0.5, 0.99, 0.97)
    assert (found.gain, found.retention) == pytest.approx((20, -2))
    assert found.kl == pytest.approx((1 + 2 + 3 + 4 + 6) / 5)


def test_read_a_real_run(ppo_run) -> None:
    """Its numbers are those of its own files."""
    found = read_result("any", 5, ppo_run, 1, BEFORE)
    assert found.longer_after == json.loads((ppo_run / "results.json").read_text())["after"]["N+1"]["accuracy"]
    assert found.gain == pytest.approx(100 * (found.longer_after - found.longer_before))
    assert found.kl > 0


def test_run_without_evaluation(tmp_path) -> None:
    (tmp_path / "results.json").write_text('{"before": {}, "after": {}}')
    with pytest.raises(ValueError, match=rf"folder must hold accuracies after training, but '{tmp_path}' does not"):
        read_result("any", 0, tmp_path, 1, BEFORE)


def test_csv(tmp_path) -> None:
    write_csv(tmp_path / "runs.csv", [result("no KL", 0, 12.5), result("oracle", 1, -3.0, retention=-1.0, kl=4.5)])
    with (tmp_path / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["arm"], row["seed"], float(row["gain"])) for row in rows] == [("no KL", "0", 12.5), ("oracle", "1", -3.0)]
    assert (float(rows[1]["retention"]), float(rows[1]["kl"]), float(rows[1]["seconds"])) == (-1, 4.5, 360)
