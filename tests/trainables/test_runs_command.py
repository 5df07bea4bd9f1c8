"""Run folders listed, shown and pruned. No search runs here: the folders are written as a search leaves them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sed_model.core.errors import DataError
from sed_model.core.files import write_json
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.run_tables import trial_id
from trainables.keeping.driver_lock import HOLDER_FILE, Holder, only_driver
from trainables.keeping.run_contents import STILL_RUNS_S
from trainables.runs import main, size_text

ROOT = Path(__file__).parents[2]


def row(number: int, status: str, score: float | None) -> dict[str, Any]:
    return {
        "trial_id": trial_id(number), "number": number, "status": status, "macro_auc": score, "stage": "train_bce",
        "epoch": 2, "epochs": 3, "duration_s": 30.0, "error": "out of memory" if status == "failed" else None,
    }  # fmt: skip


def write_run(path: Path, n_wanted: int = 3, idle: bool = True) -> RunFolder:
    """Three trials that have ended, with everything that can be pruned.

    Unless it is `idle`, another machine has written to it lately.
    """
    run = RunFolder(path)
    data = {"folder": "/data/birds", "fingerprint": "abc"}
    run.write_search({"space_name": "arch", "data": data, "search": {"num_trials": n_wanted}})
    run.write_tables([row(0, "pruned", 0.6), row(1, "complete", 0.8), row(2, "failed", None)], [])
    for name, n_bytes in {
        "trials/trial_0001/model.safetensors": 500, "trials/trial_0001/state.pt": 1000,
        "trials/trial_0001/refit_1/state.previous.pt": 1000, "trials/.ray_train/x": 50, "trials/trial_0001/.a.tmp": 7,
        "tune/tuner.pkl": 30, "tune/trial_0002/error.txt": 40, "ensemble/predictions/k/part-00000.parquet": 60,
        "ensemble/pseudo_labels/part-00000.parquet": 70, "optuna.journal": 80,
    }.items():  # fmt: skip
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(bytes(n_bytes))
    if not idle:
        holder = Holder("search", "another machine", 1, "2026-11-26T10:00:00+0000")
        write_json(path / HOLDER_FILE, asdict(holder))
    else:
        long_ago_s = time.time() - 2 * STILL_RUNS_S
        for file in path.rglob("*"):
            os.utime(file, (long_ago_s, long_ago_s))
    return run


def shown(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    main([*map(str, words), "--json"])
    return json.loads(capsys.readouterr().out)


def test_a_run_is_listed_with_status_trials_and_best_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "first")

    (run,) = shown(capsys, "list", "--out", tmp_path)["runs"]

    assert (run["name"], run["status"], run["space"]) == ("first", "complete", "arch")
    assert (run["n_trials"], run["n_ended"], run["n_pruned"], run["n_failed"]) == (3, 3, 1, 1)
    assert (run["best_trial"], run["best_macro_auc"]) == ("trial_0001", 0.8)
    assert run["size_bytes"] == sum(file.stat().st_size for file in (tmp_path / "first").rglob("*") if file.is_file())


def test_the_list_for_people_has_a_line_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "first")
    write_run(tmp_path / "second", n_wanted=20)

    main(["list", "--out", str(tmp_path)])

    lines = capsys.readouterr().out.splitlines()
    (first,) = [line for line in lines if "first" in line]
    (second,) = [line for line in lines if "second" in line]
    assert "complete" in first
    assert "0.8000" in first
    assert "interrupted" in second
    assert "3 of 20" in second


def test_a_damaged_run_hides_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "good")
    (write_run(tmp_path / "bad").path / "trials.parquet").write_bytes(b"PAR1")

    runs = {run["name"]: run for run in shown(capsys, "list", "--out", tmp_path)["runs"]}

    assert runs["bad"]["status"] == "damaged"
    assert runs["bad"]["problem"]
    assert runs["good"]["status"] == "complete"


@pytest.mark.parametrize(
    ("n_wanted", "host", "age_s", "status"),
    [
        (3, "", 0, "complete"), (4, "", 0, "interrupted"), (4, "here", 0, "interrupted"), (4, "other", 0, "running"),
        (4, "other", STILL_RUNS_S + 60, "interrupted"),
    ],
)  # fmt: skip
def test_status(
    n_wanted: int, host: str, age_s: float, status: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By who signed last: nobody where the command ended in order, a process of this machine that is gone, another."""
    run = write_run(tmp_path / "first", n_wanted)
    if host:
        with subprocess.Popen([sys.executable, "-c", ""]) as process:
            process.wait()
        name = socket.gethostname() if host == "here" else host
        write_json(run.path / HOLDER_FILE, asdict(Holder("search", name, process.pid, "2026-11-26T10:00:00+0000")))
    changed_s = time.time() - age_s
    os.utime(run.path / "optuna.journal", (changed_s, changed_s))

    assert shown(capsys, "show", "first", "--out", tmp_path)["status"] == status


def test_show_tells_the_best_trials_the_failures_and_the_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "first")

    tree = shown(capsys, "show", "first", "--out", tmp_path)

    assert [trial["trial_id"] for trial in tree["best"]] == ["trial_0001", "trial_0000"]
    assert tree["failures"] == {"trial_0002": "out of memory"}
    assert tree["sizes"] == {"trials": 2557, "ensemble": 130, "tune": 70}
    assert tree["removable_bytes"] == 1000 + 1000 + 50 + 7 + 30 + 60


def test_prune_only_tells_what_would_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "first")
    before = sorted(run.path.rglob("*"))

    main(["prune", "--out", str(tmp_path)])

    assert "2.1 kB can go; the same command with --yes removes it" in capsys.readouterr().out
    assert sorted(run.path.rglob("*")) == before


def test_a_run_that_a_command_writes_to_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An epoch may take longer than ten minutes."""
    run = write_run(tmp_path / "first", n_wanted=20)
    with only_driver(run.path, "search"):
        assert shown(capsys, "show", "first", "--out", tmp_path)["status"] == "running"
        assert shown(capsys, "prune", "--yes", "--out", tmp_path)["passed_over"] == ["first"]
        with pytest.raises(DataError, match="first: may still run"):
            main(["prune", "first", "--yes", "--out", str(tmp_path)])

    assert shown(capsys, "show", "first", "--out", tmp_path)["status"] == "interrupted"


def test_prune_keeps_models_tables_labels_and_tracebacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "first")

    told = shown(capsys, "prune", "first", "--yes", "--out", tmp_path)

    assert (told["removed"], told["size_bytes"]) == (True, 2147)
    assert {str(file.relative_to(run.path)) for file in run.path.rglob("*") if file.is_file()} == {
        "search.yaml", "trials.parquet", "curves.parquet", "optuna.journal", "trials/trial_0001/model.safetensors",
        "tune/trial_0002/error.txt", "ensemble/pseudo_labels/part-00000.parquet",
    }  # fmt: skip
    assert shown(capsys, "prune", "first", "--out", tmp_path)["items"] == []


def test_prune_leaves_a_run_alone_that_may_still_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "busy", idle=False)

    assert shown(capsys, "prune", "--yes", "--out", tmp_path)["passed_over"] == ["busy"]
    assert (run.path / "trials/trial_0001/state.pt").exists()
    with pytest.raises(DataError, match="busy: may still run"):
        main(["prune", "busy", "--yes", "--out", str(tmp_path)])


def test_an_unknown_run_names_those_that_there_are(tmp_path: Path) -> None:
    write_run(tmp_path / "first")
    with pytest.raises(DataError, match=r"frist: no such run in .* \(there: first\)"):
        main(["show", "frist", "--out", str(tmp_path)])


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (3e12, "3000.0 GB")]
)
def test_sizes(size_bytes: float, text: str) -> None:
    assert size_text(size_bytes) == text


def test_the_command_starts_without_ray_torch_and_pandas(tmp_path: Path) -> None:
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['x', 'list', '--out', {str(tmp_path)!r}]\n"
        "try:\n    runpy.run_module('trainables.runs', run_name='__main__')\n"
        "except SystemExit as leaving:\n    assert leaving.code == 0\n"
        "print('HEAVY', sorted({'torch', 'ray', 'pandas', 'optuna', 'timm'} & set(sys.modules)))"
    )
    write_run(tmp_path / "first")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "first" in done.stdout
    assert "HEAVY []" in done.stdout
