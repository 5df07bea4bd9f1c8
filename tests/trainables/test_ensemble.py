"""The ensemble job on a real run: members, restarts, damaged and labelled soundscapes."""

from __future__ import annotations

import json
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import yaml

from sed_model.checkpoint import Lineage, LoadedModel
from sed_model.config import config_from_dict
from sed_model.errors import AudioError, CheckpointError, ConfigError, DataError
from sed_model.files import write_parquet
from sed_model.model import SedModel
from sed_model.recordings import read_data_folder
from trainables import ensemble
from trainables.ensemble_files import out_of_fold
from trainables.ensemble_members import table_lines
from trainables.ensemble_plan import EnsembleJob, members_record, plan_ensemble
from trainables.runs import RunFolder

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
    assert "2 of 3 parts are there already" in capsys.readouterr().out
    assert after["part-00000.parquet"] == before["part-00000.parquet"]
    assert after["part-00001.parquet"] > before["part-00001.parquet"]
    pd.testing.assert_frame_equal(first, second)


def test_another_method_needs_no_new_predictions(label: Label, out: Path) -> None:
    mean, before = pd.read_parquet(out / "pseudo_labels" / "part-00000.parquet"), parts_in(out)
    highest, after = label("--method", "max"), parts_in(out)

    assert after == before
    assert highest["confidence"].mean() > mean["confidence"].mean()


def test_another_overlap_starts_anew_and_leaves_other_files_alone(label: Label, out: Path) -> None:
    notes = out / "predictions" / "mine" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("keep")
    before = parts_in(out)
    label("--set", "inference.overlap=0")
    after, summary = parts_in(out), json.loads((out / "summary.json").read_text(encoding="utf-8"))

    assert notes.read_text() == "keep"
    assert list(after) == list(before)
    assert all(after[name] > before[name] for name in before)
    assert summary["windows"] == 10 * 4


def test_damaged_soundscapes_are_counted_or_an_error(
    label: Label, out: Path, tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "soundscapes"
    folder.mkdir()
    shutil.copy(tiny_root / "train_soundscapes" / "U3.wav", folder / "fine.wav")
    (folder / "empty.ogg").write_bytes(b"")
    (folder / "noise.flac").write_bytes(bytes(1000))

    before = (out / "members.json").stat().st_mtime_ns
    with pytest.raises(AudioError, match=r"2 of 3 soundscapes cannot be read:\n.*empty.ogg: .*0 bytes.*\n.*noise.flac"):
        label("--soundscapes", folder, "--fail-on-bad-audio")
    assert (out / "members.json").stat().st_mtime_ns == before

    labels = label("--soundscapes", folder)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert set(labels["filename"]) == {"fine.wav"}
    assert "2 of 3 soundscapes cannot be read" in capsys.readouterr().out
    assert [bad["filename"] for bad in summary["unreadable"]] == ["empty.ogg", "noise.flac"]
    assert (summary["soundscapes"], summary["windows"]) == (3, 7)


def test_a_threshold_that_no_window_reaches_leaves_an_empty_table(label: Label, out: Path) -> None:
    labels = label("--set", "pseudo.keep_window=1.0")

    assert len(labels) == 0
    assert json.loads((out / "summary.json").read_text(encoding="utf-8"))["pseudo_labels"] == 0


def test_what_the_labels_are_worth_is_in_the_summary(out: Path) -> None:
    """Two labelled soundscapes of four windows with one call each; they are in no label table."""
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    labels = pd.read_parquet(out / "pseudo_labels" / "part-00000.parquet")

    assert (summary["labelled"]["windows"], summary["labelled"]["present"]) == (8, 8)
    assert summary["labelled"]["right"] <= summary["labelled"]["labels"]
    assert "too good" in summary["labelled"]["note"]
    assert summary["after_rule"]["kept"] == len(labels) == sum(summary["by_class"].values())
    assert set(labels["filename"]).isdisjoint({"L0.wav", "L1.wav"})


def test_soundscapes_that_validated_are_labelled_only_when_allowed_and_marked(
    label: Label, out: Path, tiny_root: Path
) -> None:
    labels = label(
        *("--soundscapes", tiny_root / "train_soundscapes", "--allow-validation-soundscapes"),
        *("--set", "pseudo.keep_window=0", "--set", "pseudo.keep_class=0", "--set", "pseudo.max_share=1000"),
    )
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))

    assert set(labels.loc[labels["from_validation"], "filename"]) == {"L0.wav", "L1.wav"}
    assert len(set(labels["filename"])) == 12
    assert summary["from_validation"] == labels["from_validation"].sum() > 0


def test_a_killed_job_goes_on_and_ends_with_the_same_labels(
    label: Label, out: Path, finished_run: Path, tiny_root: Path, tmp_path: Path, start_command: Callable[..., Any]
) -> None:
    folder, broken = tmp_path / "soundscapes", tmp_path / "broken"
    folder.mkdir()
    for number in range(40):
        wave, rate_hz = soundfile.read(tiny_root / "train_soundscapes" / f"U{2 + number % 10}.wav")
        soundfile.write(folder / f"S{number:02d}.wav", np.tile(wave, 6), rate_hz)
    all_windows = ("--soundscapes", folder, "--set", "pseudo.max_share=1000")
    expected = label(*all_windows)
    n_parts = random.Random(0).randint(1, 2)
    words = ("--run", finished_run, "--top-k", "2", "--workers", "1", "--out", broken)
    job = start_command("trainables.ensemble", *words, *all_windows)
    job.wait_until(lambda: len(parts_in(broken)) >= n_parts)
    job.signal(signal.SIGKILL)
    done = parts_in(broken)
    assert len(done) < 5
    assert not (broken / "pseudo_labels").exists()
    label(*all_windows, "--out", broken)

    assert parts_in(broken).items() >= done.items()
    assert len(expected) > 1000
    pd.testing.assert_frame_equal(pd.read_parquet(broken / "pseudo_labels" / "part-00000.parquet"), expected)


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

    assert [member.macro_auc for member in chosen.choice.members] == trials["macro_auc"].to_list()
    assert {member.trial_id for member in chosen.choice.members} == set(trials["trial_id"])


def test_failed_trials_are_no_members(run: Path, tiny_root: Path) -> None:
    table = pq.read_table(run / "trials.parquet")
    status = ["failed" if row["macro_auc"] > 0.7 else row["status"] for row in table.to_pylist()]
    at = table.column_names.index("status")
    write_parquet(run / "trials.parquet", table.set_column(at, "status", pa.array(status)))

    assert all(member.macro_auc <= 0.7 for member in plan(run, tiny_root, top_k=8).choice.members)


def change_lineage(folder: Path, **changes: Any) -> None:
    lineage = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps(lineage | changes), encoding="utf-8")


MISFITS = pytest.mark.parametrize(
    "changes", [{"classes": ["1139490", "grekis", "abethr1"]}, {"data_fingerprint": "0" * 32}], ids=["classes", "data"]
)


@MISFITS
def test_named_members_that_do_not_fit_together_are_refused(
    run: Path, tiny_root: Path, changes: dict[str, Any]
) -> None:
    first, second = (member.trial_id for member in plan(run, tiny_root, top_k=2).choice.members)
    change_lineage(run / "trials" / second, **changes)

    with pytest.raises(CheckpointError, match=f"{second}: its {next(iter(changes))} differ"):
        plan(run, tiny_root, members=(second, first))


@MISFITS
def test_members_that_do_not_fit_are_left_out_for_the_next_best(
    run: Path, tiny_root: Path, changes: dict[str, Any]
) -> None:
    first, second, third = (member.trial_id for member in plan(run, tiny_root, top_k=3).choice.members)
    change_lineage(run / "trials" / second, **changes)

    choice = plan(run, tiny_root, top_k=2).choice

    assert [member.trial_id for member in choice.members] == [first, third]
    assert f"its {next(iter(changes))} differ" in choice.facts["left_out"][second]
    assert any(f"left out: {second}" in line for line in table_lines(choice))


def test_named_members_are_taken_and_unknown_ones_refused(run: Path, tiny_root: Path) -> None:
    worst = plan(run, tiny_root, top_k=8).choice.members[-1].trial_id

    assert [member.trial_id for member in plan(run, tiny_root, members=(worst,)).choice.members] == [worst]
    with pytest.raises(ConfigError, match=r"--members trial_000x: is no trial with a score; did you mean trial_000"):
        plan(run, tiny_root, members=(worst, "trial_000x"))


def test_a_greedy_choice_is_no_worse_than_its_best_member(run: Path, tiny_root: Path) -> None:
    choice = plan(run, tiny_root, select="greedy", top_k=3).choice
    best = max(row["macro_auc"] for row in RunFolder(run).read_trials() if row["macro_auc"] is not None)

    assert choice.members[0].macro_auc == pytest.approx(best)
    assert choice.facts["score"] >= best - 1e-6
    assert sum(member.weight for member in choice.members) == pytest.approx(1)
    assert sum(member.times_chosen for member in choice.members) == len(choice.facts["steps"])
    assert set(choice.facts["cross_validated"]) == {"greedy", "best", "top"}


def test_a_greedy_choice_needs_predictions_of_the_same_windows(run: Path, tiny_root: Path) -> None:
    second = plan(run, tiny_root, top_k=2).choice.members[1].trial_id
    (run / "trials" / second / "oof.parquet").write_bytes(b"damaged")

    choice = plan(run, tiny_root, select="greedy").choice

    assert second not in {member.trial_id for member in choice.members}
    assert "oof.parquet: is damaged" in choice.facts["left_out"][second]
    assert second in {member.trial_id for member in plan(run, tiny_root, top_k=2).choice.members}


def test_what_members_were_validated_on_is_recorded(run: Path, tiny_root: Path) -> None:
    record = members_record(plan(run, tiny_root))

    assert record["validation_soundscapes"] == ["L0.wav", "L1.wav"]
    assert {member["validation"]["kind"] for member in record["members"]} == {"soundscapes"}


def test_soundscapes_that_validate_alone_are_refused(run: Path, tiny_root: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_root / "train_soundscapes" / "L0.wav", tmp_path)

    with pytest.raises(DataError, match=r"1 left out: labelled soundscapes.*--allow-validation-soundscapes"):
        plan(run, tiny_root, soundscapes=tmp_path)
    allowed = plan(run, tiny_root, soundscapes=tmp_path, allow_validation_soundscapes=True)
    assert allowed.sources.from_validation == {"L0.wav"}


def test_recordings_that_every_member_trained_on_are_not_labelled(run: Path, tiny_root: Path) -> None:
    with pytest.raises(DataError, match="4 left out: every member trained on them"):
        plan(run, tiny_root, soundscapes=tiny_root / "train_audio" / "grekis")


def test_recordings_are_labelled_out_of_fold(tiny_root: Path, tiny_space: Path) -> None:
    """Author 0 to 3 have one recording of each class: each fold is one or two authors."""
    data = read_data_folder(tiny_root, 1.0)
    base = config_from_dict(yaml.safe_load((tiny_space.parent / "base.yaml").read_text()))
    folds = [base.with_overrides({"data.validation": "folds", "data.n_folds": 2, "data.fold": fold}) for fold in (0, 1)]
    lineage = Lineage.model_construct(data_fingerprint=data.fingerprint, validation="folds")
    members = [LoadedModel(SedModel(fold, 3), fold, lineage) for fold in folds]
    folder = tiny_root / "train_audio" / "grekis"

    may_label = out_of_fold(folder, [f"XC{number}.wav" for number in range(4)], data, members)

    assert len(may_label) == 4
    assert all(sum(allowed) == 1 for allowed in may_label.values())
    assert {allowed.index(True) for allowed in may_label.values()} == {0, 1}
    assert out_of_fold(tiny_root / "train_soundscapes", ["U2.wav"], data, members) == {}


def test_a_damaged_member_is_refused(run: Path, tiny_root: Path) -> None:
    second = plan(run, tiny_root, top_k=2).choice.members[1].trial_id
    (run / "trials" / second / "model.safetensors").write_bytes(b"damaged")

    with pytest.raises(CheckpointError, match="does not match the checksum"):
        plan(run, tiny_root, top_k=2)


def test_a_run_without_models_is_refused(run: Path, tiny_root: Path) -> None:
    table = pq.read_table(run / "trials.parquet")
    write_parquet(run / "trials.parquet", table.slice(0, 0))

    with pytest.raises(CheckpointError, match="no trial with a model"):
        plan(run, tiny_root)
