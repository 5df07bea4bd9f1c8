"""The ensemble job on a real run: members, restarts, damaged and labelled soundscapes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sed_model.errors import AudioError, CheckpointError
from sed_model.files import write_parquet
from trainables import ensemble
from trainables.ensemble_plan import EnsembleJob, plan_ensemble

pytestmark = pytest.mark.slow
Label = Callable[..., pd.DataFrame]


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, without its ensemble."""
    return Path(shutil.copytree(finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("ensemble", "tune")))


@pytest.fixture
def out(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of what the search's own ensemble of two left behind."""
    return Path(shutil.copytree(finished_run / "ensemble", tmp_path / "out"))


@pytest.fixture
def label(finished_run: Path, out: Path) -> Label:
    """Runs the command on the finished run, with one actor; the pseudo-labels come back."""

    def run_command(*arguments: object) -> pd.DataFrame:
        words = ["--run", finished_run, "--out", out, "--top-k", "2", "--workers", "1", *arguments]
        ensemble.main([str(word) for word in words])
        return pd.read_parquet(out / "pseudo_labels" / "part-00000.parquet")

    return run_command


def parts_in(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in sorted(out.glob("predictions/*/part-*.parquet"))}


def plan(run: Path, data: Path, **changes: Any) -> Any:
    return plan_ensemble(EnsembleJob(run, data, run / "ensemble", **changes))


def test_a_restart_predicts_only_what_is_missing(label: Label, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, first = parts_in(out), pd.read_parquet(out / "pseudo_labels" / "part-00000.parquet")
    next(out.glob("predictions/*/part-00001.parquet")).unlink()
    second, after = label(), parts_in(out)

    assert list(before) == ["part-00000.parquet", "part-00001.parquet"]
    assert "1 of 2 parts are there already" in capsys.readouterr().out
    assert after["part-00000.parquet"] == before["part-00000.parquet"]
    assert after["part-00001.parquet"] > before["part-00001.parquet"]
    pd.testing.assert_frame_equal(first, second)


def test_another_method_starts_anew_and_leaves_other_files_alone(label: Label, out: Path) -> None:
    notes = out / "predictions" / "mine" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("keep")
    mean, before = pd.read_parquet(out / "pseudo_labels" / "part-00000.parquet"), parts_in(out)
    highest, after = label("--method", "max"), parts_in(out)

    assert notes.read_text() == "keep"
    assert list(after) == list(before)
    assert all(after[name] > before[name] for name in before)
    assert highest["confidence"].mean() > mean["confidence"].mean()


def test_damaged_soundscapes_are_listed_or_skipped(
    label: Label, out: Path, tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "soundscapes"
    folder.mkdir()
    shutil.copy(tiny_root / "train_soundscapes" / "U3.wav", folder / "fine.wav")
    (folder / "empty.ogg").write_bytes(b"")
    (folder / "noise.flac").write_bytes(bytes(1000))

    before = (out / "members.json").stat().st_mtime_ns
    with pytest.raises(AudioError, match=r"2 soundscapes cannot be read:\n.*empty.ogg: .*0 bytes.*\n.*noise.flac: "):
        label("--soundscapes", folder)
    assert (out / "members.json").stat().st_mtime_ns == before

    labels = label("--soundscapes", folder, "--set", "data.on_bad_audio=skip")
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert set(labels["filename"]) == {"fine.wav"}
    assert "2 unreadable soundscapes skipped" in capsys.readouterr().out
    assert [bad["filename"] for bad in summary["unreadable"]] == ["empty.ogg", "noise.flac"]
    assert (summary["soundscapes"], summary["windows"]) == (3, 7)


def test_a_threshold_that_no_window_reaches_leaves_an_empty_table(label: Label, out: Path) -> None:
    labels = label("--set", "pseudo.keep_window=1.0")

    assert len(labels) == 0
    assert json.loads((out / "summary.json").read_text(encoding="utf-8"))["pseudo_labels"] == 0


# --- the plan, without Ray


def test_labelled_soundscapes_are_left_out_of_any_folder(run: Path, tiny_root: Path, tmp_path: Path) -> None:
    """They validate; a copy of them is labelled too."""
    copy = shutil.copytree(tiny_root / "train_soundscapes", tmp_path / "copy")

    own, given = plan(run, tiny_root), plan(run, tiny_root, soundscapes=Path(copy))

    assert own.filenames == given.filenames == tuple(sorted(f"U{number}.wav" for number in range(2, 12)))


def test_members_are_chosen_by_their_results(run: Path, tiny_root: Path) -> None:
    """Neither names nor files in the folders decide."""
    trials = pd.read_parquet(run / "trials.parquet").sort_values("macro_auc", ascending=False)
    (run / "trials" / "trial_9999").mkdir()
    for path in (run / "trials" / "trial_0000").iterdir():
        shutil.copy(path, run / "trials" / "trial_9999")

    chosen = plan(run, tiny_root, top_k=8)

    assert [member.macro_auc for member in chosen.members] == trials["macro_auc"].to_list()
    assert {member.trial_id for member in chosen.members} == set(trials["trial_id"])


def test_failed_trials_are_no_members(run: Path, tiny_root: Path) -> None:
    table = pq.read_table(run / "trials.parquet")
    status = ["failed" if row["macro_auc"] > 0.7 else row["status"] for row in table.to_pylist()]
    at = table.column_names.index("status")
    write_parquet(run / "trials.parquet", table.set_column(at, "status", pa.array(status)))

    assert all(member.macro_auc <= 0.7 for member in plan(run, tiny_root, top_k=8).members)


def change_lineage(folder: Path, **changes: Any) -> None:
    lineage = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps(lineage | changes), encoding="utf-8")


@pytest.mark.parametrize(
    "changes", [{"classes": ["1139490", "grekis", "abethr1"]}, {"data_fingerprint": "0" * 32}], ids=["classes", "data"]
)
def test_members_that_do_not_fit_together_are_refused(run: Path, tiny_root: Path, changes: dict[str, Any]) -> None:
    second = plan(run, tiny_root, top_k=2).members[1].trial_id
    change_lineage(run / "trials" / second, **changes)

    with pytest.raises(CheckpointError, match=f"{second}: its {next(iter(changes))} differ"):
        plan(run, tiny_root, top_k=2)


def test_a_damaged_member_is_refused(run: Path, tiny_root: Path) -> None:
    second = plan(run, tiny_root, top_k=2).members[1].trial_id
    (run / "trials" / second / "model.safetensors").write_bytes(b"damaged")

    with pytest.raises(CheckpointError, match="does not match the checksum"):
        plan(run, tiny_root, top_k=2)


def test_a_run_without_models_is_refused(run: Path, tiny_root: Path) -> None:
    table = pq.read_table(run / "trials.parquet")
    write_parquet(run / "trials.parquet", table.slice(0, 0))

    with pytest.raises(CheckpointError, match="no trial with a model"):
        plan(run, tiny_root)
