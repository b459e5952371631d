import sys

import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled

import addition_gym
from addition_gym import ScratchpadAddEnv
from addition_gym.picture import COLUMNS, LINES, picture
from addition_gym.vocabulary import CHARACTERS


def cells(text: str) -> list[list[bytes]]:
    """The pixels of every character, line by line."""
    image = picture(text)
    assert (image.shape, image.dtype) == ((11 * LINES, 6 * COLUMNS, 3), np.uint8)
    grid = image.reshape(LINES, 11, COLUMNS, 6, 3).transpose(0, 2, 1, 3, 4)
    return [[cell.tobytes() for cell in line] for line in grid]


def test_every_character_has_a_shape_of_its_own() -> None:
    printable = CHARACTERS.replace("\n", "")
    shapes = cells(printable)[0][: len(printable)]
    assert len(set(shapes)) == len(printable)
    assert cells("")[0][0] == shapes[printable.index(" ")]


def test_a_character_stands_at_its_line_and_column() -> None:
    blank = cells("")
    found = cells("ab\n\n  9")
    where = {(row, column) for row in range(LINES) for column in range(COLUMNS) if found[row][column] != blank[0][0]}
    assert where == {(0, 0), (0, 1), (2, 2)}
    assert found[2][2] == cells("9")[0][0]


def test_long_lines_are_broken_and_long_texts_scroll() -> None:
    assert cells("1" * COLUMNS + "23")[:2] == cells("1" * COLUMNS + "\n23")[:2]
    lines = [str(number) for number in range(LINES + 5)]
    assert cells("\n".join(lines)) == cells("\n".join(lines[5:]))


def test_the_environment_shows_the_text_so_far() -> None:
    env = ScratchpadAddEnv(digits=2, render_mode="rgb_array")
    env.reset(options={"operands": (12, 9)})
    for token in addition_gym.encode("\n<scratch>"):
        env.step(token)
    assert np.array_equal(env.render(), picture("Input:\n12+9\nTarget:\n<scratch>"))


def test_without_pillow(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    env = ScratchpadAddEnv(render_mode="rgb_array")
    env.reset(seed=0)
    with pytest.raises(DependencyNotInstalled, match="needs Pillow: pip install pillow"):
        env.render()
