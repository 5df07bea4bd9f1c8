"""The recorder's tables, from reports made by hand."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sed_model.config import SedConfig
from trainables.recorder import Recorder, error_line
from trainables.runs import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def recorder_of(run: RunFolder, finished: dict[int, str] | None = None) -> Recorder:
    return Recorder(run, SedConfig().with_overrides, 3, finished or {})


def trial(number: int, error_file: Path | None = None) -> Any:
    return SimpleNamespace(config={"number": number, "values": {"model.pool_type": "gem"}}, error_file=error_file)


def report(epoch: int, score: float, time_s: float = 10.0, finished: bool = False) -> dict[str, Any]:
    return {
        "stage": "pretrain_ce", "epoch": epoch, "stage_epoch": epoch, "epochs": 4, "train_loss": 0.5, "val_loss": 0.6,
        "macro_auc": score, "best_macro_auc": score, "lr": 1e-3, "samples_per_s": 50.0, "finished": finished,
        "params_m": 4.0, "cpu_ms_per_window": 20.0, "time_total_s": time_s,
    }  # fmt: skip


def feed(recorder: Recorder, number: int, *reports: dict[str, Any]) -> None:
    recorder.on_trial_start(0, [], trial(number))
    for result in reports:
        recorder.on_trial_result(0, [], trial(number), result)


def test_the_row_shows_the_best_epoch(run: RunFolder) -> None:
    recorder = recorder_of(run)
    feed(recorder, 0, report(1, 0.6), report(2, 0.8), report(3, 0.7, 30.0, finished=True))
    recorder.on_trial_complete(0, [], trial(0))

    (row,) = run.read_trials()
    assert (row["trial_id"], row["status"], row["macro_auc"]) == ("trial_0000", "complete", 0.8)
    assert (row["epoch"], row["epochs"], row["duration_s"]) == (2, 3, 30.0)
    assert row["config.model.pool_type"] == "gem"
    assert [curve["macro_auc"] for curve in run.read_curves()] == [0.6, 0.8, 0.7]


def test_a_trial_that_did_not_finish_is_pruned(run: RunFolder) -> None:
    recorder = recorder_of(run)
    feed(recorder, 0, report(1, 0.6))
    recorder.on_trial_complete(0, [], trial(0))

    assert run.read_trials()[0]["status"] == "pruned"


def test_a_reported_failure_keeps_its_whole_message(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    recorder = recorder_of(run)
    feed(recorder, 0, report(1, 0.6), {"failure": "loss is nan\nfiles: a.ogg", "time_total_s": 12.0})
    recorder.on_trial_complete(0, [], trial(0))

    (row,) = run.read_trials()
    assert (row["status"], row["error"], row["macro_auc"]) == ("failed", "loss is nan\nfiles: a.ogg", 0.6)
    assert len(run.read_curves()) == 1
    assert "trial_0000 failed: loss is nan" in capsys.readouterr().out


def test_a_raised_error_is_named_with_its_traceback(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder, error_file = recorder_of(run), tmp_path / "error.txt"
    error_file.write_text("Traceback ...\n  File x\nOSError: disk full\n")
    recorder.on_trial_start(0, [], trial(1))
    recorder.on_trial_recover(0, [], trial(1, error_file))
    assert "trial_0001 broke off and starts again: OSError: disk full" in capsys.readouterr().out
    recorder.on_trial_error(0, [], trial(1, error_file))

    assert run.read_trials()[0]["error"] == "OSError: disk full"
    assert f"OSError: disk full (traceback: {run.path}/tune/trial_0001/error.txt)" in capsys.readouterr().out


def test_a_trial_without_a_report_can_end(run: RunFolder) -> None:
    recorder = recorder_of(run)
    recorder.on_trial_start(0, [], trial(0))
    recorder.on_trial_complete(0, [], trial(0))

    assert run.read_trials()[0]["macro_auc"] is None


def test_the_time_of_a_resumed_trial_adds_up(run: RunFolder) -> None:
    first = recorder_of(run)
    feed(first, 0, report(1, 0.6, 10.0))
    first.flush()
    second = recorder_of(run)
    feed(second, 0, report(2, 0.7, 5.0), report(3, 0.7, 8.0, finished=True))
    second.on_trial_complete(0, [], trial(0))

    assert run.read_trials()[0]["duration_s"] == 18.0
    assert [row["epoch"] for row in run.read_curves()] == [1, 2, 3]


def test_an_epoch_reported_twice_is_kept_once(run: RunFolder) -> None:
    recorder = recorder_of(run)
    feed(recorder, 0, report(1, 0.6), report(1, 0.6))
    recorder.flush()

    assert len(run.read_curves()) == 1


def test_flush_writes_what_waits(run: RunFolder) -> None:
    recorder = recorder_of(run)
    feed(recorder, 0, report(1, 0.6), report(2, 0.7))
    assert len(run.read_curves()) < 2
    recorder.flush()

    assert len(run.read_curves()) == 2


def test_a_trial_that_ended_when_the_search_was_killed_is_settled(run: RunFolder) -> None:
    feed(recorder_of(run), 0, report(1, 0.6))
    recorder_of(run, {0: "pruned"}).flush()

    assert run.read_trials()[0]["status"] == "pruned"


def test_a_trial_that_is_to_go_on_stays_running(run: RunFolder) -> None:
    feed(recorder_of(run), 0, report(1, 0.6))
    recorder_of(run, {1: "complete"}).flush()

    assert run.read_trials()[0]["status"] == "running"


def test_tune_can_pickle_it(run: RunFolder) -> None:
    recorder = recorder_of(run)
    feed(recorder, 0, report(1, 0.6))
    copy = pickle.loads(pickle.dumps(recorder))  # noqa: S301 - our own bytes
    copy.on_trial_complete(0, [], trial(0))

    assert run.read_trials()[0]["status"] == "pruned"


@pytest.mark.parametrize(
    ("traceback", "line"),
    [
        ("Traceback\n  File\nValueError: bad\n", "ValueError: bad"),
        ("ray.exceptions.RayActorError: It died.\n\tclass_name: X\n", "ray.exceptions.RayActorError: It died."),
        ("ValueError: first\nDuring handling\nOSError: second\n  more\n", "OSError: second"),
        ("killed\n", "killed"),
        ("", "unknown error"),
    ],
)  # fmt: skip
def test_the_line_that_names_the_error(traceback: str, line: str) -> None:
    assert error_line(traceback) == line
