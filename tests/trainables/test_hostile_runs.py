"""Folders of runs among much that is none or damaged: listed and shown, pruned, or refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from sed_model.run_folder.folder import RunFolder
from tests.hostile import NO_FILES, Outcome, as_loop, deep_folder, refusal
from tests.trainables.run_tables import RECORD
from trainables import runs as runs_command
from trainables.keeping.run_contents import removable, remove
from trainables.labelling.run_members import members_of
from trainables.runs import find_run
from trainables.searching.warm_start import earlier_trials
from trainables.spaces.load import load_space
from trainables.trials.teacher import find_teacher


@pytest.mark.parametrize(
    "name", ["../..", "/", "", "~nobody-has-this-name", "a" * 300, "a\0b", "../../../etc"], ids=ascii
)
def test_a_run_that_is_none_is_not_found(bare_run: RunFolder, name: str) -> None:
    refusal(lambda: find_run(bare_run.path, name))


@pytest.fixture
def runs(bare_run: RunFolder) -> Path:
    """A folder with a good run, `run`, and with much that is none or damaged."""
    out = bare_run.path.parent
    bare_run.search_file.write_text(yaml.safe_dump(RECORD))
    for kind, put in NO_FILES.items():
        (out / kind).mkdir()
        put(out / kind / "search.yaml")
    (out / "file").touch()
    (out / "round").symlink_to(".")
    as_loop(out / "loop")
    for name in ODD_RUNS:
        shutil.copytree(bare_run.path, out / name)
        (out / name / "search.yaml").write_text(yaml.safe_dump(RECORD | ODD_RUNS[name]))
    deep_folder(out / "deep")
    return out


ODD_RUNS: dict[str, Any] = {
    "deep": {},
    "[bold]x": {},
    "\x1b[31mred": {},
    "two\nlines": {},
    "\udcff": {},
    "markup": {"created": "[/x]\x1b[31m", "space_name": "[/x]\x07"},
    "a search that is a list": {"search": [1]},
    "trials in words": {"search": {"num_trials": "ten"}},
    "no trials": {"search": {"num_trials": 0}},
    "half a trial": {"search": {"num_trials": 0.5}},
    "a start that is a list": {"created": [2026]},
}
DAMAGED = ("a search that is a list", "trials in words", "no trials", "half a trial", "a start that is a list")


def test_runs_are_listed_beside_what_is_none(runs: Path, outcome: Outcome) -> None:
    status, text, _ = outcome(lambda: runs_command.main(["list", "--out", str(runs), "--json"]))
    listed = json.loads(text)["runs"]
    assert status == 0
    assert {item["name"] for item in listed} == {"run", *ODD_RUNS}
    assert {item["name"] for item in listed if item["status"] == "damaged"} == set(DAMAGED)

    table = outcome(lambda: runs_command.main(["list", "--out", str(runs)]))[1]
    assert [c for c in table if not c.isprintable() and c != "\n"] == []
    assert "[bold]x" in table


@pytest.mark.parametrize("name", [name for name in ODD_RUNS if name not in DAMAGED], ids=ascii)
def test_an_odd_run_is_shown_without_what_a_terminal_obeys(runs: Path, outcome: Outcome, name: str) -> None:
    status, text, _ = outcome(lambda: runs_command.main(["show", name, "--out", str(runs)]))
    assert status == 0
    assert [c for c in text if not c.isprintable() and c != "\n"] == []


@pytest.mark.parametrize("name", [*DAMAGED, *NO_FILES, "file", "round", "loop"])
def test_a_run_that_is_none_is_not_shown(runs: Path, name: str) -> None:
    refusal(lambda: runs_command.main(["show", name, "--out", str(runs)]), name)


LINKS = ["tune", "trials", "trials/trial_0000", "ensemble", "ensemble/predictions", "trials/trial_0000/.ray_train",
         "trials/trial_0000/state.pt"]  # fmt: skip


@pytest.mark.parametrize("link", LINKS)
def test_nothing_behind_a_link_is_pruned(bare_run: RunFolder, tmp_path: Path, link: str) -> None:
    others = tmp_path / "others"
    for name in ("state.pt", "trial_0000/state.pt", ".x.tmp", "predictions/part", ".ray_train/x", "error.log"):
        (others / name).parent.mkdir(parents=True, exist_ok=True)
        (others / name).touch()
    before = sorted(others.rglob("*"))
    (bare_run.path / link).parent.mkdir(parents=True, exist_ok=True)
    (bare_run.path / link).symlink_to(others)

    remove(removable(bare_run))

    assert sorted(others.rglob("*")) == before


@pytest.mark.parametrize("name", [*NO_FILES, "file", "loop", "nowhere", "a" * 300, "a\0b"], ids=lambda n: ascii(n)[:20])
def test_what_is_no_run_starts_teaches_and_predicts_nothing(runs: Path, tiny_space: Path, name: str) -> None:
    refusal(lambda: earlier_trials(load_space(tiny_space), runs / name, "0"), "no run folder")
    refusal(lambda: find_teacher(runs / name), "no run folder")
    refusal(lambda: members_of(runs / name), "no trial with a model")
