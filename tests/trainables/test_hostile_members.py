"""Hostile members.json: refused, or its members lie in their run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.run_folder.folder import RunFolder
from tests.hostile import NO_FILES, drawn, refusal, refused, scalars, trees
from trainables.labelling.run_members import members_of

MEMBER: dict[str, Any] = {"trial_id": "trial_0000", "weight": 1.0}
GOOD: dict[str, Any] = {"method": "mean", "members": [MEMBER]}
MEMBERS: dict[str, tuple[Any, str]] = {
    "null": (None, "TypeError"),
    "no members": ({"method": "mean"}, "KeyError: 'members'"),
    "an empty list": (GOOD | {"members": []}, "no members"),
    "an unknown method": (GOOD | {"method": "best"}, "'best' is none of mean"),
    "an exponent of 0": (GOOD | {"mean_exponent": 0}, "no number above 0"),
    "an exponent of text": (GOOD | {"mean_exponent": "1"}, "finite numbers"),
    "an exponent without end": (GOOD | {"mean_exponent": 10**400}, "OverflowError"),
    "a member twice": (GOOD | {"members": [MEMBER, MEMBER]}, "is there twice"),
    **{
        f"the name {name!r:.20}": (GOOD | {"members": [MEMBER | {"trial_id": name}]}, "is no name of a trial")
        for name in ("../../x", "", "trial_0000/..", "a\0b", 3, "refit_0")
    },
    **{
        f"the weight {weight!r:.20}": (GOOD | {"members": [MEMBER | {"weight": weight}]}, "finite numbers")
        for weight in (-1, math.nan, math.inf, "1", 0)
    },
    "weights that add up to too much": (
        GOOD | {"members": [MEMBER | {"weight": 1e308}, {"trial_id": "trial_0001", "weight": 1e308}]}, "finite numbers"
    ),
    "other weights": (GOOD | {"members": [MEMBER | {"weights_sha256": 3}]}, "no trained model"),
}  # fmt: skip


@pytest.mark.parametrize(("tree", "word"), MEMBERS.values(), ids=MEMBERS)
def test_a_hostile_table_of_members_is_refused(bare_run: RunFolder, tree: Any, word: str) -> None:
    bare_run.ensemble.mkdir()
    (bare_run.ensemble / "members.json").write_text(json.dumps(tree))
    refusal(lambda: members_of(bare_run.path), str(bare_run.path), word)


@pytest.mark.parametrize("put", NO_FILES.values(), ids=NO_FILES)
def test_members_in_no_file_are_refused(bare_run: RunFolder, put: Callable[[Path], None]) -> None:
    bare_run.ensemble.mkdir()
    put(bare_run.ensemble / "members.json")
    refusal(lambda: members_of(bare_run.path), "members.json", "it is no file")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 100_000], ids=range(3))
def test_members_that_are_no_json_are_refused(bare_run: RunFolder, content: bytes) -> None:
    bare_run.ensemble.mkdir()
    (bare_run.ensemble / "members.json").write_bytes(content)
    refusal(lambda: members_of(bare_run.path), "members.json")


names = scalars | st.just("trial_0000")


@drawn
@given(
    method=scalars | st.just("mean"),
    members=trees | st.lists(st.fixed_dictionaries({"trial_id": names}, optional={"weight": scalars}), max_size=2),
    exponent=scalars,
)
def test_any_table_of_members_stays_in_its_run_or_is_refused(
    bare_run: RunFolder, method: Any, members: Any, exponent: Any
) -> None:
    bare_run.ensemble.mkdir(exist_ok=True)
    tree = {"method": method, "members": members, "mean_exponent": exponent}
    (bare_run.ensemble / "members.json").write_text(json.dumps(tree))
    if not refused(lambda: members_of(bare_run.path), "members.json"):
        assert {folder.parent for folder in members_of(bare_run.path).folders} == {bare_run.path / "trials"}
