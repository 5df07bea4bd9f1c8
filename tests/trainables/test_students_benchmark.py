"""What compares the rules of students: its table by hand, and all of it once on tiny data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import score_students
import yaml
from score_students import RULES, gains, main

from sed_model.clips.pseudo_clips import read_pseudo_labels
from sed_model.model.checkpoint import read_lineage
from tests.trainables.tiny import BASE, write_data


def row(data: str, seed: int, rule: str, macro_auc: float) -> dict[str, object]:
    return {"data": data, "seed": seed, "rule": rule, "epochs": 10, "macro_auc": macro_auc, "teacher": 0.5}


def test_gains_are_paired_by_data_and_seed() -> None:
    """The rule leads by 0.1 and 0.3, and has no partner at the third seed."""
    rows = [row("a", 1, "plain", 0.5), row("a", 1, "power", 0.6), row("b", 1, "plain", 0.4), row("b", 1, "power", 0.7)]
    rows += [row("b", 2, "power", 0.9), row("b", 1, "control", 0.3)]
    lines = {(line["data"], line["rule"]): line for line in gains(rows)}
    assert lines["a", "power"] == {
        "data": "a", "epochs": 10, "rule": "power", "n": 1, "macro_auc": 0.6, "over plain": 0.1, "sd over plain": None
    }  # fmt: skip
    every = lines["all", "power"]
    assert (every["n"], every["macro_auc"]) == (3, 0.7333)
    assert (every["over plain"], every["sd over plain"]) == (0.2, 0.1414)
    assert every["over control"] == 0.4
    assert "over plain" not in lines["b", "plain"]


def test_each_rule_is_one_that_the_configuration_takes(tmp_path: Path) -> None:
    """All of them differ from the plain student's."""
    setting = score_students.Setting(tmp_path / "data", 1, score_students.BASE, None, tmp_path, 1, 10)
    config = score_students.teacher_config(setting, 0)
    setting.teachers[0].mkdir(parents=True)
    (setting.teachers[0] / "config.json").write_text(config.model_dump_json())
    configs = [score_students.student_config(setting, rule) for rule in RULES]
    assert configs[0] == configs[1]
    assert len({one.model_dump_json() for one in configs}) == len(RULES) - 1
    assert (configs[0].data.soundscape_folds, configs[0].data.fold, configs[0].stages.pseudo.epochs) == (4, 0, 10)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight labelled soundscapes, which are the test's, too."""
    root = write_data(tmp_path_factory.mktemp("students") / "data", 8)
    shutil.copytree(root / "train_soundscapes", root / "test_soundscapes")
    shutil.copy(root / "train_soundscapes_labels.csv", root / "test_soundscapes_labels.csv")
    return root


def test_students_of_each_rule_go_on_from_a_teacher_and_a_broken_run_goes_on(
    data: Path, cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(BASE), encoding="utf-8")
    words = ["--data", str(data), "--out", str(tmp_path / "out"), "--config", str(tmp_path / "base.yaml")]
    words += ["--seeds", "1", "--epochs", "1", "--only", "plain", "--only", "control", "--only", "all"]
    rows_file = tmp_path / "out" / "rows.jsonl"
    assert main(words) == 0
    rows = [json.loads(line) for line in rows_file.read_text().splitlines()]
    assert [one["rule"] for one in rows] == ["plain", "control", "all"]
    folder = tmp_path / "out" / "data-900"
    students = {rule: read_lineage(folder / "students" / f"{rule}-1") for rule in ("plain", "control", "all")}
    teachers = [read_lineage(folder / "teachers" / number) for number in "01"]
    assert students["plain"].teachers == tuple(one.weights_sha256 for one in teachers)
    assert students["control"].teachers == ()
    parents = {one.parent.weights_sha256 for one in students.values() if one.parent is not None}
    assert parents == {teachers[0].weights_sha256}
    assert all(one.split == teachers[0].split for one in students.values())
    # to the power of 1.5 in the one, as they are in the other
    plain, sharp = (read_pseudo_labels(folder / "labels" / rule).probabilities for rule in ("plain", "power"))
    assert plain**1.5 == pytest.approx(sharp, rel=1e-5)

    last = '{"data": "data", "seed": 900, "rule": "al'  # of a row that was broken off
    rows_file.write_text("".join(f"{json.dumps(one)}\n" for one in rows[:2]) + last)
    capsys.readouterr()
    assert main(words) == 0
    again = [json.loads(line) for line in rows_file.read_text().splitlines()]
    assert [one["rule"] for one in again] == ["plain", "control", "all"]
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert printed[0]["rule"] == "all"  # the only one that was trained
    assert printed[-1]["over plain"] == round(again[2]["macro_auc"] - again[0]["macro_auc"], 4)
