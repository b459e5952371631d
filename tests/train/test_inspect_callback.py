from types import SimpleNamespace

import numpy as np
import pytest
from stable_baselines3.common.logger import configure

from addition_gym import encode, solution
from agents import PrioritizedKLPPO
from agents.signals import ReferenceCertainty
from agents.weightings import certainty_power
from tests.train.helpers import critical, events, random_policy
from train.inspect_callback import InspectorCallback, draw
from train.inspection import inspect

PROBLEM = (13, 4)


def test_picture_shows_every_token_on_its_colour() -> None:
    inspection = inspect(random_policy(2), PROBLEM, encode(solution(*PROBLEM)), 1, certainty_power(1.0), ReferenceCertainty())
    inspection.quantities["kl"][:] = 1
    inspection.quantities["weight"][:] = 1
    figure = draw(inspection, ("kl", "weight"))
    lines = solution(*PROBLEM).strip("\n").split("\n")
    for axes, colour in zip(figure.axes, ((247, 103, 7), (255, 255, 255)), strict=True):
        written = {(round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in axes.texts}
        assert written == {(y, x): c for y, line in enumerate(lines) for x, c in enumerate(line) if c != " "}
        cells = np.asarray(axes.images[0].get_array())
        for y, line in enumerate(lines):
            assert (cells[y, : len(line)] == colour).all()
            assert (cells[y, len(line) :] == 255).all()
        assert len(axes.lines) == len(critical(PROBLEM, 1))
    assert figure.axes[0].get_title(loc="left") == "13+4, KL (white 0, orange 1)"


@pytest.mark.parametrize("rollouts", [1, 3])
def test_pictures_are_written_every_so_many_rollouts(rollouts, tmp_path) -> None:
    class Agent(PrioritizedKLPPO):
        """The attributes that the callback reads."""

        def __init__(self):
            vars(self).update(certainty="negentropy", certainty_temperature=1.0, policy=random_policy(2))
            self.token_weights = SimpleNamespace(kl=certainty_power(150.0))
            self.n_epochs = 1
            self._logger = configure(str(tmp_path), ["tensorboard", "csv"])

    callback = InspectorCallback(1, extra=1, every=2)
    callback.model = Agent()
    for step in range(rollouts):
        callback.model._n_updates = step
        callback.on_rollout_end()
        callback.logger.dump(step)
    steps = [event.step for event in events(tmp_path).Images("inspector")]
    assert steps == list(range(0, rollouts, 2))
