"""The bundled model is what its card says, and leaves reinforcement something to learn."""

from policies.model_files import TINY
from train.measure.accuracy import accuracies
from train.pretraining.arguments import PRESETS
from train.run.models import Model


def test_is_small_and_has_a_card() -> None:
    files = {path.name: path.stat().st_size for path in TINY.iterdir()}
    assert sum(files.values()) < 4e6
    assert {"README.md", "config.json", "model.safetensors", "pretraining.json"} <= files.keys()


def test_is_near_perfect_up_to_n_digits_and_has_a_foothold_beyond() -> None:
    """On 500 problems 99% and 34%; the bars leave five standard errors at 60."""
    tiny = Model.find("tiny")
    assert tiny.pretrained_digits == PRESETS["tiny"].digits
    known, longer = accuracies(tiny.load(), tiny.pretrained_digits, 60, extras=(0, 1))
    assert known.value >= 0.92
    assert 0.05 < longer.value < 0.65
