"""Digests of audio files: every byte counts, and what was noted is looked up only for files that nobody touched."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from sed_model.audio import audio_files
from sed_model.audio.audio_files import UNREADABLE, content_digests

N_BYTES = 300_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, value in (("a.wav", b"a"), ("b.wav", b"b")):
        (folder / name).write_bytes(value * N_BYTES)
    return folder


@pytest.fixture
def noting(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a large folder whose files have long been there."""
    monkeypatch.setattr(audio_files, "SMALL_BYTES", 0)
    monkeypatch.setattr(audio_files, "SETTLED_NS", 0)


def change_the_middle(path: Path) -> None:
    """One byte of 300,000; size and time of modification stay, as with `rsync --times` or `cp --preserve`."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(N_BYTES // 2)
        file.write(b"x")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def table_of(home: Path) -> Path:
    return next((home / "digests").glob("*.npz"))


def test_digests_are_those_of_the_content(root: Path, tmp_path: Path) -> None:
    a, b, again = content_digests(root, ["a.wav", "b.wav", "a.wav"], tmp_path)
    assert len({a, b}) == 2
    assert a == again
    assert len(a) == 16


def test_a_changed_middle_of_equal_size_is_seen(root: Path, tmp_path: Path) -> None:
    before = content_digests(root, ["a.wav", "b.wav"], tmp_path)
    change_the_middle(root / "b.wav")
    after = content_digests(root, ["a.wav", "b.wav"], tmp_path)
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)
    assert not (tmp_path / "digests").exists()  # a small folder is read each time


@pytest.mark.usefixtures("noting")
def test_what_is_noted_of_untouched_files_is_looked_up(root: Path, tmp_path: Path) -> None:
    """A table that says otherwise is believed, until the file is touched."""
    before = content_digests(root, ["a.wav", "b.wav"], tmp_path)
    with np.load(table_of(tmp_path)) as stored:
        arrays = dict(stored)
    np.savez(table_of(tmp_path), **{**arrays, "digests": np.full((2, 16), 7, np.uint8)})
    assert content_digests(root, ["a.wav", "b.wav"], tmp_path) == [b"\7" * 16] * 2
    os.utime(root / "a.wav")
    assert content_digests(root, ["a.wav", "b.wav"], tmp_path) == [before[0], b"\7" * 16]


@pytest.mark.usefixtures("noting")
def test_a_changed_middle_is_seen_although_size_and_time_are_those_noted(root: Path, tmp_path: Path) -> None:
    before = content_digests(root, ["a.wav", "b.wav"], tmp_path)
    change_the_middle(root / "a.wav")
    after = content_digests(root, ["a.wav", "b.wav"], tmp_path)
    assert (after[0] == before[0], after[1] == before[1]) == (False, True)
    assert content_digests(root, ["a.wav", "b.wav"], tmp_path) == after


def test_files_touched_a_moment_ago_are_not_noted(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may change again within one tick of the file system's clock."""
    monkeypatch.setattr(audio_files, "SMALL_BYTES", 0)
    content_digests(root, ["a.wav"], tmp_path)
    assert list((tmp_path / "digests").glob("*.npz")) == []


@pytest.mark.usefixtures("noting")
def test_a_damaged_table_is_written_anew(root: Path, tmp_path: Path) -> None:
    before = content_digests(root, ["a.wav", "b.wav"], tmp_path)
    whole = table_of(tmp_path).read_bytes()
    for damaged in (b"", whole[: len(whole) // 2]):
        table_of(tmp_path).write_bytes(damaged)
        assert content_digests(root, ["a.wav", "b.wav"], tmp_path) == before
        assert len(table_of(tmp_path).read_bytes()) == len(whole)


@pytest.mark.usefixtures("noting")
def test_where_nothing_can_be_noted_the_files_are_read_and_it_is_said(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = content_digests(root, ["a.wav"], tmp_path)
    (tmp_path / "file").write_text("in the way")
    assert content_digests(root, ["a.wav"], tmp_path / "file") == known
    assert "each start reads them; set SED_CACHE_DIR" in caplog.text


@pytest.mark.parametrize("small_bytes", [0, 2**30])
def test_what_is_no_file_has_no_content(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_bytes: int
) -> None:
    monkeypatch.setattr(audio_files, "SMALL_BYTES", small_bytes)
    os.mkfifo(root / "pipe.wav")
    assert content_digests(root, ["gone.wav", "pipe.wav", "a.wav"], tmp_path)[:2] == [UNREADABLE] * 2
