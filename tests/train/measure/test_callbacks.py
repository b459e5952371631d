import io
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from stable_baselines3.common.logger import KVWriter, Logger, configure

from addition_gym import prompt, solution
from agents import PrioritizedKLPPO
from agents.weighting.weightings import certainty_power
from policies import GPT2Policy
from tests.agents.rollouts import random_batch
from tests.train.helpers import events, random_policy, scripted_policy, text_summaries
from train.measure.accuracy import Accuracy, Kind
from train.measure.callbacks import (
    AccuracyCallback,
    CriticalTokenCallback,
    InspectorCallback,
    PositionCallback,
    RolloutCallback,
    SampleCallback,
)
from train.measure.solve import critical_probabilities


class Record(KVWriter):
    def write(self, key_values, key_excluded, step=0) -> None: ...

    def close(self) -> None: ...


def attach(callback: RolloutCallback, policy: GPT2Policy | None = None, logger: Logger | None = None) -> Logger:
    """Give a callback an agent that consists of a policy and a logger."""
    logger = logger or Logger(None, [Record()])
    agent = object.__new__(PrioritizedKLPPO)
    agent.policy, agent._logger, agent._n_updates, agent.n_epochs = policy, logger, 0, 1
    callback.model = agent
    return logger


def end_rollout(callback: RolloutCallback) -> None:
    """A rollout, and the update from it."""
    callback.on_rollout_end()
    callback.model._n_updates += callback.model.n_epochs


@pytest.mark.parametrize(("every", "expected"), [(1, [0, 1, 2, 3, 4, 5, 6]), (2, [0, 2, 4, 6]), (3, [0, 3, 6]), (7, [0])])
def test_acts_every_so_many_rollouts(every, expected) -> None:
    class Note(RolloutCallback):
        def act(self) -> None:
            acted.append(rollouts)

    acted: list[int] = []
    callback = Note(every)
    attach(callback)
    callback.model.n_epochs = 3
    for rollouts in range(7):
        end_rollout(callback)
        assert len(acted) == sum(rollout <= rollouts for rollout in expected)
    assert acted == expected


def test_accuracy_is_written_by_kind() -> None:
    callback = AccuracyCallback(lambda: [Accuracy("<=N", 3, 4), Accuracy("N+1", 1, 4)], every=1)
    logger = attach(callback)
    callback.on_rollout_end()
    assert logger.name_to_value == {"eval/accuracy_<=N": 0.75, "eval/accuracy_N+1": 0.25}


def test_accuracy_is_printed_where_a_console_is_given() -> None:
    console = Console(file=io.StringIO(), width=200)
    callback = AccuracyCallback(lambda: [Accuracy("<=N", 3, 3), Accuracy("N+1", 0, 3)], every=2, console=console)
    attach(callback)
    for _ in range(3):
        end_rollout(callback)
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert lines == [["rollout", str(n), "accuracy", "<=N", "100%", "N+1", "0%"] for n in (1, 3)]


def test_critical_tokens_are_written_by_place() -> None:
    policy = random_policy(3)
    callback = CriticalTokenCallback(2, extra=1, n_problems=20)
    logger = attach(callback, policy)
    callback.on_rollout_end()
    written = dict(logger.name_to_value)
    mean = written.pop("critical/mean")
    assert mean == pytest.approx(sum(written.values()) / len(written))
    names = {
        f"critical/line{line}_operand{operand}_{kind}"
        for line in (1, 2, 3)
        for operand in (1, 2)
        for kind in ("comma", "digit")
    }
    assert written.keys() == names - {"critical/line3_operand1_comma", "critical/line3_operand2_comma"}  # one digit is left
    probabilities = critical_probabilities(policy, Kind(1).problems(2, 20, seed=0, split="validation"), 2)
    assert written["critical/line2_operand1_comma"] == probabilities[2, 1, "comma"]


def test_sample_text_marks_the_first_error(tmp_path) -> None:
    """A right one, a wrong digit in the result, a slip in the scratchpad with a right result, and one that stops early."""
    problems = Kind(1).problems(2, 4, seed=0, split="validation")
    assert len(set(problems)) == 4
    right = [solution(*problem) for problem in problems]
    digit = "1" if right[1][-2] != "1" else "2"
    slip = right[2].index("C=") + 2
    completions = [
        right[0],
        right[1][:-2] + digit + "\n",
        right[2][:slip] + "7" + right[2][slip + 1 :],
        right[3][:30],
    ]
    marked = [
        right[0],
        right[1][:-2] + f"<<HERE>>{digit}\n",
        right[2][:slip] + "<<HERE>>7" + right[2][slip + 1 :],
        right[3][:30] + "<<HERE>>",
    ]
    verdicts = ["right", "wrong", "right", "wrong"]
    completion_of = dict(zip(problems, completions, strict=True))
    callback = SampleCallback(2, extra=1, n_problems=4, every=1)
    logger = attach(callback, scripted_policy(lambda a, b: completion_of[a, b]), configure(str(tmp_path), ["tensorboard"]))
    callback.num_timesteps = 77
    callback.on_rollout_end()
    logger.close()
    (summary,) = text_summaries(tmp_path)
    samples = [
        f"**{a}+{b}: {verdict}**\n\n```\n{prompt(a, b)}{text}\n```"
        for (a, b), verdict, text in zip(problems, verdicts, marked, strict=True)
    ]
    assert summary == "\n\n".join(samples)


def test_samples_need_no_tensorboard() -> None:
    callback = SampleCallback(2, extra=1, n_problems=1, every=1)
    logger = attach(callback, scripted_policy(solution))
    callback.on_rollout_end()
    assert not logger.name_to_value


def test_position_picture_shows_means_over_the_episodes_that_get_there(tmp_path, monkeypatch) -> None:
    """Every quantity by a loop over episodes and their actions."""
    tokens = random_batch()
    weights = np.random.default_rng(0).random(tokens.mask.shape, dtype=np.float32)
    callback = PositionCallback(every=1)
    drawn = []
    monkeypatch.setattr(callback, "record_figure", lambda name, figure: drawn.append((name, figure)))
    attach(callback, SimpleNamespace(temperature=tokens.temperature))
    callback.model.rollout_buffer = SimpleNamespace(token_batch=lambda temperature: tokens, weights={"kl": weights})
    callback.on_rollout_end()
    ((name, figure),) = drawn
    assert name == "position"
    found = {axes.get_ylabel(): axes.lines[0].get_ydata() for axes in figure.axes}
    by_position: dict[int, list[tuple[float, float, float]]] = {}
    for episode, mask in enumerate(tokens.mask):
        for position, t in enumerate(mask.nonzero()[:, 0]):
            ours, reference = tokens.old_log_probs[episode, t], tokens.reference_log_probs[episode, t]
            numbers = (ours.exp() @ (ours - reference), -(ours.exp() @ ours), weights[episode, t])
            by_position.setdefault(position, []).append(tuple(map(float, numbers)))
    expected = np.array([np.mean(by_position[position], axis=0) for position in range(12)])
    assert list(found) == ["KL to the reference (nats)", "entropy of the policy (nats)", "weight of the KL"]
    for values, column in zip(found.values(), expected.T, strict=True):
        np.testing.assert_allclose(values, column, atol=1e-5)


@pytest.mark.parametrize("rollouts", [1, 3])
def test_inspector_pictures_are_written_every_so_many_rollouts(rollouts, tmp_path) -> None:
    callback = InspectorCallback(1, extra=1, every=2)
    logger = attach(callback, random_policy(2), configure(str(tmp_path), ["tensorboard", "csv"]))
    vars(callback.model).update(certainty="negentropy", certainty_temperature=1.0)
    callback.model.weighting = SimpleNamespace(kl=certainty_power(150.0))
    for step in range(rollouts):
        end_rollout(callback)
        logger.dump(step)
    assert [event.step for event in events(tmp_path).Images("inspector")] == list(range(0, rollouts, 2))
