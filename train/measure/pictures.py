"""Colours, and texts as pictures, every token coloured."""

from collections.abc import Collection, Sequence

from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from train.measure.choices import Colour
from train.measure.inspection import QUANTITIES, Inspection, rgb

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Okabe and Ito's: the colour-blind tell them apart, and they differ in lightness."""
STYLES = (
    ("#0072B2", "-"),
    ("#D55E00", "--"),
    ("#009E73", "-."),
    ("#CC79A7", ":"),
    ("#E69F00", (0, (5, 1))),
    ("#56B4E9", (0, (1, 1))),
)
"""Colour and dash of the curves of a picture, one per arm: the dashes are for grey paper."""


_FONT_SIZE = 9


def draw_text(axes: Axes, text: str, shades: Sequence[float], boxed: Collection[int] = (), crossed: int = -1) -> None:
    """A text, one cell per token.

    :param axes: is cleared of its frame
    :param text: of T tokens
    :param shades: from -1 to 1, ``(T,)``; see :func:`train.measure.inspection.rgb`
    :param boxed: positions with a frame
    :param crossed: a position that is crossed out, -1 for none
    """
    row = column = width = 0
    cells: list[Rectangle] = []
    places: dict[str, list[tuple[float, float]]] = {}
    for position, character in enumerate(text):
        cells.append(Rectangle((column, -row - 1), 1, 1))
        places.setdefault({"\n": "↵", " ": "·"}.get(character, character), []).append((column + 0.5, -row - 0.55))
        if position == crossed:
            axes.plot([column, column + 1], [-row - 1, -row], color="black", linewidth=1.2, zorder=4)
        column, width = column + 1, max(width, column + 1)
        if character == "\n":
            row, column = row + 1, 0
    colours = [[channel / 255 for channel in rgb(shade)] for shade in shades]
    axes.add_collection(PatchCollection(cells, facecolors=colours, edgecolors="none", zorder=1))
    axes.add_collection(
        PatchCollection([cells[i] for i in boxed], facecolors="none", edgecolors="black", linewidths=1.2, zorder=2)
    )
    for shown, offsets in places.items():  # an artist per character, since one per token takes a second
        glyph = TextPath((0, 0), shown, size=_FONT_SIZE, prop=FontProperties(family="monospace"))
        centred = Affine2D().translate(-glyph.get_extents().x0 - glyph.get_extents().width / 2, -0.35 * _FONT_SIZE)
        colour = "0.6" if shown in "↵·" else "black"
        axes.add_collection(
            PathCollection(
                [glyph],
                transform=centred + Affine2D().scale(1 / 72) + axes.figure.dpi_scale_trans,
                offsets=offsets,
                offset_transform=axes.transData,
                facecolors=colour,
                linewidths=0,
                snap=False,
                gid=shown,
                zorder=3,
            )
        )
    axes.set(xlim=(-0.2, width + 0.2), ylim=(-row - 1.2, 0.2))
    axes.set_aspect(1.8)
    axes.axis("off")


def draw_inspection(inspection: Inspection, colours: Sequence[Colour]) -> Figure:
    """The text once for every quantity; critical tokens are boxed.

    :param inspection: of a completion
    :param colours: the quantities
    :return: a figure of one panel each, one below the other
    """
    height = inspection.text.count("\n") + 1
    figure = Figure(figsize=(9, 0.25 * (height + 1) * len(colours)), layout="constrained")
    for axes, colour in zip(figure.subplots(len(colours), squeeze=False)[:, 0], colours, strict=True):
        quantity = QUANTITIES[colour]
        shades = [quantity.shade(float(value)) for value in inspection.quantities[colour][: len(inspection.text)]]
        draw_text(axes, inspection.text, shades, inspection.critical)
        ends = {"white": quantity.plain, "orange": quantity.orange, "blue": quantity.blue}
        scale = ", ".join(f"{name} {end:g}" for name, end in ends.items() if end is not None)
        a, b = inspection.problem
        axes.set_title(f"{a}+{b}, {quantity.label} ({scale})", loc="left", fontsize=9)
    return figure
