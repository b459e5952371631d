"""The bundled models are what their cards say, and leave reinforcement something to learn."""

import pytest

from policies.model_files import BUNDLED
from train.measure.accuracy import accuracies
from train.pretraining.arguments import PRESETS
from train.run.models import Model


@pytest.mark.parametrize("name", ["tiny", "seven"])
def test_is_small_and_has_a_card(name) -> None:
    files = {path.name: path.stat().st_size for path in BUNDLED[name].iterdir()}
    assert sum(files.values()) < 4e6
    assert {"README.md", "config.json", "model.safetensors", "pretraining.json"} <= files.keys()


@pytest.mark.parametrize("name", ["tiny", "seven"])
def test_is_near_perfect_up_to_n_digits_and_has_a_foothold_beyond(name) -> None:
    """The bars leave five standard errors at 60 problems."""
    model = Model.find(name)
    assert model.pretrained_digits == PRESETS[name].digits
    known, longer = accuracies(model.load(), model.pretrained_digits, 60, extras=(0, 1))
    assert known.value >= 0.92
    assert 0.05 < longer.value < 0.95
