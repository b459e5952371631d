"""The Slurm script on a machine without Slurm: ``srun`` runs its command, ``scontrol`` writes down its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from train.run.checkpoints import Checkpoints
from train.run.run import FinishedRun, is_finished

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm" / "seeds.sbatch"


@pytest.fixture
def slurm(tmp_path) -> dict[str, str]:
    """The environment of the fourth task of an array."""
    programs = {
        "srun": f'echo $$ > {tmp_path}/pid\nexec "$@"',
        "scontrol": f'echo "$@" >> {tmp_path}/scontrol',
        "python": f'exec {sys.executable} "$@"',
    }
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "RUNS": str(tmp_path), "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_ID": "77"}


@pytest.mark.slow
def test_a_task_that_is_stopped_is_requeued_and_resumes(slurm, ppo_arguments, tmp_path) -> None:
    run = tmp_path / "arm1-seed1"
    words = ["bash", str(SCRIPT), *ppo_arguments, "--total-timesteps", "4000"]
    process = subprocess.Popen(words, env=slurm, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while not Checkpoints(run, ".zip").newest():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
    output, _ = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, output
    assert (tmp_path / "scontrol").read_text() == "requeue 77\n"
    assert "before" in json.loads((run / "results.json").read_text())
    assert not is_finished(run)

    again = subprocess.run(words, env=slurm, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "Resuming after" in again.stdout
    assert (tmp_path / "scontrol").read_text() == "requeue 77\n"
    arguments = FinishedRun(run).record["arguments"]
    chosen = [arguments[name] for name in ("weighting", "kl_coef", "seed", "total_timesteps")]
    assert chosen == ["uniform", 0.05, 1, 4000]

    (tmp_path / "pid").unlink()
    assert subprocess.run(words, env=slurm, capture_output=True, text=True).stdout == f"{run} is done\n"
    assert not (tmp_path / "pid").exists()


def test_a_failure_is_not_requeued(slurm, tmp_path) -> None:
    (tmp_path / "bin" / "srun").write_text("#!/bin/sh\nexit 3\n")
    assert subprocess.run(["bash", str(SCRIPT)], env=slurm).returncode == 3
    assert not (tmp_path / "scontrol").exists()
