"""The ensemble job on a real run: restarts, damaged and labelled soundscapes."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import ray
import soundfile

from sed_model.core.errors import AudioError
from trainables import ensemble
from trainables.labelling.candidates import EnsembleJob
from trainables.labelling.job import predict_shards
from trainables.labelling.plan import plan_ensemble

slow = pytest.mark.slow
Label = Callable[..., pd.DataFrame]


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


def predicted(out: Path) -> np.ndarray:
    """(windows, classes) scores of the first member."""
    tables = [pd.read_parquet(path) for path in sorted(out.glob("predictions/*/part-*.parquet"))]
    return np.stack(pd.concat(tables)["member_0"].to_numpy())


def test_a_restart_predicts_only_what_is_missing(label: Label, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, first = parts_in(out), pd.read_parquet(out / "pseudo_labels" / "part-00000.parquet")
    next(out.glob("predictions/*/part-00001.parquet")).unlink()
    second, after = label(), parts_in(out)

    assert list(before) == ["part-00000.parquet", "part-00001.parquet"]
    assert "2 of 3 parts are there already" in capsys.readouterr().out
    assert after["part-00000.parquet"] == before["part-00000.parquet"]
    assert after["part-00001.parquet"] > before["part-00001.parquet"]
    pd.testing.assert_frame_equal(first, second)


@slow
def test_another_method_needs_no_new_predictions(label: Label, out: Path) -> None:
    mean, before = pd.read_parquet(out / "pseudo_labels" / "part-00000.parquet"), parts_in(out)
    highest, after = label("--method", "max"), parts_in(out)

    assert after == before
    assert highest["confidence"].mean() > mean["confidence"].mean()


@slow
def test_what_each_rule_leaves_is_told(label: Label, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No window, where the best class has to be sure."""
    table = label("--set", "pseudo.keep_window=0.99", "--set", "pseudo.max_disagreement=0.5")
    output = capsys.readouterr().out
    n_windows = json.loads((out / "summary.json").read_text(encoding="utf-8"))["windows"]

    assert table.empty
    assert f"after each rule: {n_windows} (max_disagreement=0.5), 0 (keep_window=0.99), 0 (" in output
    assert "no window was sure enough to be kept; lower pseudo.keep_window, or train longer" in output
    assert next(line for line in output.splitlines() if line.endswith("  in use")).split()[:2] == ["0.99", "0"]


@slow
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


@slow
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


@slow
def test_the_actors_of_an_ensemble_that_fails_end(finished_run: Path, tiny_root: Path, tmp_path: Path) -> None:
    """Else they would keep their CPUs from the rest of the session."""
    plan = plan_ensemble(EnsembleJob(finished_run, tiny_root, tmp_path / "out", workers=1))
    nowhere = replace(plan.shards()[0], part=Path("/proc/nowhere/part.parquet"))

    # What failed holds on to the frame, and with it to the actors: they end only where they are told to.
    with pytest.raises(ray.exceptions.RayTaskError, match="/proc/nowhere") as failure:
        predict_shards(plan, [nowhere])

    deadline_s = time.monotonic() + 60
    while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"]:
        assert time.monotonic() < deadline_s, "an actor still holds its CPU"
        time.sleep(0.1)
    assert failure.tb is not None


def test_other_inference_settings_predict_anew_and_change_the_scores(
    label: Label, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How they change them: test_one_scoring_path.py."""
    before, scores = parts_in(out), predicted(out)
    label("--set", "inference.frame_share=1.0")

    assert all(time_ns > before[name] for name, time_ns in parts_in(out).items())
    assert (predicted(out) > scores).mean() > 0.9
    assert "soundscapes are scored with inference.frame_share=1.0" in capsys.readouterr().out


def test_what_the_labels_are_worth_is_in_the_summary(out: Path) -> None:
    """Two labelled soundscapes of four windows with one call each; they are in no label table."""
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    labels = pd.read_parquet(out / "pseudo_labels" / "part-00000.parquet")

    assert (summary["labelled"]["windows"], summary["labelled"]["present"]) == (8, 8)
    assert summary["labelled"]["right"] <= summary["labelled"]["labels"]
    assert "too good" in summary["labelled"]["note"]
    assert summary["after_rule"]["kept"] == len(labels) == sum(summary["by_class"].values())
    assert set(labels["filename"]).isdisjoint({"L0.wav", "L1.wav"})


@slow
def test_a_killed_job_goes_on_and_ends_with_the_same_labels(
    label: Label, out: Path, finished_run: Path, tiny_root: Path, tmp_path: Path, start_command: Callable[..., Any]
) -> None:
    folder, broken = tmp_path / "soundscapes", tmp_path / "broken"
    folder.mkdir()
    for number in range(80):
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
    assert len(done) < 10
    assert not (broken / "pseudo_labels").exists()
    label(*all_windows, "--out", broken)

    assert parts_in(broken).items() >= done.items()
    assert len(expected) > 1000
    pd.testing.assert_frame_equal(pd.read_parquet(broken / "pseudo_labels" / "part-00000.parquet"), expected)
