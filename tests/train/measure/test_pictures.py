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
        cells, frames, *glyphs = axes.collections
        shown = {tuple(place): glyph.get_gid() for glyph in glyphs for place in glyph.get_offsets()}
        assert "".join(shown[x + 0.5, -y - 0.55] for x, y in places) == text.replace("\n", "↵").replace(" ", "·")
        assert len(shown) == len(places)
        corners = [tuple(path.vertices.min(axis=0)) for path in cells.get_paths()]
        assert corners == [(x, -y - 1) for x, y in places]
        assert {tuple(round(255 * channel) for channel in face[:3]) for face in cells.get_facecolors()} == {colour}
        boxed = {corners.index(tuple(path.vertices.min(axis=0))) for path in frames.get_paths()}
        assert boxed == set(critical(PROBLEM, 1))
    assert figure.axes[0].get_title(loc="left") == "13+4, KL (white 0, orange 1)"
