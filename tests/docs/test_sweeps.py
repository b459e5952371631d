"""The commands of docs/sweeps.md are right; tests/train/test_trials.py and test_slurm.py run such commands."""

import re
import shlex
from pathlib import Path

import pytest

from train.experiment.arms import name_arms
from train.sweep import parse_grid

ROOT = Path(__file__).parents[2]
COMMANDS = re.findall(r"```bash\n(.*?)\n```", (ROOT / "docs" / "sweeps.md").read_text(), re.DOTALL)


def test_sweeps_have_the_arms_that_the_page_says() -> None:
    found = []
    for command in COMMANDS:
        words = shlex.split(command)
        if words[:2] == ["addition-gym", "sweep"]:
            points, axes = parse_grid(words[2:])
            found.append((len(points), len(name_arms([point.ppo for point in points], axes)), points[0].seeds))
    assert found == [(8, 6, 5), (2, 2, 3), (3, 3, 10)]


@pytest.mark.parametrize("path", ["docs/sweeps.md", "examples/slurm/README.md"])
def test_the_slurm_script_is_where_the_page_says(path) -> None:
    (script,) = set(re.findall(r"sbatch (\S+\.sbatch)", (ROOT / path).read_text()))
    assert (ROOT / script).is_file()
