import os
from pathlib import Path

import nbformat
import pytest

nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "analysis" / "rank_trials.ipynb"


def run_notebook() -> nbformat.NotebookNode:
    """In the notebook's own folder, as Jupyter does."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    return notebook


def output_of(notebook: nbformat.NotebookNode, cell_id: str) -> str:
    cell = next(cell for cell in notebook.cells if cell["id"] == cell_id)
    return "".join(str(output) for output in cell["outputs"])


def test_the_notebook_ranks_a_run_and_draws_its_plots(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SED_RUN", os.path.relpath(tiny_run, ROOT))  # as it is typed in the project's folder

    notebook = run_notebook()

    assert "7 trials, 14 epochs" in output_of(notebook, "read")
    ranking = output_of(notebook, "ranking")
    assert ranking.index("trial_0003") < ranking.index("trial_0001") < ranking.index("trial_0000")
    assert "p_leader_better" in output_of(notebook, "spread")
    assert "out of memory" in output_of(notebook, "failed")
    n_plots = sum(str(cell.get("outputs", "")).count("image/png") for cell in notebook.cells)
    assert n_plots == 4
    assert "stderr" not in "".join(str(cell.get("outputs", "")) for cell in notebook.cells)


def test_the_notebook_is_committed_without_output() -> None:
    code = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell["cell_type"] == "code"]

    assert [cell["outputs"] for cell in code] == [[]] * len(code)
    assert [cell["execution_count"] for cell in code] == [None] * len(code)
