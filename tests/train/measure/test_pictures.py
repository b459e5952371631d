from addition_gym import encode, solution
from agents.weighting.signals import ReferenceCertainty
from agents.weighting.weightings import certainty_power
from tests.train.helpers import critical, random_policy
from train.measure.inspection import inspect
from train.measure.pictures import draw_inspection

PROBLEM = (13, 4)


def test_picture_shows_every_token_on_its_colour() -> None:
    inspection = inspect(random_policy(2), PROBLEM, encode(solution(*PROBLEM)), 1, certainty_power(1.0), ReferenceCertainty())
    inspection.quantities["kl"][:] = 1
    inspection.quantities["weight"][:] = 1
    figure = draw_inspection(inspection, ("kl", "weight"))
    text = solution(*PROBLEM)
    places = [(x, y) for y, line in enumerate(text.split("\n")[:-1]) for x in range(len(line) + 1)]
    for axes, colour in zip(figure.axes, ((247, 103, 7), (255, 255, 255)), strict=True):
        assert "".join(written.get_text() for written in axes.texts) == text.replace("\n", "↵").replace(" ", "·")
        assert [(round(x - 0.5), round(-y - 0.55)) for x, y in (written.get_position() for written in axes.texts)] == places
        assert [cell.get_xy() for cell in axes.patches] == [(x, -y - 1) for x, y in places]
        assert {tuple(round(255 * channel) for channel in cell.get_facecolor()[:3]) for cell in axes.patches} == {colour}
        boxed = {position for position, cell in enumerate(axes.patches) if cell.get_edgecolor()[3] == 1}
        assert boxed == set(critical(PROBLEM, 1))
    assert figure.axes[0].get_title(loc="left") == "13+4, KL (white 0, orange 1)"
