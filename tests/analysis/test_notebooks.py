"""The notebooks, executed on stored runs."""

import json
import os
from pathlib import Path

import nbformat
import pytest

from tests.analysis.conftest import write_run

nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ("rank_trials", "pseudo_labels", "compare_runs")


def run_notebook(name: str, runs: str, monkeypatch: pytest.MonkeyPatch, place: Path = ROOT) -> nbformat.NotebookNode:
    monkeypatch.setenv("SED_RUN", runs)
    notebook = nbformat.read(ROOT / "analysis" / f"{name}.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(place)}}).execute()
    assert "stderr" not in "".join(str(cell.get("outputs", "")) for cell in notebook.cells)
    return notebook


def output_of(notebook: nbformat.NotebookNode, cell_id: str) -> str:
    cell = next(cell for cell in notebook.cells if cell["id"] == cell_id)
    return "".join(str(output) for output in cell["outputs"])


def n_plots(notebook: nbformat.NotebookNode) -> int:
    return sum(str(cell.get("outputs", "")).count("image/png") for cell in notebook.cells)


def test_a_run_is_ranked_and_its_plots_are_drawn(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the notebook's own folder, as Jupyter does; the run is named as it is typed in the project's."""
    notebook = run_notebook("rank_trials", os.path.relpath(tiny_run, ROOT), monkeypatch, ROOT / "analysis")

    assert "7 trials, 14 epochs" in output_of(notebook, "read")
    ranking = output_of(notebook, "ranking")
    assert ranking.index("trial_0003") < ranking.index("trial_0001") < ranking.index("trial_0000")
    assert "p_leader_better" in output_of(notebook, "spread")
    assert "out of memory" in output_of(notebook, "failed")
    assert n_plots(notebook) == 4


def test_pseudo_labels_are_counted_and_the_student_is_compared(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tiny_run.parent / "tiny-student-1")
    members = [
        {"trial_id": "trial_0003", "weight": 0.75, "macro_auc": 0.85},
        {"trial_id": "trial_0001", "weight": 0.25, "macro_auc": 0.8},
    ]
    (tiny_run / "ensemble" / "members.json").write_text(json.dumps({"members": members}))

    notebook = run_notebook("pseudo_labels", str(tiny_run), monkeypatch)

    assert "6 windows of 2 soundscapes are labelled, 3 classes" in output_of(notebook, "read")
    assert "0.75" in output_of(notebook, "members")
    assert "without a label: amecro (1)" in output_of(notebook, "empty")
    assert "tiny -> tiny-student-1: mean gain +0.0000" in output_of(notebook, "student")
    assert n_plots(notebook) == 2


def test_runs_are_put_side_by_side(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = write_run(tiny_run.parent / "other")

    notebook = run_notebook("compare_runs", os.pathsep.join([str(tiny_run), str(other)]), monkeypatch)

    assert "tiny: 7 trials, other: 7 trials" in output_of(notebook, "read")
    assert "0.85" in output_of(notebook, "result")
    assert "grekis" in output_of(notebook, "classes")
    assert n_plots(notebook) == 2


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_committed_without_output(name: str) -> None:
    notebook = nbformat.read(ROOT / "analysis" / f"{name}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell["cell_type"] == "code"]

    assert [cell["outputs"] for cell in code] == [[]] * len(code)
    assert [cell["execution_count"] for cell in code] == [None] * len(code)
