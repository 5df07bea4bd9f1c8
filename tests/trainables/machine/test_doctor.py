"""The doctor command on this machine, and where something is certain to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainables.doctor import main
from trainables.machine.facts import FORMATS, look, packages


def test_this_machine_has_a_line_for_each_thing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SED_CACHE_DIR", str(tmp_path / "cache"))
    main(["--out", str(tmp_path / "runs")])
    lines = capsys.readouterr().out.splitlines()
    for thing in ("versions", "processor", "precision", "cores", "memory", "open files", "GPU", "decoders", "runs"):
        assert any(line[6:].startswith(thing) for line in lines), thing
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "cache").exists()


def test_what_is_certain_to_fail_is_the_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(SystemExit) as left:
        main(["--out", str(tmp_path / "runs")])
    assert left.value.code == 1
    assert "fails runs" in capsys.readouterr().out


def test_the_formats_of_recordings_are_read_here(tmp_path: Path) -> None:
    assert look(tmp_path).unread == ()
    assert set(FORMATS) >= {"ogg", "mp3", "flac", "wav"}


def test_the_packages_that_are_needed_are_here() -> None:
    found = {one.name: one for one in packages()}
    assert found["torch"].fits
    assert found["torch"].wanted == "<2.12,>=2.11"
    assert "onnx" not in found, "of an extra"
