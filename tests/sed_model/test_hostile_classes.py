"""Hostile taxonomies, labels of soundscapes and sample submissions: refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.data.recordings import read_data_folder
from sed_model.data.train_table import read_taxonomy
from sed_model.predict.submission import read_sample
from tests.hostile import NO_FILES, drawn, refusal, refused
from tests.sed_model.csv_folder import GOOD, LABELS

TAXONOMIES = {
    "a column twice": "primary_label,primary_label\na,b\n",
    "a NUL in a class": "primary_label\ngre\0kis\n",
    "a class that reads backwards": "primary_label\n\u202egrekis\n",
}


@pytest.mark.parametrize("text", TAXONOMIES.values(), ids=TAXONOMIES)
def test_a_hostile_taxonomy_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "taxonomy.csv").write_text(text, newline="")
    refusal(lambda: read_taxonomy(tmp_path / "taxonomy.csv"), "taxonomy.csv")


def test_a_class_that_only_train_csv_names_is_refused_too(bird_folder: Path) -> None:
    (bird_folder / "taxonomy.csv").unlink()
    (bird_folder / "train.csv").write_text(GOOD + "\u202egrekis,[],grekis/a.ogg,5,me\n", newline="")
    refusal(lambda: read_data_folder(bird_folder), "train.csv", "unprintable labels")


SOUNDSCAPE_LABELS = {
    "the same window in other words": LABELS.replace("S0_10", "S0_5.0"),
    "a path": LABELS.replace("S0_5", "../../secret_5"),
    "a path to the file": LABELS.replace("S0_5", "./S0_5"),
    "a class twice": LABELS.replace("grekis", "1139490"),
    "a class less": "row_id,grekis\nS0_5,1\n",
    "a column without a name": "row_id,1139490,grekis,\nS0_5,0,1,1\n",
}


@pytest.mark.parametrize("text", SOUNDSCAPE_LABELS.values(), ids=SOUNDSCAPE_LABELS)
def test_hostile_labels_of_soundscapes_are_refused(bird_folder: Path, text: str) -> None:
    (bird_folder / "train_soundscapes_labels.csv").write_text(text)
    refusal(lambda: read_data_folder(bird_folder), "train_soundscapes_labels.csv")


pieces = st.sampled_from(
    ["S0", "_", "5", "10", ".", "0", "1", "-", "e", "/", "..", "nan", " ", "\n", '"', ",", "grekis", "\u0665"]
)
texts = st.lists(pieces, max_size=6).map("".join)


@drawn
@given(rows=st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=3))
def test_any_labels_of_soundscapes_are_windows_of_them_or_refused(
    bird_folder: Path, rows: list[tuple[str, str, str]]
) -> None:
    path = bird_folder / "train_soundscapes_labels.csv"
    path.write_text("\n".join([LABELS.splitlines()[0], *map(",".join, rows)]), newline="")
    if not refused(lambda: read_data_folder(bird_folder), path.name):
        table = read_data_folder(bird_folder).soundscape_labels
        assert table is not None
        assert set(table["path"]) == {"train_soundscapes/S0.ogg"}
        assert (table["end_s"] % 5 == 0).all()
        assert table[["1139490", "grekis"]].isin([0.0, 1.0]).all(axis=None)


@drawn
@given(header=texts, row=texts)
def test_any_taxonomy_or_sample_submission_has_plain_classes_or_is_refused(
    tmp_path: Path, header: str, row: str
) -> None:
    for name, read in (("taxonomy.csv", read_taxonomy), ("sample.csv", lambda path: read_sample(path).classes)):
        first = "primary_label" if name == "taxonomy.csv" else f"row_id,{header}"
        (tmp_path / name).write_text(f"{first}\n{row}", newline="")
        if not refused(lambda read=read, name=name: read(tmp_path / name), name):
            classes = read(tmp_path / name)
            assert len(set(classes)) == len(classes) > 0
            assert all(label.strip() == label != "" and label.isprintable() for label in classes)


SAMPLES = {
    "a class without a name": "row_id,grekis,\na_5,0,0\n",
    "a class twice": "row_id,grekis,grekis\na_5,0,0\n",
    "a NUL": "row_id,grekis\na\0_5,0\n",
}


@pytest.mark.parametrize("put", [*NO_FILES.values(), lambda path: None], ids=[*NO_FILES, "nothing"])
def test_a_sample_submission_that_is_no_file_is_refused(tmp_path: Path, put: Callable[[Path], None]) -> None:
    put(tmp_path / "sample.csv")
    refusal(lambda: read_sample(tmp_path / "sample.csv"), "sample.csv", "CSV file")


@pytest.mark.parametrize("text", SAMPLES.values(), ids=SAMPLES)
def test_a_hostile_sample_submission_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "sample.csv").write_text(text, newline="")
    refusal(lambda: read_sample(tmp_path / "sample.csv"), "sample.csv")
