"""Hostile manifests and files in a trial's storage: refused, and nothing is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.core.errors import UserError
from tests.hostile import drawn, refusal, refused, scalars, trees
from trainables.on_ray.trial_storage import MANIFEST, TrialFiles

MANIFESTS: dict[str, bytes] = {
    "a list": b'["a"]',
    "deep": b"[" * 100_000,
    "another encoding": b"\xff\xfe",
    "a number for a file": b'{"a": 3}',
    **{
        f"the file {name}": json.dumps({name: "0-1.txt"}).encode()
        for name in ("../x", "../../x", "/tmp/x", "a/b", "", ".", "..")
    },
    **{f"the source {name}": json.dumps({"x": name}).encode() for name in ("../x", "/etc/passwd", "a/b", "", "..")},
}


@pytest.mark.parametrize("content", MANIFESTS.values(), ids=MANIFESTS)
def test_a_hostile_manifest_writes_nothing_outside_the_folder(tmp_path: Path, content: bytes) -> None:
    storage, folder = tmp_path / "storage", tmp_path / "trials" / "trial_0000"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text("{}")
    files = TrialFiles(folder, storage.as_uri())
    files.push()
    (storage / MANIFEST).write_bytes(content)
    before = sorted(tmp_path.rglob("*"))

    refusal(TrialFiles(folder, storage.as_uri()).pull, "trial_0000")
    assert sorted(tmp_path.rglob("*")) == before


names = st.text(max_size=6) | st.lists(st.sampled_from(["..", ".", "", "x", "~", "\0"]), max_size=4).map("/".join)


@drawn
@given(manifest=trees | st.dictionaries(names, names | scalars, max_size=2))
def test_any_manifest_writes_nothing(tmp_path: Path, manifest: object) -> None:
    """It names no file that is in the storage."""
    storage, folder = tmp_path / "storage", tmp_path / "trials" / "trial_0000"
    for place in (storage, folder):
        place.mkdir(parents=True, exist_ok=True)
    (storage / MANIFEST).write_text(json.dumps(manifest))
    before = sorted(tmp_path.rglob("*"))

    wrong = refused(TrialFiles(folder, storage.as_uri()).pull, kind=(UserError, OSError))
    assert wrong == (manifest != {})
    assert sorted(tmp_path.rglob("*")) == before
