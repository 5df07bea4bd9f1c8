"""Hostile places and companions of a prediction: where it writes, its settings, its stored scores, its bundle."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from sed_model.core.paths import LONGEST_NAME, check_folder, check_output, is_plain_name
from sed_model.export.bundle import Bundle, read_bundle, write_bundle
from sed_model.predict.ensemble import Ensemble, Joining, load_ensemble
from sed_model.predict.events import EventSettings, EventWriter, check_stems
from sed_model.predict.job import PredictJob, predict_soundscapes
from sed_model.predict.postprocess import PostSettings, read_post
from sed_model.predict.tune_job import TuneJob, refuse_test_soundscapes, tune_post
from tests.hostile import (
    NO_FILES,
    ODD_JSON,
    as_loop,
    drawn,
    overwritten,
    places,
    put_in_place,
    refusal,
    refused,
    trees,
    truncated,
)

BUNDLE: dict[str, Any] = {
    "format": 1,
    "models": ["a", "b"],
    "joining": {"weights": [1.0, 2.0], "method": "mean", "mean_exponent": 2.0},
    "runtime": "onnx",
    "post": {},
}


@pytest.fixture(scope="module")
def ensemble(tiny_models: Sequence[Path]) -> Ensemble:
    return load_ensemble(tiny_models)


# --- where results go


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder with what no result can go to."""
    for name, put in NO_FILES.items():
        put(tmp_path / name)
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to("not there")
    (tmp_path / "link").symlink_to("file")
    return tmp_path


OUTPUTS = [*NO_FILES, "nowhere", "link", "file/x", "nowhere/x", "a" * 201, "a" * 300 + "/x", "/dev/null", ".",
           os.fsdecode(b"\xff") + "/x"]  # fmt: skip


@pytest.mark.parametrize("name", OUTPUTS, ids=ascii)
def test_a_result_cannot_go_to_what_is_no_file(odd: Path, ensemble: Ensemble, name: str) -> None:
    before = sorted(odd.rglob("*"))
    refusal(lambda: check_output(odd / name, "--out"), "--out")
    refusal(lambda: predict_soundscapes(PredictJob(odd, odd / name), ensemble), "--out")
    refusal(lambda: tune_post(TuneJob(odd, odd / name), ensemble), "--out")
    assert sorted(odd.rglob("*")) == before


@pytest.mark.parametrize(
    "name", ["file", "file/x", "a pipe", "a link to itself", "a link to a device", "nowhere", "a" * 300, "/dev/null"]
)
def test_events_cannot_go_to_what_is_no_folder(odd: Path, ensemble: Ensemble, name: str) -> None:
    refusal(lambda: check_folder(odd / name, "--events"), "--events")
    job = PredictJob(odd, odd / "out.csv", events=odd / name)
    refusal(lambda: predict_soundscapes(job, ensemble), "--events")


def test_a_file_and_a_new_folder_may_be_written(odd: Path) -> None:
    check_output(odd / "file", "--out")
    check_output(odd / "new" / "x.csv", "--out")


def test_names_too_long_for_the_tables_of_events_are_refused(tmp_path: Path) -> None:
    fits = "x" * (LONGEST_NAME - len(".selections.txt"))
    check_stems([fits], tmp_path)
    refusal(lambda: check_stems([fits, fits + "y", "é" * 100], tmp_path), "--events", "2 soundscapes have names")


@pytest.mark.parametrize(
    "name", ["=1+1.wav", "@x.wav", "-x.wav", "+x.wav", 'a"b.wav', "a,b.wav", "events.csv.wav", ".wav"]
)
def test_odd_names_and_labels_stay_data_in_the_tables_of_events(tmp_path: Path, name: str) -> None:
    labels = ("=cmd|'/c calc'!A1", "a\tb\nc")
    writer = EventWriter(tmp_path, labels, EventSettings(min_event_s=0.0, median_s=0.0), (0.0, 4_000.0))
    writer.add(name, np.ones((20, 2), np.float32))
    assert writer.finish() == 2

    rows = list(csv.DictReader(io.StringIO((tmp_path / "events.csv").read_text())))
    assert [(row["filename"], row["label"]) for row in rows] == [(name, labels[0]), (name, labels[1])]
    track = (tmp_path / f"{Path(name).stem}.labels.txt").read_text().splitlines()
    assert [line.split("\t")[2] for line in track] == [labels[0], "a b c"]
    assert len(list(tmp_path.iterdir())) == 3


# --- settings and stored scores


@pytest.mark.parametrize("put", [*NO_FILES.values(), lambda path: None], ids=[*NO_FILES, "nothing"])
def test_post_processing_that_is_no_file_is_refused(tmp_path: Path, put: Callable[[Path], None]) -> None:
    put(tmp_path / "post.json")
    refusal(lambda: read_post(tmp_path / "post.json"), "post.json", "no such file")


@drawn
@given(tree=trees)
def test_any_post_processing_is_read_or_refused(tmp_path: Path, tree: Any) -> None:
    (tmp_path / "post.json").write_text(json.dumps(tree))
    if not refused(lambda: read_post(tmp_path / "post.json"), "post.json"):
        assert 0 < read_post(tmp_path / "post.json").smoothing_centre <= 1


@pytest.fixture(scope="module")
def tuned(tiny_root: Path, ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with post.json and the stored scores; read-only by agreement."""
    out = tmp_path_factory.mktemp("tuned")
    tune_post(TuneJob(tiny_root, out / "post.json", shift_s=0.25), ensemble, lambda line: None)
    return out


def resaved(**changes: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with np.load(path) as stored:
            arrays = {name: changes.get(name, np.asarray)(stored[name]) for name in stored.files}
        with path.open("wb") as file:
            np.savez(file, **arrays)

    return damage


def without_silence(path: Path) -> None:
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files if name != "silent"}
    with path.open("wb") as file:
        np.savez(file, **arrays)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "half": lambda path: truncated(path, 50),
    "other bytes": lambda path: overwritten(path, 0.5, bytes(200)),
    "NaN": resaved(clip=lambda scores: scores * math.nan),
    "one member": resaved(shifted=lambda scores: scores[:1]),
    "fewer windows": resaved(best_alone=lambda scores: scores[:, :3]),
    "doubles": resaved(clip=lambda scores: scores.astype(np.float64)),
    "objects": resaved(clip=lambda scores: scores.astype(object)),
    "silence in numbers": resaved(silent=lambda silent: silent.astype(np.int8)),
    "no silence": without_silence,
}


def again(
    tuned: Path, tmp_path: Path, tiny_root: Path, ensemble: Ensemble, damage: Callable[[Path], None]
) -> list[str]:
    """What --tune-post says with damaged scores."""
    out, lines = Path(shutil.copytree(tuned, tmp_path / "out")), []
    damage(next(out.glob(".post-*.npz")))
    tune_post(TuneJob(tiny_root, out / "post.json", shift_s=0.25), ensemble, lines.append)
    assert read_post(out / "post.json") == read_post(tuned / "post.json")
    return lines


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_scores_are_made_again_with_a_note(
    tuned: Path, tmp_path: Path, tiny_root: Path, ensemble: Ensemble, damage: Callable[[Path], None]
) -> None:
    lines = again(tuned, tmp_path, tiny_root, ensemble, damage)
    assert lines[0].startswith("stored predictions are damaged, and made again: .post-")
    assert lines[1].startswith("2/2 files")


@pytest.mark.parametrize("name", ["a pipe", "a link to itself", "a link to a device"])
def test_scores_that_are_no_file_are_made_again(
    tuned: Path, tmp_path: Path, tiny_root: Path, ensemble: Ensemble, name: str
) -> None:
    lines = again(tuned, tmp_path, tiny_root, ensemble, lambda path: put_in_place(path, NO_FILES[name]))
    assert lines[0].startswith("2/2 files")


def test_a_folder_in_the_place_of_scores_is_refused(
    tuned: Path, tmp_path: Path, tiny_root: Path, ensemble: Ensemble
) -> None:
    refusal(lambda: again(tuned, tmp_path, tiny_root, ensemble, lambda path: put_in_place(path, Path.mkdir)), ".post-")


@pytest.mark.parametrize("text", ["row_id\nodd\n", "row_id\n_5\n", "x\n", "", "row_id\na_0\n"], ids=ascii)
def test_a_hostile_table_of_test_labels_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "test_soundscapes_labels.csv").write_text(text)
    refusal(lambda: refuse_test_soundscapes(tmp_path, []), "test_soundscapes_labels.csv")


def test_odd_test_soundscapes_do_not_block_and_still_count(tmp_path: Path) -> None:
    (tmp_path / "train_soundscapes").mkdir()
    (tmp_path / "train_soundscapes/S0.wav").touch()
    (tmp_path / "test_soundscapes").mkdir()
    for number, put in enumerate(NO_FILES.values()):
        put(tmp_path / f"test_soundscapes/{number}.wav")
    as_loop(tmp_path / "test_soundscapes/S0.ogg")
    paths = ["train_soundscapes/S0.wav"]
    refusal(lambda: refuse_test_soundscapes(tmp_path, paths), "labels 1 soundscapes of the test (S0)")


# --- bundle.json


def test_the_bundle_itself_is_good(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text(json.dumps(BUNDLE))
    bundle = Bundle(models=("a", "b"), joining=Joining((1.0, 2.0)), runtime="onnx", post=PostSettings())
    assert read_bundle(tmp_path) == bundle
    write_bundle(tmp_path, bundle)
    assert read_bundle(tmp_path) == bundle


BUNDLES: dict[str, dict[str, Any]] = {
    "another format": {"format": 2},
    "no model": {"models": []},
    "a model twice": {"models": ["a", "a"]},
    **{f"the model {name!r:.20}": {"models": ["a", name]} for name in ("../b", "", "b\\c", "\x1b[31m", "x" * 300)},
    "an unknown runtime": {"runtime": "torch"},
    "post-processing out of range": {"post": {"top_n": 0}},
    "an unknown method": {"joining": {"method": "best"}},
    **{f"the weights {value!r:.20}": {"joining": {"weights": value}}
       for value in ([1], [0, 0], [-1, 2], [None, 1], [1e308, 1e308], [math.nan, 1])},
    **{f"the exponent {value!r:.20}": {"joining": {"mean_exponent": value}} for value in (0, None, math.inf, 10**400)},
    "a key more": {"surprise": 1},
}  # fmt: skip


@pytest.mark.parametrize("changes", BUNDLES.values(), ids=BUNDLES)
def test_a_hostile_bundle_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    (tmp_path / "bundle.json").write_text(json.dumps(BUNDLE | changes))
    refusal(lambda: read_bundle(tmp_path), "bundle.json", "export the folder again")


@pytest.mark.parametrize("name", BUNDLE)
def test_a_bundle_that_lacks_a_key_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "bundle.json").write_text(json.dumps({key: value for key, value in BUNDLE.items() if key != name}))
    assert refused(lambda: read_bundle(tmp_path), "bundle.json", name) == (name != "format")


@pytest.mark.parametrize("content", ODD_JSON.values(), ids=ODD_JSON)
def test_a_bundle_that_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bundle.json").write_bytes(content)
    refusal(lambda: read_bundle(tmp_path), "bundle.json", "export the folder again")


@pytest.mark.parametrize("put", [*NO_FILES.values(), lambda path: None], ids=[*NO_FILES, "nothing"])
def test_a_bundle_that_is_no_file_is_refused(tmp_path: Path, put: Callable[[Path], None]) -> None:
    put(tmp_path / "bundle.json")
    refusal(lambda: read_bundle(tmp_path), "bundle.json", "is not there")


@drawn
@given(models=trees, joining=trees, place=places)
def test_any_bundle_names_folders_beside_it_or_is_refused(
    tmp_path: Path, models: Any, joining: Any, place: float
) -> None:
    tree = BUNDLE | {"models": models} if place < 0.5 else BUNDLE | {"joining": joining}
    (tmp_path / "bundle.json").write_text(json.dumps(tree))
    if not refused(lambda: read_bundle(tmp_path), "bundle.json"):
        assert all(map(is_plain_name, read_bundle(tmp_path).models))
