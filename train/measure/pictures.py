"""A text as a picture, every token coloured."""

from collections.abc import Collection, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from train.measure.inspection import rgb


def draw_text(axes: Axes, text: str, shades: Sequence[float], boxed: Collection[int] = (), crossed: int = -1) -> None:
    """A text, one cell a token.

    :param axes: is cleared of its frame
    :param text: of T tokens
    :param shades: from -1 to 1, ``(T,)``; see :func:`train.measure.inspection.rgb`
    :param boxed: positions with a frame
    :param crossed: a position that is crossed out, -1 for none
    """
    row = column = width = 0
    for position, (character, shade) in enumerate(zip(text, shades, strict=True)):
        colour = tuple(channel / 255 for channel in rgb(shade))
        edge = "black" if position in boxed else "none"
        axes.add_patch(
            Rectangle((column, -row - 1), 1, 1, facecolor=colour, edgecolor=edge, linewidth=1.2, zorder=1 + (position in boxed))
        )
        shown = {"\n": "↵", " ": "·"}.get(character, character)
        grey = "0.6" if shown != character else "black"
        axes.text(
            column + 0.5, -row - 0.55, shown, family="monospace", fontsize=9, ha="center", va="center", color=grey, zorder=3
        )
        if position == crossed:
            axes.plot([column, column + 1], [-row - 1, -row], color="black", linewidth=1.2, zorder=4)
        column, width = column + 1, max(width, column + 1)
        if character == "\n":
            row, column = row + 1, 0
    axes.set(xlim=(-0.2, width + 0.2), ylim=(-row - 1.2, 0.2))
    axes.set_aspect(1.8)
    axes.axis("off")
