"""Imports point one way, folders are rooms on few floors, and files stay small."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from train.__main__ import COMMANDS

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "addition_gym": set(),
    "policies": set(),
    "agents": {"policies"},
    "train": {"addition_gym", "agents", "policies"},
    "benchmarks": {"addition_gym", "agents", "policies", "train"},
}
FILES = [path for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py"))]
MAX_ROOMS, MAX_FLOORS = 8, 6


def imported_modules(path: Path) -> set[str]:
    """Dotted names of everything that a file imports, ``from`` names included."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return modules


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    assert {module.split(".")[0] for module in imported_modules(path)} & set(ALLOWED) <= ALLOWED[package] | {package}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_under_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 400


def floors_of(rooms: dict[str, set[str]]) -> dict[str, int]:
    """Each room stands above all that it imports; fails where that cannot be."""
    floors: dict[str, int] = {}
    while len(floors) < len(rooms):
        ready = {room for room, below in rooms.items() if room not in floors and below <= floors.keys()}
        assert ready, f"a circle among {sorted(rooms.keys() - floors.keys())}"
        floors |= {room: 1 + max((floors[below] for below in rooms[room]), default=0) for room in ready}
    return floors


def test_no_file_imports_itself_by_way_of_others() -> None:
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in FILES if path.name != "__init__.py"}
    floors_of({name: (imported_modules(path) & modules.keys()) - {name} for name, path in modules.items()})


def rooms_of_train() -> dict[str, set[str]]:
    """Commands and folders at the top of ``train``, and which others each imports."""
    rooms: dict[str, set[str]] = {}
    for path in sorted((ROOT / "train").rglob("*.py")):
        room = path.relative_to(ROOT / "train").parts[0].removesuffix(".py")
        if room not in ("__init__", "__main__"):
            parts = (module.split(".") for module in imported_modules(path))
            found = {names[1] for names in parts if names[0] == "train" and len(names) > 1}
            rooms.setdefault(room, set()).update(found - {room})
    return rooms


def is_command(room: str) -> bool:
    return (ROOT / "train" / f"{room}.py").is_file()


def test_train_has_few_rooms_on_few_floors_and_no_circle() -> None:
    rooms = rooms_of_train()
    assert len([room for room in rooms if not is_command(room)]) <= MAX_ROOMS
    floors = floors_of(rooms)
    assert max(floors.values()) <= MAX_FLOORS, floors


def test_a_file_at_the_top_of_train_is_a_command() -> None:
    """It ends with ``run_command(main)``, ``addition-gym`` knows it, and nothing imports it."""
    rooms = rooms_of_train()
    assert {room for room in rooms if is_command(room)} == set(COMMANDS)
    for room, below in rooms.items():
        if is_command(room):
            assert (ROOT / "train" / f"{room}.py").read_text().endswith("run_command(main)\n"), room
        assert not {other for other in below if is_command(other)}, room


SLOW_TO_IMPORT = {"matplotlib", "pandas", "ray", "torch", "transformers"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_slow(command: str) -> None:
    """``--help`` takes as long as what it imports."""
    code = f"import train.{command}, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert not set(loaded) & SLOW_TO_IMPORT


def test_one_writer_and_one_reader_of_a_run_folder() -> None:
    """The names of a run's files stand in one file each."""
    for name, home in {"run.json": "run.py", "results.json": "run.py", "progress.csv": "log.py"}.items():
        writers = {
            path
            for path in sorted((ROOT / "train").rglob("*.py"))
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and node.value == name
        }
        assert writers == {ROOT / "train" / "run" / home}, name
