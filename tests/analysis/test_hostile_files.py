"""Files of a run folder that are damaged, are none, or lie elsewhere: refused by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.predictions import read_members
from analysis.ranks import rank_trials
from analysis.tables import RunFolderError, newest_runs, read_run
from tests.analysis.hostile_run import LABELS, N_TRIALS, OOF, READERS, TRIALS, refuses
from tests.hostile import NO_FILES, NO_TABLES, drawn, overwritten, places, put_in_place, refused, truncated


@pytest.mark.parametrize(("file", "read"), READERS.items(), ids=READERS)
def test_the_tables_themselves_are_good(own_run: Path, file: str, read: Callable[[Path], object]) -> None:
    assert read(own_run) is not None


OTHER_FILES: dict[str, Callable[[Path], object]] = {"search.yaml": read_run, "ensemble/members.json": read_members}


@pytest.mark.parametrize("content", NO_TABLES.values(), ids=NO_TABLES)
@pytest.mark.parametrize(("file", "read"), READERS.items(), ids=READERS)
def test_bytes_that_are_no_table_are_refused_by_name(
    own_run: Path, file: str, read: Callable[[Path], object], content: bytes
) -> None:
    (own_run / file).write_bytes(content)
    refuses(lambda: read(own_run), file, "is damaged")


@pytest.mark.parametrize("percent", [1, 10, 50, 90, 99])
@pytest.mark.parametrize(("file", "read"), READERS.items(), ids=READERS)
def test_a_truncated_table_is_refused_by_name(
    own_run: Path, file: str, read: Callable[[Path], object], percent: int
) -> None:
    truncated(own_run / file, percent)
    refuses(lambda: read(own_run), file, "is damaged")


ALL_FILES = READERS | OTHER_FILES


@pytest.mark.parametrize("put", NO_FILES.values(), ids=NO_FILES)
@pytest.mark.parametrize(("file", "read"), ALL_FILES.items(), ids=ALL_FILES)
def test_what_is_no_file_is_refused_by_name(
    own_run: Path, file: str, read: Callable[[Path], object], put: Callable[[Path], None]
) -> None:
    put_in_place(own_run / file, put)
    refuses(lambda: read(own_run), file)


@pytest.mark.parametrize(("file", "read"), ALL_FILES.items(), ids=ALL_FILES)
def test_a_link_out_of_the_run_folder_is_not_followed(
    own_run: Path, tmp_path: Path, file: str, read: Callable[[Path], object]
) -> None:
    (own_run / "ensemble/members.json").write_text('{"members": []}')
    (own_run / file).rename(tmp_path / "elsewhere")
    (own_run / file).symlink_to(tmp_path / "elsewhere")
    refuses(lambda: read(own_run), file, "a link leads out of the run folder")


@pytest.mark.parametrize("folder", ["trials", "trials/trial_0003", "ensemble", "ensemble/pseudo_labels"])
def test_a_linked_folder_does_not_lead_out(own_run: Path, tmp_path: Path, folder: str) -> None:
    (own_run / folder).rename(tmp_path / "elsewhere")
    (own_run / folder).symlink_to(tmp_path / "elsewhere")
    read = READERS[OOF] if folder.startswith("trials") else READERS[LABELS]
    refuses(lambda: read(own_run), "a link leads out of the run folder")


def test_a_run_folder_that_is_a_link_itself_is_read(own_run: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(own_run)
    assert len(read_run(tmp_path / "link").trials) == N_TRIALS


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "loop", "/dev/null", "/dev/zero", "nowhere"], ids=ascii)
def test_what_is_no_run_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    refuses(lambda: read_run(tmp_path / name), "no such folder")


def test_runs_are_found_beside_what_is_none(own_run: Path) -> None:
    for name, put in NO_FILES.items():
        (own_run.parent / name).mkdir()
        put(own_run.parent / name / TRIALS)
    (own_run.parent / "loop").symlink_to("loop")
    assert newest_runs(own_run.parent) == [own_run]


def test_a_table_of_billions_of_nothing_is_refused_before_it_is_read(own_run: Path) -> None:
    schema = pq.read_schema(own_run / TRIALS)
    nothing = pa.nulls(6_000_000)
    pq.write_table(pa.table(dict.fromkeys(schema.names, nothing)), own_run / TRIALS)
    assert (own_run / TRIALS).stat().st_size < 300_000
    refuses(lambda: read_run(own_run), TRIALS, "more than 5,000,000 rows")


def test_a_damaged_footer_does_not_end_the_process(own_run: Path) -> None:
    """The size of a column's histogram of levels, which Arrow compares with the schema."""
    content = (own_run / OOF).read_bytes()
    footer_start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    for place in range(footer_start, footer_start + 200):
        (own_run / OOF).write_bytes(content[:place] + b"~" + content[place + 1 :])
        refused(lambda: READERS[OOF](own_run), OOF, kind=RunFolderError)


@drawn
@given(file=st.sampled_from([TRIALS, OOF]), place=places, data=st.binary(min_size=1, max_size=6))
def test_a_table_with_other_bytes_is_refused_or_ranked(
    own_run: Path, whole_run: Path, file: str, place: float, data: bytes
) -> None:
    shutil.copy(whole_run / file, own_run / file)
    overwritten(own_run / file, place, data)
    if not refused(lambda: READERS[file](own_run), file, kind=RunFolderError) and file == TRIALS:
        rank_trials(read_run(own_run))
    shutil.copy(whole_run / file, own_run / file)
