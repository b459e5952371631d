"""The notebook runs from top to bottom, with its training cut to one rollout, and is committed with its outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

PATH = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell: nbformat.NotebookNode) -> str:
    """Everything that a cell shows as text."""
    return "".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)


@pytest.mark.slow
def test_the_notebook_runs(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # other tests run beside it
    notebook = nbformat.read(PATH, as_version=4)
    (training,) = [cell for cell in code(notebook) if "total_timesteps=500_000" in cell.source]
    training.source = training.source.replace("total_timesteps=500_000", "total_timesteps=1")
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(PATH.parent)}}).execute()
    assert "4 8 2 9 8 8" in printed(code(notebook)[0])
    assert "Trained on 64 episodes" in printed(training)
    assert "after_N+1" in printed(code(notebook)[-3])


def test_the_outputs_are_those_of_one_run_from_top_to_bottom() -> None:
    notebook = nbformat.read(PATH, as_version=4)
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert all(cell.outputs for cell in cells)
