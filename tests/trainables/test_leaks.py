"""Commands that take over from another run or model: refused where that was trained on what validates."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from sed_model.clips.pseudo_clips import read_pseudo_labels
from sed_model.config.sed_config import load_config
from sed_model.core.errors import ConfigError, DataError
from sed_model.data.recordings import read_data_folder
from sed_model.data.splits import split
from sed_model.model.checkpoint import read_config, read_lineage
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.split_record import SplitRecord
from tests.models import save_random_model
from trainables.searching.checks import check_one_split, check_refit_folds
from trainables.searching.data_checks import check_same_split
from trainables.spaces.load import load_space
from trainables.trials.teacher import Teacher

slow = pytest.mark.slow
FOLDS = ("--set", "data.validation=folds", "--set", "data.n_folds=4")
SOUNDSCAPES = SplitRecord(kind="soundscapes", split_seed=42, fold=0, n_folds=5, digest="s")
FOLD_0 = SplitRecord(kind="folds", split_seed=42, fold=0, n_folds=5, digest="0")
FOLD_1 = FOLD_0.model_copy(update={"fold": 1, "digest": "1"})


def test_train_refuses_a_parent_of_another_fold(
    refusal_of: Callable[..., str], tiny_space: Path, tiny_root: Path, tmp_path: Path, cache_dir: Path
) -> None:
    """Each of the four authors is a fold of three recordings, all of which trained the parent of another."""
    base = tiny_space.parent / "base.yaml"
    config = load_config(base).with_overrides({"data.validation": "folds", "data.n_folds": 4})
    data = read_data_folder(tiny_root, config.data.target_s)
    record = split(data, config.data).record
    facts: dict[str, Any] = {"data_fingerprint": data.fingerprint, "validation": "folds", "split": record}
    save_random_model(tmp_path / "out" / "pretrain_ce", config, stage="pretrain_ce", **facts)
    place = ("--config", base, "--data", tiny_root, "--out", "out", "--stage", "train_bce")

    message = refusal_of("train", *place, *FOLDS, "--set", "data.fold=1")

    assert "out/pretrain_ce: was validated on fold 0 of 4 (data.split_seed=42), and fold 1 of 4" in message
    assert "trained on 3 of the 3 recordings that validate here" in message
    assert "--set data.validation=folds --set data.fold=0 --set data.n_folds=4 --set data.split_seed=42" in message


# --- searches that take over from a search that soundscapes validated: it trained on every recording


@slow
def test_a_student_of_another_split_is_refused(
    refusal_of: Callable[..., str], finished_run: Path, cache_dir: Path
) -> None:
    message = refusal_of("search", "--space", "pseudo.yaml", "--teacher", finished_run, *FOLDS)

    assert "--teacher" in message
    assert "trained on 3 of the 3 recordings that validate here" in message
    assert "a model that made the pseudo-labels: was validated on the labelled soundscapes" in message


@slow
def test_a_warm_start_from_another_split_is_refused(
    refusal_of: Callable[..., str], finished_run: Path, tiny_space: Path, tiny_root: Path, cache_dir: Path
) -> None:
    words = ("--space", tiny_space, "--data", tiny_root, "--warm-start", finished_run, *FOLDS)
    message = refusal_of("search", *words)

    assert f"--warm-start {finished_run}: was validated on the labelled soundscapes" in message
    assert "add --set data.validation=soundscapes, or leave it out" in message


@slow
def test_a_search_of_an_older_version_whose_seed_drew_the_folds_is_not_gone_on_with(
    refusal_of: Callable[..., str], finished_run: Path, tmp_path: Path, cache_dir: Path
) -> None:
    run = RunFolder(tmp_path / "runs" / "old")
    run.path.mkdir(parents=True)
    record = yaml.safe_load((finished_run / "search.yaml").read_text(encoding="utf-8"))
    del record["data"]["split"], record["base"]["data"]["split_seed"]
    record["base"]["data"] |= {"validation": "folds", "n_folds": 4}
    run.write_search(record)

    assert "drew folds by the seed" in refusal_of("search", "--resume", "--name", "old")


@slow
def test_run_model_and_tables_have_the_digest_of_the_split(finished_run: Path, tiny_root: Path) -> None:
    data = read_data_folder(tiny_root, 1.0)
    record = split(data, read_config(finished_run / "trials" / "trial_0000").data).record
    trials = pd.read_parquet(finished_run / "trials.parquet")

    assert RunFolder(finished_run).read_search()["data"]["split"] == record.model_dump()
    assert set(trials["split"]) == {record.digest}
    assert {read_lineage(finished_run / "trials" / name).split for name in trials["trial_id"]} == {record}


@slow
def test_members_are_told_with_what_validated_them(finished_run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(finished_run / "ensemble", tmp_path / "ensemble"))
    expected = read_lineage(finished_run / "trials" / "trial_0000").split

    assert read_pseudo_labels(copy).splits == (expected, expected)


# --- the checks


def test_searches_of_one_split_go_together() -> None:
    check_same_split("--warm-start x", {"data": {"split": FOLD_0.model_dump()}}, FOLD_0)


@pytest.mark.parametrize(
    ("data", "split", "message"),
    [
        ({"split": FOLD_0.model_dump()}, FOLD_1, "was validated on fold 0 of 5 \\(data.split_seed=42\\)"),
        ({"split": SOUNDSCAPES.model_dump()}, FOLD_0, "was validated on the labelled soundscapes"),
        (
            {"split": FOLD_0.model_dump()},
            SOUNDSCAPES,
            "scores do not compare; add --set data.validation=folds --set data.fold=0",
        ),
        (
            {"split": SOUNDSCAPES.model_dump()},
            SOUNDSCAPES.model_copy(update={"soundscape_folds": 4, "digest": "of a part"}),
            "here part 0 of 4 of the labelled soundscapes validates: .* write trials_in_parts: false into search",
        ),
        ({}, FOLD_0, "did not record what validates"),
        ({"split": {"kind": "folds"}}, FOLD_0, "data.split of its search.yaml is damaged"),
        ({"split": 3}, FOLD_0, "data.split of its search.yaml is damaged"),
    ],
)
def test_searches_of_other_splits_do_not(data: dict[str, Any], split: SplitRecord, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_same_split("--warm-start x", {"data": data}, split)


def test_an_older_search_goes_on_where_soundscapes_validate() -> None:
    check_same_split("--resume x", {"data": {}, "base": {"data": {"validation": "auto"}}}, SOUNDSCAPES)
    with pytest.raises(DataError, match="did not record what validates"):
        check_same_split("--warm-start x", {"data": {}, "base": {"data": {"validation": "folds"}}}, SOUNDSCAPES)


@pytest.mark.parametrize(
    ("key", "values"),
    [("data.fold", [2, 3]), ("data.split_seed", [2, 3]), ("data.n_folds", [2, 3]), ("data.target_s", [0.5, 1.0])],
)
def test_what_validates_cannot_be_searched(tmp_path: Path, tiny_space: Path, key: str, values: list[float]) -> None:
    tree = yaml.safe_load(tiny_space.read_text(encoding="utf-8"))
    tree["base"] = str(tiny_space.parent / "base.yaml")
    tree["space"] |= {key: {"choice": values}}
    (tmp_path / "split.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")

    check_one_split(load_space(tiny_space))
    with pytest.raises(ConfigError, match=f"{key} cannot be searched: .*fix them with --set"):
        check_one_split(load_space(tmp_path / "split.yaml"))


def test_finalists_of_students_stay_on_their_teacher_s_fold(tiny_space: Path) -> None:
    space = load_space(tiny_space)
    folds = replace(space, search=space.search.model_copy(update={"refit_folds": (0, 1)}))
    teacher = Teacher(Path("model"), Path("labels"), 0, 0.5)

    check_refit_folds(folds, FOLD_0, None)
    check_refit_folds(folds, SOUNDSCAPES, teacher)
    with pytest.raises(ConfigError, match="--refit-folds 1: a student starts from its teacher"):
        check_refit_folds(folds, FOLD_0, teacher)
