"""--tune-post: labelled train soundscapes alone, predictions once, settings in a file."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sed_model.core.errors import CheckpointError, DataError
from sed_model.data.recordings import DataFolder, read_data_folder
from sed_model.data.splits import split
from sed_model.model.checkpoint import Lineage
from sed_model.predict.ensemble import Ensemble, load_ensemble
from sed_model.predict.heard import may_judge
from sed_model.predict.post_tuning import LabelledWindows, tune
from sed_model.predict.postprocess import PostSettings, ScoreParts, blend, read_post
from sed_model.predict.tune_job import (
    TuneJob,
    allowed_members,
    cached_scores,
    labelled_windows,
    refuse_test_soundscapes,
    tune_further,
    tune_post,
)
from sed_model.run_folder.metrics import macro_auc


def test_settings_are_found_and_predictions_made_once(
    tiny_root: Path, tiny_models: Sequence[Path], tmp_path: Path
) -> None:
    ensemble, lines = load_ensemble(tiny_models), []
    job = TuneJob(tiny_root, tmp_path / "post.json", shift_s=0.25)
    first = tune_post(job, ensemble, lines.append)
    assert read_post(job.out) == first.settings.model_copy(update={"tta_shift_s": 0.25})
    assert first.n_parts == 6  # two soundscapes: two parts in each of three draws
    assert lines[0].startswith("2/2 files")
    assert "gain on soundscapes that had no part in the choice" in lines[2]

    again: list[str] = []
    assert tune_post(job, ensemble, again.append) == first
    assert again[0].startswith("predictions of 2 labelled soundscapes are there already")
    assert again[1:] == lines[1:]

    tune_post(TuneJob(tiny_root, tmp_path / "post.json", shift_s=0.5), ensemble, again.append)
    assert len(list(tmp_path.glob(".post-*.npz"))) == 1


def test_groups_and_places_are_tuned_after_the_settings_of_all(tiny_root: Path, tmp_path: Path) -> None:
    """One class calls at dawn alone, and neighbours tell of one that sings on; nobody is told more than that."""
    rng, n_files, n_windows = np.random.default_rng(0), 24, 16
    root = Path(shutil.copytree(tiny_root, tmp_path / "data"))
    (root / "taxonomy.csv").write_text("primary_label,class_name\n1139490,Aves\nabethr1,Aves\ngrekis,Insecta\n")
    data = read_data_folder(root, 1.0)
    stems = [f"S{number // 3}_20250606_{5 + 6 * (number % 3):02d}0000" for number in range(n_files)]
    targets = np.zeros((n_files, n_windows, 3), np.float32)
    for number in range(n_files):
        targets[number, :, 0] = (rng.random(n_windows) < 0.7) * (number % 3 == 0)
        targets[number, :, 1] = rng.random(n_windows) < 0.4
        first = rng.integers(0, 9)
        targets[number, first : first + 8, 2] = 1
    flat = targets.reshape(-1, 3)
    scores = np.clip(0.4 + 0.2 * flat + rng.normal(0, [0.3, 0.05, 0.3], flat.shape), 0, 1).astype(np.float32)
    windows = LabelledWindows((n_windows,) * n_files, flat, np.ones(len(flat), bool))
    before, lines = tune(lambda one: scores, windows, [PostSettings()]), list[str]()

    job = TuneJob(root, tmp_path / "post.json")
    tuned = tune_further(job, data, (before, lambda one: scores, windows, stems), lines.append)

    assert [group.name for group in tuned.settings.groups] == ["Insecta"]
    assert tuned.settings.prior is not None
    assert set(tuned.settings.prior.shifts) >= {"hour=05", "hour=11", "hour=17"}
    assert list(tuned.further) == ["Aves", "Insecta", "prior"]
    assert list(tuned.proven) == ["Insecta", "prior"]
    assert lines[1].startswith("settings of their own for Insecta: 8 tried, gain +0.")
    assert "taken: smoothing_centre=0.6" in lines[1]
    assert lines[2] == "places are known by labels alone: there are no pseudo-labels"
    assert lines[3].startswith("a prior of places, with sites held out: ")
    assert "taken: hour, weight 1" in lines[3]


def in_parts(ensemble: Ensemble, data: DataFolder) -> Ensemble:
    """As if each of the two models had trained on the soundscape that validates the other."""
    members = []
    for part, member in enumerate(ensemble.members):
        settings = member.config.data.model_copy(update={"soundscape_folds": 2, "fold": part})
        record = split(data, settings).record
        members.append(replace(member, lineage=member.lineage.model_copy(update={"split": record})))
    return replace(ensemble, members=tuple(members))


def test_a_model_does_not_judge_a_soundscape_that_it_has_heard(
    tiny_root: Path, tiny_models: Sequence[Path], tmp_path: Path
) -> None:
    """The score is that of the first model on the one soundscape and of the second on the other."""
    data = read_data_folder(tiny_root, 1.0)
    ensemble = in_parts(load_ensemble(tiny_models[:2]), data)
    windows, tasks = labelled_windows(data, ensemble)
    job, lines = TuneJob(tiny_root, tmp_path / "post.json"), list[str]()

    tuned = tune_post(job, ensemble, lines.append)

    allowed = allowed_members(data, ensemble, windows, tasks)
    assert sorted(allowed[:, [0, 6]].T.tolist()) == [[False, True], [True, False]]
    scores = cached_scores(job, ensemble, data, tasks, lines.append)
    shares = np.array([member.config.inference.frame_share for member in ensemble.members])
    parts = ScoreParts(scores["clip"], scores["shifted"], scores["best_alone"], scores["silent"], shares)
    by_member = blend(parts, PostSettings())
    by_hand = np.where(allowed[0][:, None], by_member[0], by_member[1])
    assert tuned.plain == pytest.approx(macro_auc(windows.targets, by_hand))
    assert any("each is scored by those that have not heard it" in line for line in lines)


def test_a_model_of_a_part_is_judged_on_that_part_alone(
    tiny_root: Path, tiny_models: Sequence[Path], tmp_path: Path
) -> None:
    ensemble = in_parts(load_ensemble(tiny_models[:2]), read_data_folder(tiny_root, 1.0))
    lines: list[str] = []
    tune_post(TuneJob(tiny_root, tmp_path / "post.json"), replace(ensemble, members=ensemble.members[:1]), lines.append)
    assert any("settings on 1 labelled train soundscape:" in line for line in lines)


def test_parts_of_other_labels_are_refused(tiny_root: Path, tiny_models: Sequence[Path], tmp_path: Path) -> None:
    """Which of today's labelled soundscapes a model has heard cannot be told."""
    ensemble = in_parts(load_ensemble(tiny_models[:2]), read_data_folder(tiny_root, 1.0))
    root = Path(shutil.copytree(tiny_root, tmp_path / "data"))
    table = root / "train_soundscapes_labels.csv"
    table.write_text("".join(line for line in table.read_text().splitlines(True) if not line.startswith("S0")))
    of_others = replace(ensemble.members[0], lineage=with_digest(ensemble.members[0].lineage, "0" * 32))
    for data, members in ((root, ensemble.members), (tiny_root, (of_others,))):
        with pytest.raises(DataError, match="which of these it has heard cannot be told; restore train_soundscapes_la"):
            may_judge(read_data_folder(data, 1.0), members)


def with_digest(lineage: Lineage, digest: str) -> Lineage:
    """As if so many soundscapes had been labelled, but other ones."""
    assert lineage.split is not None
    return lineage.model_copy(update={"split": lineage.split.model_copy(update={"digest": digest})})


def test_windows_are_those_of_the_table(tiny_root: Path, tiny_models: Sequence[Path]) -> None:
    windows, tasks = labelled_windows(read_data_folder(tiny_root, 1.0), load_ensemble(tiny_models))
    assert [task.path.name for task in tasks] == ["S0.wav", "S1.wav"]
    assert tasks[0].starts_s == (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
    assert windows.n_windows == (6, 6)
    assert windows.targets[:2].tolist() == [[1, 0, 0], [0, 1, 0]]
    assert windows.labelled.all()


@pytest.mark.parametrize("how", ["table", "file", "copy"])
def test_test_soundscapes_are_refused(tiny_root: Path, tmp_path: Path, how: str) -> None:
    """By the test's table, by the name of a file, and as a copy under another name."""
    root = Path(shutil.copytree(tiny_root, tmp_path / "data"))
    (root / "test_soundscapes").mkdir()
    if how == "table":
        (root / "test_soundscapes_labels.csv").write_text("row_id,1139490,abethr1,grekis\nS1_1,0,0,0\n")
    elif how == "file":
        (root / "test_soundscapes" / "S1.ogg").touch()
    else:
        shutil.copy(root / "train_soundscapes" / "S1.wav", root / "test_soundscapes" / "T9.wav")
    with pytest.raises(DataError, match=r"labels 1 soundscapes of the test \(S1\)"):
        refuse_test_soundscapes(root, ["train_soundscapes/S0.wav", "train_soundscapes/S1.wav"])


def test_data_that_cannot_tune_is_refused(tiny_root: Path, tiny_models: Sequence[Path], tmp_path: Path) -> None:
    ensemble = load_ensemble(tiny_models)
    root = Path(shutil.copytree(tiny_root, tmp_path / "data"))
    (root / "taxonomy.csv").write_text("primary_label,scientific_name\ngrekis,a\nabethr1,b\n1139490,c\n")
    with pytest.raises(CheckpointError, match="its classes are not those of the models"):
        tune_post(TuneJob(root, tmp_path / "post.json"), ensemble)
    (root / "train_soundscapes_labels.csv").unlink()
    with pytest.raises(DataError, match=r"needs train_soundscapes_labels\.csv"):
        tune_post(TuneJob(root, tmp_path / "post.json"), ensemble)
    assert not (tmp_path / "post.json").exists()
