"""The probe command: a foreign model hears tiny data, and its run is one as others are."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from analysis import report
from sed_model.clips.pseudo_clips import read_pseudo_labels
from sed_model.model.checkpoint import read_lineage
from sed_model.run_folder.delivered import read_delivered
from sed_model.run_folder.folder import RunFolder, is_probe, labels_of_part
from tests.trainables.conftest import COMMANDS
from tests.trainables.probes import N_LABELLED, run_probe, write_teacher
from trainables import export, predict, probe
from trainables.searching.finalists import N_PARTS
from trainables.trials.teacher import find_teacher

KINDS = ["zero-shot", "probe", "zero-shot and probe"]


@pytest.fixture(scope="session")
def run(probed: Path) -> RunFolder:
    return RunFolder(probed / "runs" / "probe")


def test_each_kind_is_a_trial_with_a_model_of_each_part(run: RunFolder) -> None:
    assert is_probe(run)
    assert [row["stage"] for row in run.read_trials()] == KINDS
    assert {row["status"] for row in run.read_trials()} == {"complete"}
    assert sorted((row["number"], row["fold"]) for row in run.read_refits()) == [
        (number, part) for number in range(3) for part in range(N_PARTS)
    ]
    assert len(pd.read_csv(run.leaderboard)) == 3


def test_the_lineages_name_the_foreign_model(run: RunFolder) -> None:
    for folder in (run.trial(1), run.refit(1, True, 2)):
        lineage = read_lineage(folder)
        assert [str(one) for one in lineage.foreign] == ["tiny (CC BY-NC 4.0)"]
        assert lineage.probe_of is not None
        assert lineage.stage == "probe"
    assert yaml.safe_load(run.search_file.read_text())["probe"]["matches"] == {
        "grekis": "Avis grekis_Great Kiskadee",
        "abethr1": "Avis abethr1_African Thrush",
        "1139490": None,
    }


def test_all_kinds_are_delivered_and_label_for_each_part_what_they_have_not_heard(run: RunFolder) -> None:
    delivered = read_delivered(run.path)
    assert delivered is not None
    assert (delivered.n_parts, delivered.n_files) == (N_PARTS, N_LABELLED)
    shas = {row["number"]: read_lineage(run.trial(row["number"])).weights_sha256 for row in run.read_trials()}
    whole = read_pseudo_labels(run.ensemble)
    used = {int(one.trial_id.removeprefix("trial_")) for one in delivered.finalists if one.is_delivered}
    assert set(whole.teachers) == {shas[number] for number in used}
    assert all(split is not None and split.soundscape_folds == 0 for split in whole.splits)
    for part in range(N_PARTS):
        labels = read_pseudo_labels(labels_of_part(run.ensemble, part))
        expected = {read_lineage(run.refit(number, True, part)).weights_sha256 for number in used}
        assert set(labels.teachers) == expected
        assert {split.fold for split in labels.splits if split} == {part}
        assert [one.name for one in labels.foreign] == ["tiny"]


def test_a_search_finds_its_labels_and_what_heard_but_no_weights(run: RunFolder) -> None:
    teacher = find_teacher(run.path)
    assert (teacher.model, teacher.models, teacher.n_parts, teacher.round) == (None, (), N_PARTS, 0)
    assert teacher.hearing is not None
    assert teacher.hearing.columns == (0, 1)
    assert teacher.hearing.description.name == "tiny"


def test_the_run_predicts_and_names_the_licence(
    run: RunFolder, probed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scapes = probed / "data" / "train_soundscapes"
    predict.main(["--run", str(run.path), "--soundscapes", str(scapes), "--out", str(tmp_path / "out.csv")])
    assert "licence: tiny (CC BY-NC 4.0) is behind these models" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out.csv")
    assert len(table) == 4 * (N_LABELLED + 10)
    assert table.iloc[:, 1:].to_numpy().min() >= 0


def test_its_models_join_those_of_another_run(run: RunFolder, probed: Path, tmp_path: Path) -> None:
    """The same run twice: each counts half, so that nothing changes."""
    scapes = probed / "data" / "train_soundscapes"
    words = ["--run", str(run.path), "--soundscapes", str(scapes)]
    predict.main([*words, "--out", str(tmp_path / "alone.csv")])
    predict.main([*words, "--also", str(run.path), "--out", str(tmp_path / "both.csv")])
    alone, both = (pd.read_csv(tmp_path / name, index_col=0) for name in ("alone.csv", "both.csv"))
    pd.testing.assert_frame_equal(alone, both, atol=1e-6)


def test_the_run_has_a_report(run: RunFolder, tmp_path: Path) -> None:
    copy = shutil.copytree(run.path, tmp_path / "copy")
    report.main(["--run", str(copy)])
    assert "zero-shot and probe" in (copy / "report.html").read_text(encoding="utf-8")


def test_no_probe_is_exported(run: RunFolder, outcome: Any) -> None:
    status, out, message = outcome(lambda: export.main(["--run", str(run.path), "--format", "onnx"]))
    assert status == 2
    assert "licence: tiny (CC BY-NC 4.0)" in out
    assert "hears with a foreign model, whose weights are not passed on; export a model that has learned" in message


def test_a_command_that_was_broken_off_goes_on_from_what_was_heard(
    probed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is there is named, with the repair; under another name nothing is heard again."""
    again = run_probe(probed / "teacher" / "tiny.yaml", probed / "data", tmp_path, "--no-pseudo-labels")
    printed = capsys.readouterr().out
    assert "hears" not in printed.replace("hears with", "")
    assert not again.ensemble.exists()
    assert "--space teacher.yaml" not in printed
    first = [row["macro_auc"] for row in RunFolder(probed / "runs" / "probe").read_trials()]
    assert [row["macro_auc"] for row in again.read_trials()] == first


@pytest.mark.slow
def test_a_probe_is_begun_again_in_its_folder_but_no_other_one(
    probed: Path, tmp_path: Path, refusal_of: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(probed / "runs", tmp_path / "runs")
    (tmp_path / "runs" / "probe" / "trials.parquet").unlink()
    teacher = probed / "teacher" / "tiny.yaml"
    again = run_probe(teacher, probed / "data", tmp_path / "runs")
    assert len(again.read_trials()) == 3
    monkeypatch.setitem(COMMANDS, "probe", probe.main)
    words = {"--teacher": teacher, "--data": probed / "data", "--out": tmp_path / "runs", "--name": "probe"}
    words |= {"--set": "data.split_seed=7"}
    message = refusal_of("probe", *(word for pair in words.items() for word in pair), "--set", "data.target_s=1")
    assert "is a probe of other data, of another teacher or setting; choose another --name" in message


@pytest.mark.slow
def test_without_labelled_soundscapes_and_without_logits_folds_score_the_probe_alone(
    probed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(probed / "data", tmp_path / "data"))
    (data / "train_soundscapes_labels.csv").unlink()
    shutil.rmtree(data / "train_soundscapes")
    teacher = write_teacher(tmp_path / "teacher", logits=None, labels=None)
    run = run_probe(teacher, data, tmp_path)
    (row,) = run.read_trials()
    assert (row["stage"], row["number"]) == ("probe", 0)
    assert read_lineage(run.trial(0)).validation == "folds"
    assert run.read_refits() == []
    assert read_delivered(run.path) is None
    assert not run.ensemble.exists()
    assert "knows 0 of 3 classes by name" in capsys.readouterr().out
    assert find_teacher(run.path).labels is None


@pytest.mark.slow
def test_with_few_labelled_soundscapes_there_are_no_parts(tiny_root: Path, tmp_path: Path, ray_cluster: None) -> None:
    """Two; and none of the classes matches, for their scientific names are others."""
    data = Path(shutil.copytree(tiny_root, tmp_path / "data"))
    (data / "taxonomy.csv").write_text("primary_label,scientific_name\ngrekis,A\nabethr1,B\n1139490,C\n")
    run = run_probe(write_teacher(tmp_path / "teacher"), data, tmp_path)
    assert [row["stage"] for row in run.read_trials()] == ["probe"]
    assert (run.read_refits(), read_delivered(run.path)) == ([], None)
    assert len(read_pseudo_labels(run.ensemble)) > 0
    teacher = find_teacher(run.path)
    assert (teacher.n_parts, teacher.labels) == (0, run.ensemble)


# --- wrong input


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--teacher", "bird"], ["--teacher bird", "did you mean birdnet?", "docs/teacher.md"]),
        (["--teacher", "perch-v2"], ["names no file", "--teacher-file FILE"]),
        (["--teacher-file", "gone.onnx"], ["gone.onnx is not there"]),
        (["--teacher-labels", "gone.txt"], ["gone.txt is not there"]),
        (["--set", "model.drop_rate=0.1"], ["--set model.drop_rate", "a probe trains no model", "data., inference."]),
        (["--set", "data.window=3"], ["data.window", "data.window_s"]),
        (["--name", "used"], ["used exists", "choose another --name, or delete it"]),
        (["--name", "a/b"], ["--name 'a/b'", "no plain folder name"]),
        (["--data", "nowhere"], ["nowhere", "train.csv"]),
        (["--workers", "0"], ["--workers", "'0'"]),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_wrong_input_is_told_with_its_repair_before_anything_starts(
    refusal_of: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tiny_root: Path,
    tmp_path: Path,
    words: list[str],
    parts: list[str],
) -> None:
    monkeypatch.setitem(COMMANDS, "probe", probe.main)
    (tmp_path / "runs" / "used" / "file").mkdir(parents=True)
    given = {"--teacher": write_teacher(tmp_path / "teacher"), "--data": tiny_root, "--out": tmp_path / "runs"}
    given |= dict([words])
    message = refusal_of("probe", *(word for pair in given.items() for word in pair))
    assert message.count("\n") == 1
    for part in parts:
        assert part in message
