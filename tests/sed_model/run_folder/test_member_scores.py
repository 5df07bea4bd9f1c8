"""The scores of an ensemble's members, as the run folder holds them: joined, and refused where they are damaged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sed_model.core.errors import DataError
from sed_model.core.parquet import write_parquet
from sed_model.run_folder.member_scores import WINDOW_SCHEMA, part_facts, read_member_scores

FACTS = part_facts(["owl", "fox"], Path("/scapes"))


def write_part(
    run: Path, name: str, filename: str = "f.ogg", said: float = 0.25, facts: Mapping[str, str] | None = None
) -> None:
    """Two windows of a file, of which both members say `said` and 0.5."""
    rows = [{"filename": filename, "start_s": 5.0 * n, "end_s": 5.0 * n + 5, "rms": 0.1} for n in range(2)]
    table = pa.Table.from_pylist(rows, WINDOW_SCHEMA)
    for member in range(2):
        column = pa.array([[said, 0.5]] * 2, pa.list_(pa.float32()))
        table = table.append_column(f"member_{member}", column)
    facts = FACTS if facts is None else facts
    write_parquet(run / "ensemble/predictions" / name, table.replace_schema_metadata(dict(facts)))


def test_all_parts_come_together(tmp_path: Path) -> None:
    write_part(tmp_path, "abc/part-00000.parquet", "f.ogg", 0.25)
    write_part(tmp_path, "abc/part-00001.parquet", "sub/g.ogg", 0.75)
    scores = read_member_scores(tmp_path)
    assert scores.classes == ("owl", "fox")
    assert scores.root == Path("/scapes")
    assert scores.windows == (("f.ogg", 0, 5), ("f.ogg", 5, 10), ("sub/g.ogg", 0, 5), ("sub/g.ogg", 5, 10))
    np.testing.assert_array_equal(scores.by_member[1], [[0.25, 0.5]] * 2 + [[0.75, 0.5]] * 2)


def test_soundscapes_that_are_labelled_are_left_out(tmp_path: Path) -> None:
    write_part(tmp_path, "abc/part-00000.parquet", "f.ogg")
    write_part(tmp_path, "abc/part-00001.parquet", "g.ogg")
    write_part(tmp_path, "abc/labelled-00000.parquet", "g.ogg")
    scores = read_member_scores(tmp_path)
    assert {name for name, _, _ in scores.windows} == {"f.ogg"}
    assert scores.by_member.shape == (2, 2, 2)


def test_without_scores_the_command_that_makes_them_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no scores of unlabelled .*trainables\.ensemble --run"):
        read_member_scores(tmp_path)


def test_scores_of_two_ensembles_are_refused(tmp_path: Path) -> None:
    write_part(tmp_path, "abc/part-00000.parquet")
    write_part(tmp_path, "def/part-00000.parquet")
    with pytest.raises(DataError, match="several ensembles"):
        read_member_scores(tmp_path)


def test_parts_of_other_classes_are_refused(tmp_path: Path) -> None:
    write_part(tmp_path, "abc/part-00000.parquet")
    write_part(tmp_path, "abc/part-00001.parquet", "g.ogg", facts=part_facts(["fox", "owl"], Path("/scapes")))
    with pytest.raises(DataError, match="different members, classes or folders"):
        read_member_scores(tmp_path)


@pytest.mark.parametrize("name", ["../f.ogg", "/etc/passwd", "a/../../f.ogg", "a\nb.ogg"])
def test_a_name_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    write_part(tmp_path, "abc/part-00000.parquet", name)
    with pytest.raises(DataError, match="no name of a soundscape"):
        read_member_scores(tmp_path)


@pytest.mark.parametrize("said", [1.5, -0.1, float("nan")])
def test_what_is_no_probability_is_refused(tmp_path: Path, said: float) -> None:
    write_part(tmp_path, "abc/part-00000.parquet", said=said)
    with pytest.raises(DataError, match=r"leave 0\.\.1"):
        read_member_scores(tmp_path)


@pytest.mark.parametrize("lacking", ["classes", "root"])
def test_a_part_of_an_earlier_version_is_refused(tmp_path: Path, lacking: str) -> None:
    write_part(tmp_path, "abc/part-00000.parquet", facts={k: v for k, v in FACTS.items() if k != lacking})
    with pytest.raises(DataError, match=f"of an earlier version .*{lacking}"):
        read_member_scores(tmp_path)


def test_a_damaged_part_is_told(tmp_path: Path) -> None:
    write_part(tmp_path, "abc/part-00000.parquet")
    (tmp_path / "ensemble/predictions/abc/part-00000.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="is damaged"):
        read_member_scores(tmp_path)
