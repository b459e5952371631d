"""The package as a stranger installs it: a wheel, in an environment of its own, used from another folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ENV_ALONE = """
import sys
import gymnasium
import addition_gym
env = gymnasium.make("ScratchpadAdd-v0", digits=2)
env.reset(options={"operands": (12, 34)})
for token in addition_gym.encode(addition_gym.solution(12, 34)):
    _, reward, terminated, *_ = env.step(token)
assert terminated and reward == 1
assert "torch" not in sys.modules
"""


def run(*words: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(list(map(str, words)), cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    (found,) = folder.glob("addition_gym-*.whl")
    return found


def install(tmp_path: Path, *steps: list[str | Path]) -> Path:
    """A new environment, step by step. :return: its folder of programs"""
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    programs = tmp_path / "venv" / "bin"
    for packages in steps:
        run(programs / "python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", *packages, cwd=tmp_path)
    return programs


@pytest.mark.slow
def test_the_environment_alone_needs_neither_torch_nor_the_rest(wheel, tmp_path) -> None:
    programs = install(tmp_path, ["gymnasium"], ["--no-deps", wheel])
    run(programs / "python", "-c", ENV_ALONE, cwd=tmp_path)
    installed = run(programs / "python", "-m", "pip", "list", cwd=tmp_path)
    assert "torch" not in installed


@pytest.mark.slow
def test_everything(wheel, tmp_path) -> None:
    """The command runs beside files that have the names of its packages."""
    programs = install(tmp_path, [wheel])
    for name in ("train", "agents", "policies", "addition_gym"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    few = ["--total-timesteps", "1", "--n-envs", "2", "--n-episodes", "2", "--batch-size", "2", "--eval-problems", "0"]
    said = run(programs / "addition-gym", "ppo", *few, "--eval-every-problems", "1", "--run-folder", "run", cwd=tmp_path)
    assert "the agent is run/agent.zip" in said
    assert (tmp_path / "run" / "results.json").is_file()
