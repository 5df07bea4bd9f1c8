"""File names, links and folders of a data folder that lead out of it or cannot be read: refused by name."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sed_model.augment.sound_folders import find_sounds
from sed_model.data.recordings import read_data_folder
from sed_model.predict.submission import find_soundscapes
from tests.hostile import NO_FILES, as_device, as_loop, deep_folder, put_in_place, refusal
from tests.sed_model.csv_folder import HEADER


def as_link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize("name", ["train.csv", "taxonomy.csv", "train_soundscapes_labels.csv"])
@pytest.mark.parametrize("put", NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_file_is_no_table(bird_folder: Path, name: str, put: Callable[[Path], None]) -> None:
    put_in_place(bird_folder / name, put)
    refusal(lambda: read_data_folder(bird_folder), name, "CSV file")


def as_deep_folder(path: Path) -> None:
    path.mkdir()
    deep_folder(path)


@pytest.mark.parametrize("name", ["train_audio", "train_soundscapes"])
@pytest.mark.parametrize("put", [Path.touch, os.mkfifo, as_loop, as_device, as_deep_folder])
def test_a_folder_that_cannot_be_listed_is_named(bird_folder: Path, name: str, put: Callable[[Path], None]) -> None:
    shutil.rmtree(bird_folder / name)
    put(bird_folder / name)
    refusal(lambda: read_data_folder(bird_folder), "folders that cannot be read (1)", f"  {name}")


def test_folders_that_cannot_be_listed_are_named_by_all_readers_of_sounds(tmp_path: Path) -> None:
    (tmp_path / "sound.wav").touch()
    deep_folder(tmp_path)
    refusal(lambda: find_soundscapes(tmp_path), "folders that cannot be read (1)", "File name too long")
    refusal(lambda: find_sounds(tmp_path, "augment.wave.room_folder"), "room_folder", "File name too long")


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "loop", "file", "nowhere"], ids=ascii)
def test_what_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    as_loop(tmp_path / "loop")
    (tmp_path / "file").touch()
    refusal(lambda: read_data_folder(tmp_path / name), "not a folder")
    refusal(lambda: find_soundscapes(tmp_path / name), "no such folder")
    refusal(lambda: find_sounds(tmp_path / name, "augment.wave.room_folder"), "no such folder")


NAMES = ["../../etc/passwd", "/etc/passwd", "//etc/passwd", "grekis/../../../secret.ogg", "..\\..\\secret.ogg",
         "C:\\a.ogg", "~/a.ogg", "grekis/a.ogg\\..\\x", ".", "..", "grekis", "*.ogg", "grekis/a.ogg%00.png",
         "grekis/a.ogg\n", "grekis/A.OGG", "grekis/a.ogg/", "a" * 300 + ".ogg", "x/" * 2_000 + "a.ogg",
         "grekis/\u202egpj.ogg", "grekis/á.ogg", "train_audio/grekis/a.ogg", ""]  # fmt: skip
SAME = ("grekis/a.ogg\n", "grekis/a.ogg/", "grekis/A.OGG", "train_audio/grekis/a.ogg")
"""Read as grekis/a.ogg: blanks around a cell, a slash at the end of a path, capitals and the folder mean nothing."""


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:24]))
def test_a_file_name_that_is_none_of_the_folder_is_refused(bird_folder: Path, name: str) -> None:
    text = io.StringIO()
    csv.writer(text).writerow(["grekis", "[]", name, 5, "me"])
    (bird_folder / "train.csv").write_text(HEADER + text.getvalue(), newline="")

    if name in SAME:
        assert read_data_folder(bird_folder).recordings["path"].to_list() == ["train_audio/grekis/a.ogg"]
    else:
        refusal(lambda: read_data_folder(bird_folder), "train.csv", "line ", "filename")


LINKS = ["../../../secret.ogg", "/etc/hostname", "/dev/zero", "a.ogg", "nowhere.ogg", "/proc/self/mem"]


@pytest.mark.parametrize("target", LINKS)
def test_a_link_out_of_the_folder_is_refused(bird_folder: Path, target: str) -> None:
    as_link(bird_folder / "train_audio/grekis/a.ogg", target)
    refusal(lambda: read_data_folder(bird_folder), "train.csv line 2", "grekis/a.ogg", "leave the folder")


@pytest.mark.parametrize("target", ["..", "../..", "/etc"])
def test_a_linked_folder_does_not_lead_out(bird_folder: Path, target: str) -> None:
    (bird_folder / "train_audio/out").symlink_to(target)
    (bird_folder / "train.csv").write_text(f"{HEADER}grekis,[],out/hostname,5,me\n")
    refusal(lambda: read_data_folder(bird_folder), "train.csv line 2", "out/hostname")


def test_soundscapes_that_link_out_of_their_folder_are_refused(bird_folder: Path) -> None:
    (bird_folder / "train_soundscapes/S1.ogg").symlink_to("../../secret.ogg")
    refusal(lambda: read_data_folder(bird_folder), "train_soundscapes/S1.ogg", "leave the folder")
