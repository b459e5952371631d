"""A text as a picture, for ``render_mode="rgb_array"``: a terminal that scrolls."""

import numpy as np
import numpy.typing as npt
from gymnasium.error import DependencyNotInstalled

COLUMNS, LINES = 80, 24


def picture(text: str) -> npt.NDArray[np.uint8]:
    """Draw the last lines of a text, black on white, in a font of 6 x 11 pixels; longer lines are broken.

    :param text: characters of the vocabulary
    :return: uint8 of shape ``(11 * LINES, 6 * COLUMNS, 3)``
    :raises gymnasium.error.DependencyNotInstalled: if Pillow is not installed
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise DependencyNotInstalled('render_mode="rgb_array" needs Pillow: pip install pillow') from error
    font = ImageFont.load_default_imagefont()
    *_, width, height = font.getbbox("0")
    lines = [line[start : start + COLUMNS] for line in text.split("\n") for start in range(0, len(line) or 1, COLUMNS)]
    image = Image.new("RGB", (int(width) * COLUMNS, int(height) * LINES), "white")
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines[-LINES:]):
        draw.text((0, row * height), line, "black", font)
    return np.array(image)
