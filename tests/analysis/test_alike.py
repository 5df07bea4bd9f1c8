"""Recordings that may be mislabelled or are there twice: found in a table, and shown in the report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import yaml

from analysis.alike import near_duplicates, perhaps_mislabelled, recordings_frame
from sed_model.run_folder.recordings_table import RECORDINGS_FILE, write_recordings
from sed_model.scores.neighbours import Labelled, alike
from tests.analysis.conftest import SEARCH, write_run
from tests.analysis.test_report import Elements, drawn, page_of

TITLE = "What the teacher hears alike"
HOSTILE = "<script>alert(9)</script>"


def recordings(labels: Sequence[str], authors: Sequence[str], embeddings: np.ndarray) -> list[dict[str, Any]]:
    """The rows that a probe writes of recordings 0.ogg, 1.ogg .., in a row on the map."""
    names = [f"train_audio/{number}.ogg" for number in range(len(labels))]
    found = alike(embeddings.astype(np.float32), Labelled(labels, authors, [()] * len(labels)))
    return [
        {
            "filename": name, "primary_label": label, "author": author, "x": float(place), "y": 0.0,
            "neighbour": names[one.nearest or 0], "neighbour_label": labels[one.nearest or 0],
            "similarity": one.similarity, "same_label_share": one.same_label_share,
            "suggested_label": one.suggested_label,
        }
        for place, (name, label, author, one) in enumerate(zip(names, labels, authors, found, strict=True))
    ]  # fmt: skip


def planted() -> list[dict[str, Any]]:
    """Thirteen recordings about each of two directions, all by other authors; number 3 sounds like the other group,
    and number 20 is number 19, by somebody else."""
    rng = np.random.default_rng(0)
    embeddings = rng.normal(0, 0.3, (26, 16))
    embeddings[:13, 0] += 1
    embeddings[13:, 1] += 1
    embeddings[3, :2] = [0, 1]
    embeddings[20] = embeddings[19]
    return recordings(["a"] * 13 + ["b"] * 13, [f"author {number}" for number in range(26)], embeddings)


def frame(rows: list[dict[str, Any]], folder: Path) -> pd.DataFrame:
    write_recordings(folder, rows)
    table = recordings_frame(folder)
    assert table is not None
    return table


def row(name: str, label: str, **others: Any) -> dict[str, Any]:
    common = {"author": "Ann", "x": 0.0, "y": 0.0, "neighbour": None, "neighbour_label": None, "similarity": None}
    return (
        common | {"filename": name, "primary_label": label, "same_label_share": 1.0, "suggested_label": None} | others
    )


def beside(name: str, label: str, similarity: float) -> dict[str, Any]:
    return {"neighbour": name, "neighbour_label": label, "similarity": similarity}


def test_a_planted_wrong_label_and_a_planted_duplicate_are_found_first(tmp_path: Path) -> None:
    table = frame(planted(), tmp_path)

    suspect, twice = perhaps_mislabelled(table).iloc[0], near_duplicates(table)

    assert (suspect["filename"], suspect["suggested_label"]) == ("train_audio/3.ogg", "b")
    assert suspect["same_label_share"] == 0
    assert list(zip(twice["filename"], twice["neighbour"], strict=True)) == [
        ("train_audio/19.ogg", "train_audio/20.ogg")
    ]


def test_suspects_are_sorted_by_share_then_by_their_nearest_neighbour_then_by_likeness(tmp_path: Path) -> None:
    odd = {"suggested_label": "b", "same_label_share": 0.25}
    rows = [
        row("0", "a", **odd | {"same_label_share": 0.5}, **beside("b0", "b", 0.5)),
        row("1", "a", **odd, **beside("0", "a", 0.5)),
        row("2", "a", **odd, **beside("b0", "b", 0.25)),
        row("3", "a", **odd, **beside("b0", "b", 0.5)),
        row("4", "a"),
        row("b0", "b", suggested_label="a", same_label_share=0.0),
    ]
    # b has one recording: that another label is suggested for it says nothing.
    assert perhaps_mislabelled(frame(rows, tmp_path))["filename"].tolist() == ["3", "2", "1", "0"]


def test_duplicates_of_several_authors_or_labels_come_first_and_each_pair_once(tmp_path: Path) -> None:
    rows = [
        row("0", "a", **beside("1", "a", 1.0)),
        row("1", "a", **beside("0", "a", 1.0)),
        row("2", "a", **beside("3", "b", 0.9925)),
        row("3", "b", **beside("2", "a", 0.9925)),
        row("4", "a", **beside("5", "a", 0.995)),
        row("5", "a", **beside("4", "a", 0.995), author="Bob"),
        row("6", "a", **beside("0", "a", 0.9)),
    ]
    found = near_duplicates(frame(rows, tmp_path))

    assert list(zip(found["filename"], found["neighbour"], strict=True)) == [("4", "5"), ("2", "3"), ("0", "1")]
    assert found["is_across"].tolist() == [True, True, False]
    assert found["neighbour_author"].tolist() == ["Bob", "Ann", "Ann"]


@pytest.fixture
def heard_run(tmp_path: Path) -> Path:
    """A run with the planted table, and the sounds of it in its data folder."""
    run, data = write_run(tmp_path / "runs" / "probe"), tmp_path / "data"
    (data / "train_audio").mkdir(parents=True)
    for number in range(26):
        sf.write(data / "train_audio" / f"{number}.ogg", np.random.default_rng(number).normal(0, 0.1, 16_000), 16_000)
    with_record(run, data={"folder": str(data), "fingerprint": "abc"})
    write_recordings(run, planted())
    return run


def with_record(run: Path, **entries: Any) -> None:
    (run / "search.yaml").write_text(yaml.safe_dump(SEARCH | entries), encoding="utf-8")


def section_of(page: str) -> str:
    """The HTML of the section, or nothing."""
    found = re.search(rf"<section>\s*<h3[^>]*>{TITLE}</h3>.*?</section>", page, re.DOTALL)
    return found[0] if found else ""


def test_the_report_shows_the_map_and_plays_both_lists(heard_run: Path) -> None:
    section = section_of(page_of(heard_run))
    text = Elements(section).text

    assert "A foreign model, the teacher, listened to 26 training recordings" in text
    assert "All of this is a hint, no proof" in text
    assert "like another label than their own: 1 of 26." in text
    assert re.search(r"a, or b\? Of the recordings that sound most like it, 0% have its label", text)
    assert "likeness of 0.99 or more, where 1 is the same): 1. In 1 of them the recordists or the" in text
    assert "Two recordists, one label: b. Likeness 1.000." in text
    # The suspect and its neighbour, the two that are one.
    assert section.count('src="data:audio/mpeg') == 4
    assert "train_audio/3.ogg&lt;br&gt;a" not in drawn(section)
    assert "train_audio/3.ogg<br>a" in drawn(section)


def test_a_search_shows_the_table_of_its_teacher(heard_run: Path, tmp_path: Path) -> None:
    student = write_run(tmp_path / "runs" / "student")
    assert section_of(page_of(student)) == ""

    with_record(student, teacher=str(heard_run))

    assert "train_audio/3.ogg" in section_of(page_of(student))


def test_a_run_without_the_table_has_no_section(tiny_run: Path) -> None:
    page = page_of(tiny_run)
    assert TITLE not in page


def test_names_of_the_table_stay_text(heard_run: Path) -> None:
    rows = planted()
    for one in rows:
        one["author"] = HOSTILE
        for name in ("primary_label", "neighbour_label", "suggested_label"):
            one[name] = one[name] and f"{HOSTILE}{one[name]}"
    write_recordings(heard_run, rows)

    page = page_of(heard_run)

    assert HOSTILE not in section_of(page)
    assert HOSTILE in Elements(section_of(page)).text
    assert "<script" not in drawn(section_of(page))


def test_a_sound_outside_of_the_data_folder_is_not_played(heard_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "data" / "train_audio" / "3.ogg"
    file.rename(tmp_path / "secret.ogg")
    file.symlink_to(tmp_path / "secret.ogg")

    section = section_of(page_of(heard_run))

    assert "cannot be played: it lies outside the data folder" in Elements(section).text
    assert section.count('src="data:audio/mpeg') == 3


def test_without_the_data_folder_the_lists_are_there_and_silent(heard_run: Path) -> None:
    with_record(heard_run, data={"folder": "/gone", "fingerprint": "abc"})
    section = section_of(page_of(heard_run))
    assert "The data folder /gone is not here: no sound to play." in Elements(section).text
    assert "train_audio/3.ogg" in section
    assert "<audio" not in section


def test_a_damaged_table_is_told_and_the_rest_is_shown(heard_run: Path) -> None:
    (heard_run / RECORDINGS_FILE).write_bytes(b"PAR1")
    page = page_of(heard_run)
    assert "The table of recordings cannot be read" in Elements(section_of(page)).text
    assert "Ranking" in page


def test_the_summary_tells_the_line_to_beat(heard_run: Path, tmp_path: Path) -> None:
    student = write_run(tmp_path / "runs" / "student")
    with_record(student, teacher=str(heard_run))
    with_record(heard_run, space_name="probe", data={"folder": "data", "fingerprint": "abc"}, probe={})
    for run in (heard_run, student):
        table = pd.read_parquet(run / "trials.parquet").assign(split="one")
        table.to_parquet(run / "trials.parquet")

    assert "the teacher's probe has 0.8500 on the same files" in Elements(page_of(student)).text
