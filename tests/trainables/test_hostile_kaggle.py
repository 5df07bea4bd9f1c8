"""Hostile input of the folder for Kaggle: its script leaves with 2 and one message; what is none is not replaced."""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sed_model.predict.ensemble import Joining
from tests.hostile import NO_FILES, ODD_JSON, in_time, refusal
from trainables.kaggle.folder import TEMPLATES, KaggleJob, write_kaggle_folder
from trainables.labelling.run_members import RunMembers

BUNDLE = {
    "format": 1, "models": ["small"], "joining": {"weights": [1.0]}, "runtime": "onnx", "post": {},
}  # fmt: skip


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs the script of a folder without models: exit status and message."""
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(TEMPLATES / "predict.py", folder)
    (folder / "bundle.json").write_text(json.dumps(BUNDLE))
    (tmp_path / "soundscapes").mkdir()
    main = runpy.run_path(str(folder / "predict.py"))["main"]

    def run(*words: str) -> tuple[int, str]:
        options = ["--soundscapes", str(tmp_path / "soundscapes"), "--out", str(tmp_path / "out.csv"), *words]
        with in_time():
            try:
                status = main(options)
            except SystemExit as leaving:
                status = int(str(leaving.code))
        message = capsys.readouterr().err
        assert not (tmp_path / "out.csv").exists()
        return status, message

    return run


@pytest.mark.parametrize("content", ODD_JSON.values(), ids=ODD_JSON)
def test_a_damaged_bundle_is_one_message(
    tmp_path: Path, script: Callable[..., tuple[int, str]], content: bytes
) -> None:
    (tmp_path / "folder/bundle.json").write_bytes(content)
    status, message = script()
    assert (status, message.count("\n")) == (2, 1)
    assert "bundle.json: cannot be used" in message


@pytest.mark.parametrize("put", [*NO_FILES.values(), lambda path: None], ids=[*NO_FILES, "nothing"])
def test_a_bundle_that_is_no_file_is_one_message(
    tmp_path: Path, script: Callable[..., tuple[int, str]], put: Callable[[Path], None]
) -> None:
    (tmp_path / "folder/bundle.json").unlink()
    put(tmp_path / "folder/bundle.json")
    status, message = script()
    assert (status, message.count("\n")) == (2, 1)
    assert "bundle.json: is not there" in message


WORDS = {
    "no threads": (["--threads", "0"], "'0'"),
    "an unknown runtime": (["--runtime", "tensorrt"], "tensorrt"),
    "no model": (["--runtime", "torch"], "no trained model here"),
    "a sample that is not there": (["--sample-submission", "nowhere.csv"], "nowhere.csv"),
    "a sample that is a folder": (["--sample-submission", "/"], "has to be a CSV file"),
    "a device for a result": (["--out", "/dev/null"], "--out /dev/null"),
    "a name without end": (["--out", "a" * 300], "longer than 200 bytes"),
}


@pytest.mark.parametrize(("words", "expected"), WORDS.values(), ids=WORDS)
def test_hostile_arguments_are_refused(script: Callable[..., tuple[int, str]], words: list[str], expected: str) -> None:
    status, message = script(*words)
    assert status == 2
    assert expected in message


@pytest.mark.parametrize("content", [b"{}", b"", b'{"models": ["a"]}', b'{"name": "bundle of another project"}'])
def test_a_folder_of_another_project_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bundle.json").write_bytes(content)
    (tmp_path / "thesis.txt").touch()
    job = KaggleJob(tmp_path, RunMembers((tmp_path / "model",), Joining(), "--model"), "onnx")
    refusal(lambda: write_kaggle_folder(job, lambda model, out: None), "--kaggle", "no folder of an earlier export")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.json", "thesis.txt"]


@pytest.mark.parametrize("put", [put for kind, put in NO_FILES.items() if kind != "a folder"])
def test_a_place_that_is_no_folder_is_refused(tmp_path: Path, put: Callable[[Path], None]) -> None:
    put(tmp_path / "out")
    job = KaggleJob(tmp_path / "out", RunMembers((tmp_path / "model",), Joining(), "--model"), "onnx")
    refusal(lambda: write_kaggle_folder(job, lambda model, out: None), "--kaggle", "give a folder")
