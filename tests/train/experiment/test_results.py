import json

import pytest

from tests.train.experiment.made_up_runs import BEFORE, results_of, write_run
from train.experiment.results import paired_seeds, read_result
from train.run.run import FinishedRun


@pytest.mark.parametrize(("extra_digits", "name"), [(1, "N+1"), (2, "N+2")])
def test_read(tmp_path, extra_digits, name) -> None:
    run = FinishedRun(write_run(tmp_path, 0.5, 0.97, [100, 1, 2, 3, 4, 6], extra=name))
    found = read_result("oracle", 3, run, extra_digits, BEFORE)
    assert (found.arm, found.seed, found.seconds) == ("oracle", 3, 360)
    assert (found.longer_before, found.longer_after, found.shorter_before, found.shorter_after) == (0.3, 0.5, 0.99, 0.97)
    assert (found.gain, found.retention) == pytest.approx((20, -2))
    assert found.kl == pytest.approx((1 + 2 + 3 + 4 + 6) / 5)


def test_read_a_real_run(ppo_run) -> None:
    """Its numbers are those of its own files."""
    found = read_result("any", 5, FinishedRun(ppo_run), 1, BEFORE)
    assert found.longer_after == json.loads((ppo_run / "results.json").read_text())["after"]["N+1"]["accuracy"]
    assert found.gain == pytest.approx(100 * (found.longer_after - found.longer_before))
    assert found.kl > 0


def test_run_without_evaluation(tmp_path) -> None:
    (tmp_path / "results.json").write_text('{"before": {}, "after": {}}')
    with pytest.raises(ValueError, match=rf"run must hold accuracies on N\+1 after training, but '{tmp_path}' does not"):
        read_result("any", 0, FinishedRun(tmp_path), 1, BEFORE)


def test_paired_seeds() -> None:
    results = results_of(a=[1.0, None, 3.0, 4.0], b=[1.0, 2.0, None, 4.0], c=[None, None, None, 4.0])
    assert paired_seeds(results, "a", "b") == [0, 3]
    assert paired_seeds(results, "a", "b", "c") == [3]
