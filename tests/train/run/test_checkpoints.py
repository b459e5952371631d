"""Files of checkpoints: written whole, counted, and read from the newest that is sound."""

from pathlib import Path

import pytest

from train.run.checkpoints import Checkpoints, newest_sound
from train.run.files import CannotWrite


def write(text: str):
    return lambda path: path.write_text(text)


def test_the_last_ones_stay(tmp_path) -> None:
    """Numbers count as numbers, and a later name comes after all of an earlier one."""
    checkpoints = Checkpoints(tmp_path, ".pt", keep=3)
    assert checkpoints.paths() == []
    assert checkpoints.newest() is None
    for name, number in (("first", 9), ("first", 10), ("second", 2), ("second", 11)):
        checkpoints.save(name, number, write(f"{name} {number}"))
    assert [path.name for path in checkpoints.paths()] == ["first_10.pt", "second_2.pt", "second_11.pt"]
    assert checkpoints.newest().read_text() == "second 11"


def test_other_files_are_left_alone(tmp_path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("first_3.pt.damaged", "first_best.pt", "first_4.zip", "notes"):
        (folder / name).touch()
    checkpoints = Checkpoints(tmp_path, ".pt", keep=1)
    for number in (1, 2):
        checkpoints.save("first", number, write("x"))
    assert [path.name for path in checkpoints.paths()] == ["first_2.pt"]
    assert len(list(folder.iterdir())) == 5


def test_a_run_folder_that_is_gone_is_not_made_again(tmp_path) -> None:
    with pytest.raises(CannotWrite):
        Checkpoints(tmp_path / "gone", ".pt").save("first", 1, write("x"))
    assert not (tmp_path / "gone").exists()


def test_the_newest_sound_one(tmp_path) -> None:
    paths = [tmp_path / f"first_{number}.pt" for number in (1, 2, 3)]
    for path, content in zip(paths, ("1", "2", "broken"), strict=True):
        path.write_text(content)
    with pytest.warns(UserWarning, match=f"{paths[2]} cannot be read, .* first_3.pt.damaged, and {paths[1]} is taken"):
        assert newest_sound(paths, lambda path: int(path.read_text())) == 2
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["first_1.pt", "first_2.pt", "first_3.pt.damaged"]


def test_none_is_sound(tmp_path) -> None:
    path = tmp_path / "first_1.pt"
    path.write_text("broken")
    with pytest.raises(ValueError, match=f"but {path} cannot .*: restore one from a copy, or remove them all"):
        newest_sound([path], lambda path: int(path.read_text()))
    assert path.is_file()
    assert newest_sound([], Path.read_text) is None
