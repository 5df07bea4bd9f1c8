"""The recorder's tables, from reports made by hand."""

from __future__ import annotations

import math
import pickle
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import DiskFullError, TrainingError
from sed_model.run_folder.folder import RunFolder
from trainables.on_ray.repairs import error_line
from trainables.searching.recorder import Recorder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def recorder_of(run: RunFolder, finished: dict[int, str] | None = None, n_trials: int = 3) -> Recorder:
    return Recorder(run, SedConfig().with_overrides, n_trials, finished or {}, at_a_time=2)


def trial(number: int, error_file: Path | None = None) -> Any:
    point = {"values": {"model.pool_type": "gem"}, "drawn_by": "TPE"}
    return SimpleNamespace(config=point | {"number": number}, error_file=error_file)


def report(
    epoch: int, score: float, time_s: float = 10.0, finished: bool = False, best: tuple[int, float] | None = None
) -> dict[str, Any]:
    """`best`: epoch and score of the best so far, where it is not this one."""
    best_epoch, best_score = best or (epoch, score)
    return {
        "stage": "pretrain_ce", "epoch": epoch, "stage_epoch": epoch, "epochs": 4, "train_loss": 0.5, "val_loss": 0.6,
        "macro_auc": score, "best_macro_auc": best_score, "best_stage": "pretrain_ce", "best_epoch": best_epoch,
        "lr": 1e-3, "samples_per_s": 50.0, "finished": finished, "best_macro_auc_se": 0.05,
        "params_m": 4.0, "cpu_ms_per_window": 20.0, "time_total_s": time_s,
    }  # fmt: skip


def feed(recorder: Recorder, number: int, *reports: dict[str, Any]) -> None:
    recorder.on_trial_start(0, [], trial(number))
    for result in reports:
        recorder.on_trial_result(0, [], trial(number), result)


def recorded(run: RunFolder, *reports: dict[str, Any], ended: bool = True) -> None:
    """The tables of a trial that has reported, and ended or not."""
    recorder = recorder_of(run)
    feed(recorder, 0, *reports)
    if ended:
        recorder.on_trial_complete(0, [], trial(0))
    recorder.flush()


def test_the_row_shows_the_best_epoch(run: RunFolder) -> None:
    recorded(run, report(1, 0.6), report(2, 0.8), report(3, 0.7, 30.0, finished=True, best=(2, 0.8)))

    (row,) = run.read_trials()
    assert (row["trial_id"], row["status"], row["macro_auc"]) == ("trial_0000", "complete", 0.8)
    assert (row["epoch"], row["epochs"], row["duration_s"], row["macro_auc_se"]) == (2, 3, 30.0, 0.05)
    assert row["config.model.pool_type"] == "gem"
    assert [curve["macro_auc"] for curve in run.read_curves()] == [0.6, 0.8, 0.7]


def of_cmap(result: dict[str, Any], score: float, best: float) -> dict[str, Any]:
    """A report of a search by cmAP, of which the standard error is."""
    told = {name: value for name, value in result.items() if name != "best_macro_auc_se"}
    return told | {"cmap": score, "best_cmap": best, "best_cmap_se": 0.03}


def test_what_a_search_goes_by_stands_beside_macro_auc(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """The second epoch has the best cmAP, the third the best macro AUC: the trial's are those of the second."""
    reports = [report(1, 0.7), report(2, 0.6), report(3, 0.8, finished=True, best=(2, 0.6))]
    scores = [(0.2, 0.2), (0.4, 0.4), (0.3, 0.4)]
    recorded(run, *(of_cmap(one, *of_one) for one, of_one in zip(reports, scores, strict=True)))

    (row,) = run.read_trials()
    assert (row["cmap"], row["cmap_se"], row["macro_auc"], row["macro_auc_se"], row["epoch"]) == (
        0.4,
        0.03,
        0.6,
        None,
        2,
    )
    curves = [(curve["cmap"], curve["best_cmap"], curve["macro_auc"]) for curve in run.read_curves()]
    assert curves == [(0.2, 0.2, 0.7), (0.4, 0.4, 0.6), (0.3, 0.4, 0.8)]
    told = capsys.readouterr().out
    assert "AUC 0.8000  cmAP 0.3000 (best 0.4000)" in told
    assert "trial_0000 complete, best cmAP 0.4000   [1 of 3 trials, best 0.4000" in told


def test_a_search_that_goes_on_keeps_what_it_goes_by(run: RunFolder) -> None:
    recorded(run, of_cmap(report(1, 0.7), 0.2, 0.2), ended=False)
    recorder = recorder_of(run)
    feed(recorder, 1, of_cmap(report(1, 0.6), 0.5, 0.5))
    recorder.flush()

    assert [row["cmap"] for row in run.read_trials()] == [0.2, 0.5]


def test_a_result_of_an_earlier_release_has_no_standard_error(run: RunFolder) -> None:
    recorded(run, report(1, 0.6) | {"best_macro_auc_se": math.nan})

    assert run.read_trials()[0]["macro_auc_se"] is None


def test_trials_of_an_earlier_release_have_the_new_keys_at_their_defaults(run: RunFolder) -> None:
    """Or else the leaderboard of a search that is gone on with would show a setting that nobody changed."""
    recorded(run, report(1, 0.6), ended=False)
    run.write_tables([{key: value for key, value in row.items() if "average_epochs" not in key}
                      for row in run.read_trials()], run.read_curves())  # fmt: skip

    going_on = recorder_of(run)
    feed(going_on, 1, report(1, 0.7))
    going_on.flush()

    assert [row["config.optim.average_epochs"] for row in run.read_trials()] == [0, 0]
    assert "optim.average_epochs" not in run.write_leaderboard().columns


def test_a_score_of_the_cross_entropy_stage_is_no_result_of_a_later_one(run: RunFolder) -> None:
    later = report(2, 0.7) | {"stage": "train_bce", "best_stage": "train_bce"}
    recorded(run, report(1, 0.9), later, ended=False)

    (row,) = run.read_trials()
    assert (row["macro_auc"], row["stage"], row["epoch"]) == (0.7, "train_bce", 2)
    assert [curve["best_macro_auc"] for curve in run.read_curves()] == [0.9, 0.7]


def test_a_trial_that_goes_on_keeps_its_best_while_it_repeats_itself(run: RunFolder) -> None:
    feed(recorder_of(run), 0, report(1, 0.6), report(2, 0.8))
    recorded(run, report(1, 0.6), ended=False)

    assert run.read_trials()[0]["macro_auc"] == 0.8


def test_what_an_epoch_has_to_say_is_a_line_of_its_own(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    feed(recorder_of(run), 0, report(1, 0.6) | {"note": "auto_batch: 64 clips do not fit"}, report(2, 0.7))
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "trial_0000  auto_batch: 64 clips do not fit"
    assert "epoch   1/4" in lines[1]
    assert "epoch   2/4" in lines[3]


def test_how_long_the_trials_take_is_told_once_an_epoch_is_timed(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second epoch took 30 s: 4 of them a trial, for 3 trials two at a time."""
    recorder = recorder_of(run)
    for number in (0, 1):
        feed(recorder, number, report(1, 0.6, 90.0), report(2, 0.7, 120.0))

    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("an epoch")]
    assert told == ["an epoch takes 30.0 s: 3 trials of 4 epochs take at most about 4 min"]


def test_a_trial_that_did_not_finish_is_pruned(run: RunFolder) -> None:
    recorded(run, report(1, 0.6))

    assert run.read_trials()[0]["status"] == "pruned"


def test_a_reported_failure_keeps_its_whole_message(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(run, report(1, 0.6), {"failure": "loss is nan\nfiles: a.ogg", "time_total_s": 12.0})

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
    recorder.flush()

    assert run.read_trials()[0]["error"] == "OSError: disk full"
    assert f"OSError: disk full (traceback: {run.path}/tune/trial_0001/error.txt)" in capsys.readouterr().out


def test_a_trial_without_a_report_can_end(run: RunFolder) -> None:
    recorded(run)

    assert run.read_trials()[0]["macro_auc"] is None


def test_the_time_of_a_resumed_trial_adds_up(run: RunFolder) -> None:
    recorded(run, report(1, 0.6, 10.0), ended=False)
    recorded(run, report(2, 0.7, 5.0), report(3, 0.7, 8.0, finished=True))

    assert run.read_trials()[0]["duration_s"] == 18.0
    assert [row["epoch"] for row in run.read_curves()] == [1, 2, 3]


def test_an_epoch_reported_twice_is_kept_once(run: RunFolder) -> None:
    recorded(run, report(1, 0.6), report(1, 0.6), ended=False)

    assert len(run.read_curves()) == 1


def test_a_search_that_is_killed_between_two_writes_loses_no_epoch(run: RunFolder) -> None:
    feed(recorder_of(run), 0, report(1, 0.6, 10.0), report(2, 0.8, 20.0), report(3, 0.7, 30.0, best=(2, 0.8)))
    with run.recent.open("a") as file:
        file.write('{"name": "trial_0000", "upd')  # and in the middle of a third
    recorder_of(run, {0: "pruned"}).flush()

    (row,) = run.read_trials()
    assert [curve["epoch"] for curve in run.read_curves()] == [1, 2, 3]
    assert (row["status"], row["macro_auc"], row["epoch"], row["epochs"]) == ("pruned", 0.8, 2, 3)
    assert (row["duration_s"], row["params_m"]) == (30.0, 4.0)
    assert not run.recent.exists()


def test_a_search_that_is_killed_between_two_writes_keeps_the_end_of_a_trial(run: RunFolder) -> None:
    recorder = recorder_of(run)
    feed(recorder, 0, report(1, 0.6))
    recorder.on_trial_complete(0, [], trial(0))
    recorder_of(run).flush()

    (row,) = run.read_trials()
    assert (row["status"], row["config.model.pool_type"]) == ("pruned", "gem")


def test_lines_of_a_trial_whose_start_is_lost_are_counted(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    feed(recorder_of(run), 0, report(1, 0.6), report(2, 0.7))
    lines = run.recent.read_text().splitlines(keepends=True)
    run.recent.write_text("".join(lines[1:]))
    recorder_of(run).flush()

    assert "recent.jsonl: 2 lines are of trials whose start is lost: left out" in capsys.readouterr().out
    assert run.read_trials() == []


def noted_bytes(run: RunFolder, n_trials: int) -> int:
    """What one more trial adds to recent.jsonl after so many others; the tables are not touched meanwhile."""
    recorder = recorder_of(run, n_trials=n_trials + 1)
    for number in range(n_trials):
        feed(recorder, number, report(1, 0.6))
        recorder.on_trial_complete(0, [], trial(number))
    recorder.flush()
    tables = [*run.path.glob("*.parquet"), run.leaderboard]
    written = [table.stat().st_ino for table in tables]
    feed(recorder, n_trials, report(1, 0.6), report(2, 0.7))
    recorder.on_trial_complete(0, [], trial(n_trials))

    assert [table.stat().st_ino for table in tables] == written
    return run.recent.stat().st_size


def test_what_a_trial_writes_does_not_grow_with_the_search(tmp_path: Path) -> None:
    few, many = (noted_bytes(RunFolder(tmp_path / str(n_trials)), n_trials) for n_trials in (10, 90))
    assert few == many


def test_tables_that_take_long_are_written_seldom(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step a second, tables that take 2 s: 40 s between two writes, a twentieth of the time."""
    now_s, writes_s = 0.0, []

    def slow(*tables: object) -> None:
        nonlocal now_s
        writes_s.append(now_s)
        now_s += 2

    monkeypatch.setattr("trainables.searching.recorder.time.monotonic", lambda: now_s)
    monkeypatch.setattr(RunFolder, "write_tables", slow)
    monkeypatch.setattr(RunFolder, "write_leaderboard", lambda run: None)
    recorder = recorder_of(run)
    for epoch in range(1, 200):
        feed(recorder, 0, report(epoch, 0.6))
        recorder.on_step_end(0, [])
        now_s += 1

    assert writes_s == [0, 42, 84, 126, 168]


def test_epochs_that_a_resumed_trial_repeats_are_not_printed_again(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    feed(recorder_of(run), 0, report(1, 0.6))
    capsys.readouterr()
    feed(recorder_of(run), 0, report(1, 0.6), report(2, 0.7))

    assert re.findall(r"epoch +(\d)/4", capsys.readouterr().out) == ["2"]


def fail(recorder: Recorder, number: int, message: str) -> None:
    feed(recorder, number, {"failure": message, "time_total_s": 1.0})
    recorder.on_trial_complete(0, [], trial(number))
    recorder.on_step_end(0, [])


def test_the_same_error_in_the_first_three_trials_stops_the_search(run: RunFolder) -> None:
    recorder = recorder_of(run, n_trials=4)
    fail(recorder, 0, "out of memory in step 1")
    fail(recorder, 1, "out of memory in step 22")
    with pytest.raises(
        TrainingError, match="first 3 trials all failed with the same error: out of memory in step 3\n1 "
    ):
        fail(recorder, 2, "out of memory in step 3")


@pytest.mark.parametrize("messages", [("a", "b", "a", "a"), ("a", "a", "b", "b", "b")], ids=["other", "later"])
def test_other_errors_do_not_stop_it(run: RunFolder, messages: tuple[str, ...]) -> None:
    recorder = recorder_of(run, n_trials=9)
    for number, message in enumerate(messages):
        fail(recorder, number, message)
    recorder.flush()

    assert [row["status"] for row in run.read_trials()] == ["failed"] * len(messages)


def test_a_trial_without_error_among_the_first_keeps_the_search_going(run: RunFolder) -> None:
    recorder = recorder_of(run, n_trials=9)
    feed(recorder, 0, report(1, 0.6))
    recorder.on_trial_complete(0, [], trial(0))
    for number in (1, 2, 3):
        fail(recorder, number, "a")
    recorder.flush()

    assert [row["status"] for row in run.read_trials()] == ["pruned"] + ["failed"] * 3


def test_a_trial_that_finds_the_disk_full_stops_the_search_and_has_not_failed(run: RunFolder) -> None:
    recorder = recorder_of(run)
    feed(recorder, 0, {"failure": "state.pt: no space", "disk_full": True, "time_total_s": 1.0})
    with pytest.raises(DiskFullError, match="no space"):
        recorder.on_step_end(0, [])

    assert run.read_trials()[0]["status"] == "running"


def test_flush_writes_what_waits(run: RunFolder) -> None:
    recorder = recorder_of(run)
    feed(recorder, 0, report(1, 0.6), report(2, 0.7))
    assert len(run.read_curves()) < 2
    recorder.flush()

    assert len(run.read_curves()) == 2


def test_a_trial_that_is_to_go_on_stays_running(run: RunFolder) -> None:
    feed(recorder_of(run), 0, report(1, 0.6))
    recorder_of(run, {1: "complete"}).flush()

    assert run.read_trials()[0]["status"] == "running"


def test_tune_can_pickle_it(run: RunFolder) -> None:
    recorder = recorder_of(run)
    feed(recorder, 0, report(1, 0.6))
    copy = pickle.loads(pickle.dumps(recorder))  # noqa: S301 - our own bytes
    copy.on_trial_complete(0, [], trial(0))
    copy.flush()

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


def test_the_end_of_a_trial_tells_how_far_the_search_is(
    run: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of three trials took five minutes: ten are left."""
    clock = iter([0.0, *[300.0] * 20])
    monkeypatch.setattr("trainables.searching.recorder.time.monotonic", lambda: next(clock))
    recorder = recorder_of(run)
    feed(recorder, 0, report(1, 0.8, finished=True))
    recorder.on_trial_complete(0, [], trial(0))

    assert "[1 of 3 trials, best 0.8000, about 10 min left]" in capsys.readouterr().out
