"""Tables of a run folder: the ranking, and what is read is what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sed_model.core.errors import DataError
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.leaderboard import best_trials, finalists, rank
from sed_model.run_folder.run_tables import trial_id


def row(number: int, status: str, score: float | None, **config: Any) -> dict[str, Any]:
    settings = {f"config.{name.replace('__', '.')}": value for name, value in config.items()}
    return {
        "trial_id": trial_id(number), "number": number, "status": status, "macro_auc": score, "stage": "train_bce",
        "epoch": 2, "epochs": 3, "duration_s": 30.5, "params_m": 1.5, "cpu_ms_per_window": 20.0, "fold": 0, "seed": 1,
        "drawn_by": "TPE", "error": None, "on_front": True, "refit_mean": None, "refit_sd": None, "n_refits": None,
        "split": None, "macro_auc_se": 0.02, **settings,
    }  # fmt: skip


def test_a_trial_is_named_by_its_number() -> None:
    assert trial_id(12) == "trial_0012"


def test_the_best_score_comes_first_and_failed_trials_last() -> None:
    rows = [row(0, "failed", 0.9), row(1, "pruned", 0.8), row(2, "complete", 0.7), row(3, "complete", 0.8)]
    rows += [row(4, "running", None), row(5, "complete", 0.8), row(6, "running", 0.8)]

    board = rank(rows)

    assert board["trial_id"].to_list() == [trial_id(number) for number in (3, 5, 6, 1, 2, 4, 0)]
    assert board["rank"].to_list() == [1, 2, 3, 4, 5, 6, 7]


def test_only_settings_that_differ_are_shown() -> None:
    rows = [row(0, "complete", 0.5, model__pool_type="avg", data__fold=0, model__weights=None)]
    rows += [row(1, "complete", 0.6, model__pool_type="gem", data__fold=0, model__weights=None)]

    board = rank(rows)

    assert board.columns[-1] == "model.pool_type"
    assert not {"data.fold", "model.weights"} & set(board.columns)


def test_null_differs_from_a_value() -> None:
    rows = [row(0, "complete", 0.5, loss__weight=None), row(1, "complete", 0.6, loss__weight=0.9)]

    assert "loss.weight" in rank(rows).columns


def test_only_ended_trials_with_a_score_are_best() -> None:
    rows = [row(0, "failed", 0.9), row(1, "pruned", 0.8), row(2, "complete", 0.8), row(3, "running", 0.95)]
    rows += [row(4, "complete", None), row(5, "pruned", float("nan"))]

    assert [best["number"] for best in best_trials(rows, 5)] == [2, 1]
    assert [best["number"] for best in best_trials(rows, 1)] == [2]


def test_tables_come_back_as_they_were_written(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    rows = [
        row(0, "complete", 0.5, a__text="x", a__flag=True, a__count=3, a__mixed=1, a__none=None, a__some=None),
        row(1, "failed", None, a__text="y", a__flag=False, a__count=4, a__mixed=0.5, a__none=None, a__some=0.9),
    ]
    rows[1] |= {"stage": None, "epoch": None, "error": "loss is nan: ü", "on_front": False}
    curves = [
        {
            "trial_id": "trial_0000", "stage": "pretrain_ce", "epoch": 1, "stage_epoch": 1, "train_loss": 0.5,
            "val_loss": 0.4, "macro_auc": 0.6, "lr": 1e-3, "samples_per_s": 10.0,
            "best_macro_auc": 0.6,
        }
    ]  # fmt: skip
    run.write_tables(rows, curves)

    assert run.read_trials() == rows
    assert run.read_curves() == curves
    assert isinstance(run.read_trials()[0]["config.a.mixed"], float)
    assert run.read_trials()[0]["config.a.flag"] is True


def test_a_key_that_one_trial_lacks_is_null_there(tmp_path: Path) -> None:
    """A newer version adds keys to a run that is gone on with."""
    run = RunFolder(tmp_path)
    run.write_tables([row(0, "complete", 0.5), row(1, "complete", 0.6, new__key=2)], [])

    assert [trial["config.new.key"] for trial in run.read_trials()] == [None, 2]


def test_a_folder_without_tables_has_no_trials(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).read_trials() == []
    assert RunFolder(tmp_path).read_curves() == []


def test_the_leaderboard_is_a_file_for_people(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_tables([row(0, "complete", 0.123456789, lr=1e-3), row(1, "complete", 0.6, lr=2e-3)], [])
    run.write_leaderboard()

    lines = run.leaderboard.read_text(encoding="utf-8").splitlines()
    measured = "stage,epoch,epochs,duration_s,params_m,cpu_ms_per_window"
    assert lines[0] == f"rank,trial_id,status,macro_auc,macro_auc_se,{measured},drawn_by,on_front,lr"
    assert lines[2] == "2,trial_0000,complete,0.123457,0.02,train_bce,2,3,30.5,1.5,20,TPE,False,0.001"


def test_the_pareto_front_is_marked(tmp_path: Path) -> None:
    points = [("complete", 0.8, 20.0), ("pruned", 0.7, 10.0), ("complete", 0.7, 12.0), ("complete", 0.6, None)]
    rows = [
        row(number, status, score) | {"cpu_ms_per_window": cost} for number, (status, score, cost) in enumerate(points)
    ]
    run = RunFolder(tmp_path)
    run.write_tables([*rows, row(4, "failed", 0.9) | {"cpu_ms_per_window": 1.0}], [])

    assert [trial["on_front"] for trial in run.read_trials()] == [True, True, False, False, False]


def by_cmap(*scores: tuple[float, float]) -> list[dict[str, Any]]:
    """Trials of a search by cmAP: macro AUC and cmAP."""
    return [row(n, "complete", auc, n=n) | {"cmap": ap, "cmap_se": 0.01} for n, (auc, ap) in enumerate(scores)]


def test_a_search_by_another_metric_ranks_by_it(tmp_path: Path) -> None:
    """By macro AUC the order would be 0, 1, 2."""
    run = RunFolder(tmp_path)
    rows = by_cmap((0.9, 0.2), (0.8, 0.3), (0.7, 0.4))
    curve = {"trial_id": "trial_0000", "stage": "train_bce", "epoch": 1, "stage_epoch": 1, "macro_auc": 0.9}
    run.write_tables(rows, [curve | {"cmap": 0.2, "best_cmap": 0.2}])
    board = run.write_leaderboard()

    assert [trial["cmap"] for trial in run.read_trials()] == [0.2, 0.3, 0.4]
    assert [found["best_cmap"] for found in run.read_curves()] == [0.2]
    assert [best["number"] for best in best_trials(run.read_trials(), 2)] == [2, 1]
    assert [one["number"] for one in finalists(run.read_trials(), 3)] == [2, 1, 0]
    assert board["trial_id"].to_list() == ["trial_0002", "trial_0001", "trial_0000"]
    assert list(board.columns[2:6]) == ["status", "cmap", "cmap_se", "macro_auc"]
    assert [trial["on_front"] for trial in run.read_trials()] == [False, False, True]


def test_some_columns_come_with_what_the_search_goes_by(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_tables(by_cmap((0.9, 0.2)), [])
    assert list(run.read_trials(["trial_id", "macro_auc"])[0]) == ["trial_id", "macro_auc", "cmap", "cmap_se"]
    assert list(run.read_trials(["trial_id"])[0]) == ["trial_id"]


def test_a_search_by_macro_auc_has_no_other_column(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_tables([row(0, "complete", 0.5)], [])
    assert not set(run.read_trials()[0]) & {"cmap", "cmap_se", "best_cmap", "top1"}


def test_finalists_lead_by_the_mean_of_their_scores() -> None:
    """The best single score of many is partly luck; a mean over folds outranks it."""
    rows = [
        row(0, "complete", 0.9),
        row(1, "complete", 0.8) | {"refit_mean": 0.75, "refit_sd": 0.1, "n_refits": 3},
        row(2, "complete", 0.7) | {"refit_mean": 0.78, "refit_sd": 0.1, "n_refits": 3},
    ]

    assert rank(rows)["trial_id"].to_list() == ["trial_0002", "trial_0001", "trial_0000"]
    assert [trial["number"] for trial in best_trials(rows, 2)] == [2, 1]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no run folder"):
        RunFolder(tmp_path).read_search()
