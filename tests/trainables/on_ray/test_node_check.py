"""What machines of a cluster may lack: told before a trial starts, with the machine's name and the repair."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sed_model.core.errors import ConfigError
from sed_model.core.files import sha256_of
from trainables.on_ray import node_check
from trainables.on_ray.cluster import Node
from trainables.on_ray.node_check import Needs, check_nodes, look, marked
from trainables.on_ray.repairs import NodeLosses

OWL, WREN = Node("a", "owl (10.0.0.1)", 8, 0), Node("b", "wren (10.0.0.2)", 8, 0)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text("primary_label,filename\n", encoding="utf-8")
    return tmp_path / "data"


@pytest.fixture
def needs(data_dir: Path, tmp_path: Path) -> Callable[..., Needs]:
    """What this machine has, but for what a test changes."""
    (tmp_path / "marker").touch()
    table = data_dir / "train.csv"
    usual = {"table": table, "table_sha256": sha256_of(table), "shared": tmp_path, "storage": None, "marker": "marker"}

    def make(**changes: Any) -> Needs:
        return Needs(**{**usual, **changes})

    return make


def test_a_machine_that_has_everything(needs: Callable[..., Needs], tmp_path: Path) -> None:
    assert look(needs()) == []
    assert look(needs(storage=tmp_path.as_uri())) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"table": Path("/nowhere/train.csv")}, "has no /nowhere/train.csv; share the folder of recordings"),
        ({"table_sha256": "of another file"}, "has another content there; copy the folder of recordings again"),
        ({"shared": Path("/nowhere")}, "does not see /nowhere; give an --out in a folder that all machines share"),
        ({"storage": "file:///nowhere"}, "does not see in --storage file:///nowhere what this machine wrote there"),
        ({"storage": "nope://bucket"}, "cannot read --storage nope://bucket"),
    ],
)
def test_what_a_machine_lacks(needs: Callable[..., Needs], changes: dict[str, Any], problem: str) -> None:
    (found,) = look(needs(**changes))
    assert problem in found


def test_packages_that_a_machine_lacks(needs: Callable[..., Needs], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_check, "find_spec", lambda name: None if name == "timm" else object())

    assert look(needs()) == ["lacks timm; install sed-search there, in the same way as here."]


def test_every_problem_of_every_machine_is_told_at_once(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [["has no data.", "lacks timm."], "does not answer."]
    monkeypatch.setattr(node_check, "ask", lambda nodes, question, argument: answers)
    with pytest.raises(ConfigError) as refusal:
        check_nodes([OWL, WREN], data_dir, tmp_path / "runs" / "x", None)

    assert str(refusal.value).splitlines() == [
        "the cluster cannot run this search (docs/cluster.md):",
        "owl (10.0.0.1): has no data.",
        "owl (10.0.0.1): lacks timm.",
        "wren (10.0.0.2): does not answer.",
    ]
    assert sorted(tmp_path.iterdir()) == [data_dir]


def test_one_machine_is_not_asked_but_its_storage_is_tried(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Node] = []
    monkeypatch.setattr(node_check, "ask", lambda nodes, question, argument: [asked.append(node) for node in nodes])
    check_nodes([OWL], data_dir, tmp_path / "runs", None)
    check_nodes([OWL], data_dir, tmp_path / "runs", (tmp_path / "bucket").as_uri())
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written to"):
        check_nodes([OWL], data_dir, tmp_path / "runs", (tmp_path / "file").as_uri())

    assert asked == []


def test_markers_go_away(tmp_path: Path) -> None:
    for storage in (None, tmp_path.as_uri()):
        with marked(tmp_path, storage) as name:
            assert [path.name for path in tmp_path.iterdir()] == [name]
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "failures"),
    [
        ("the actor's node was terminated unexpectedly: health check failed due to missing too many heartbeats", 0),
        ("ValueError: no such node", 1),
        ("", 1),
    ],
)
def test_only_the_loss_of_a_machine_is_not_the_trial_s_failure(tmp_path: Path, error: str, failures: int) -> None:
    (tmp_path / "error.txt").write_text(f"Failure # 1\n{error}\n", encoding="utf-8")
    trial = SimpleNamespace(
        run_metadata=SimpleNamespace(num_failures=1), error_file=str(tmp_path / "error.txt"), config={"number": 0}
    )
    NodeLosses().on_trial_recover(0, [], trial)

    assert trial.run_metadata.num_failures == failures
