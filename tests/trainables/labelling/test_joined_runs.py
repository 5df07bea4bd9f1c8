"""Members of several runs: what each counts, and that nothing labels what it has heard."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sed_model.clips.pseudo_clips import read_pseudo_labels
from sed_model.clips.training_data import check_leaks
from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import CheckpointError
from sed_model.data.recordings import read_data_folder
from sed_model.data.splits import split
from sed_model.model.checkpoint import read_lineage
from sed_model.run_folder.delivered import DELIVERED_FILE
from sed_model.run_folder.folder import RunFolder, labels_of_part
from tests.trainables.delivered import write_delivered_run
from tests.trainables.tiny import write_data
from trainables import ensemble
from trainables.labelling.candidates import EnsembleJob
from trainables.labelling.members import table_lines
from trainables.labelling.plan import EnsemblePlan, members_record, plan_ensemble
from trainables.labelling.run_members import members_of
from trainables.labelling.write_labels import member_weights
from trainables.trials.hearing import opened
from trainables.trials.teacher import find_teacher


@pytest.fixture(scope="module")
def written(tiny_base: SedConfig, cache_dir: Path, made_once: Callable[..., Path]) -> Path:
    """Data with four labelled soundscapes; of each run the models of two parts: two finalists of `first`, one each of
    `second` and, on other parts, `strange`. `trials` has no finalists.
    """

    def write(folder: Path) -> None:
        data = read_data_folder(write_data(folder / "data", 4), 1.0)
        write_delivered_run(folder / "first", tiny_base, data)
        second = tiny_base.with_overrides({"seed": 8})
        write_delivered_run(folder / "second", second, data, numbers=(0,))
        strange = tiny_base.with_overrides({"data.split_seed": other_split_seed(tiny_base, data)})
        write_delivered_run(folder / "strange", strange, data, numbers=(0,))
        shutil.copytree(folder / "first", folder / "trials", ignore=shutil.ignore_patterns("part_*", DELIVERED_FILE))

    return made_once("joined_runs", write)


def other_split_seed(base: SedConfig, data: Any) -> int:
    """One that draws other parts."""
    digests: dict[int, frozenset[str]] = {}
    for seed in range(1, 50):
        config = base.with_overrides({"data.split_seed": seed, "data.soundscape_folds": 2})
        records = [split(data, config.with_overrides({"data.fold": part}).data).record for part in range(2)]
        digests[seed] = frozenset(record.digest for record in records)
    first = base.with_overrides({"data.soundscape_folds": 2, "data.fold": 0})
    own = split(data, first.data).record.digest
    return next(seed for seed, found in digests.items() if own not in found)


def plan(written: Path, run: str, *also: str, **changes: Any) -> EnsemblePlan:
    others = tuple(written / name for name in also)
    return plan_ensemble(EnsembleJob(written / run, written / "data", written / "out", also=others, **changes))


def labellers(made: EnsemblePlan, chosen: tuple[bool, ...] | None) -> list[str]:
    names = [member.trial_id for member in made.choice.members]
    return [name for name, is_one in zip(names, chosen or (True,) * len(names), strict=True) if is_one]


def test_a_part_is_labelled_by_the_models_of_both_runs_that_have_not_heard_it(written: Path) -> None:
    made = plan(written, "first", "second")
    assert labellers(made, made.choice.label_sets()[1]) == [
        *("trial_0001_part_1", "trial_0000_part_1", "second_trial_0000_part_1")
    ]
    assert list(made.choice.label_sets()) == [0, 1]
    assert made.choice.whole() is None


def test_a_run_that_has_heard_no_labelled_soundscape_labels_for_every_part(written: Path) -> None:
    """The run itself has none such; its own labels for whom all soundscapes validate are of all members, as alone."""
    made = plan(written, "first", "trials", top_k=1)
    for part, chosen in made.choice.label_sets().items():
        own = [f"trial_0001_part_{part}"]
        assert labellers(made, chosen) == [*own, *(f"trials_trial_000{number}" for number in (0, 1, 2))]
    assert made.choice.whole() is None


def test_each_run_has_its_share_of_every_window(written: Path) -> None:
    """Also where it is three models beside one of the other run: those that have not heard the part."""
    made = plan(written, "first", "trials", top_k=1, share=0.25)
    assert [member.weight for member in made.choice.members] == pytest.approx([0.375] * 2 + [0.25 / 3] * 3)
    some = pd.Series([made.filenames[0]])
    weights = member_weights(made, some, made.choice.label_sets()[0])[:, 0]
    assert weights == pytest.approx([0.75, 0, *[0.25 / 3] * 3])
    (labelled,) = {Path(path).name for path in made.data.soundscape_labels["path"]} & {"L0.wav"}  # type: ignore[index]
    judges = member_weights(made, pd.Series([labelled]))[:, 0]
    assert judges[:2].sum() == pytest.approx(0.75)
    assert (judges[:2] > 0).sum() == 1


def test_runs_count_alike_where_no_share_is_given(written: Path) -> None:
    made = plan(written, "first", "second", "trials")
    weights = {name: sum(one.weight for one in made.choice.members if one.run == name) for name in ("", "second")}
    assert weights == pytest.approx({"": 1 / 3, "second": 1 / 3})


def test_who_labels_is_recorded_and_told_with_the_run_that_it_is_of(written: Path) -> None:
    made = plan(written, "first", "second", share=0.5)
    record = members_record(made, made.choice.label_sets()[0])
    assert [one["run"] for one in record["members"]] == ["", "", "second"]
    assert record["also"] == [{"run": "second", "source": "delivered.json: the finalists' mean"}]
    assert record["share"] == 0.5
    assert any(line.startswith("second_trial_0000_part_0 ") for line in table_lines(made.choice))


def test_parts_that_are_others_are_refused_with_the_seed_that_makes_them(written: Path) -> None:
    with pytest.raises(CheckpointError, match=r"--also .*strange: was trained on other parts .*data\.split_seed=\d"):
        plan(written, "first", "strange")


def test_models_that_have_heard_what_validates_students_are_refused(written: Path) -> None:
    with pytest.raises(CheckpointError, match=r"--also .*second: was trained on labelled soundscapes, all of which"):
        plan(written, "trials", "second")


def test_models_of_other_data_are_refused(written: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(written / "trials", tmp_path / "other"))
    path = other / "trials/trial_0001/model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"data_fingerprint": "0" * 32}))
    with pytest.raises(CheckpointError, match=r"--also .*other: was made with other data than first"):
        plan(written, "first", str(other))


def test_models_that_hear_otherwise_are_refused(written: Path, tmp_path: Path, tiny_base: SedConfig) -> None:
    data = read_data_folder(written / "data", 1.0)
    faster = tiny_base.with_overrides({"front_end.sample_rate_hz": 16_000})
    write_delivered_run(tmp_path / "faster", faster, data, numbers=(0,))
    with pytest.raises(CheckpointError, match=r"faster_trial_0000_part_0: its front_end\.sample_rate_hz=16000"):
        plan(written, "first", str(tmp_path / "faster"))


def test_what_predicts_for_the_run_alone_leaves_members_of_others_out(written: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(written / "trials", tmp_path / "run"))
    made = plan(written, str(run), "trials", top_k=2)
    (run / "ensemble").mkdir()
    (run / "ensemble/members.json").write_text(json.dumps(members_record(made)))
    members = members_of(run)
    assert members.names == ["trial_0000", "trial_0001"]
    assert members.source == "ensemble/members.json (3 models of other runs are left out; --also takes them)"


# --- the models of others alone, for students of the run


def taught(written: Path, run: str, *teachers: str) -> EnsemblePlan:
    return plan(written, run, *teachers, leaves_own_out=True)


def test_students_of_a_part_learn_from_other_runs_models_that_have_not_heard_it(written: Path) -> None:
    made = taught(written, "first", "second")
    assert labellers(made, made.choice.label_sets()[0]) == ["second_trial_0000_part_0"]
    assert labellers(made, made.choice.label_sets()[1]) == ["second_trial_0000_part_1"]
    assert made.rules.members == made.choice.folders
    assert not any(folder.is_relative_to(written / "first") for folder in made.rules.members)


def test_the_run_labels_too_where_it_is_named_and_each_run_counts_alike(written: Path) -> None:
    made = taught(written, "second", "first", "second")
    some = pd.Series([made.filenames[0]])
    weights = member_weights(made, some, made.choice.label_sets()[1])[:, 0]
    named = {one.trial_id: weight for one, weight in zip(made.choice.members, weights, strict=True) if weight}
    of_first = dict.fromkeys(["first_trial_0001_part_1", "first_trial_0000_part_1"], 0.25)
    assert named == pytest.approx(of_first | {"second_trial_0000_part_1": 0.5})


def test_parts_of_the_student_are_labelled_by_a_run_that_has_heard_none(written: Path) -> None:
    made = taught(written, "first", "trials")
    assert list(made.choice.label_sets()) == [0, 1]
    assert labellers(made, made.choice.label_sets()[1]) == [f"trials_trial_000{number}" for number in (0, 1, 2)]
    assert made.choice.whole() is None


@pytest.mark.parametrize(
    ("run", "teacher", "message"),
    [
        ("trials", "second", "--teachers .*second: was trained on labelled soundscapes, all of which validate"),
        ("first", "strange", "--teachers .*strange: was trained on other parts"),
    ],
)
def test_teachers_that_have_heard_what_validates_are_refused(
    written: Path, run: str, teacher: str, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        taught(written, run, teacher)


def test_teachers_of_another_window_are_refused(written: Path, tmp_path: Path, tiny_base: SedConfig) -> None:
    data = read_data_folder(written / "data", 1.0)
    write_delivered_run(tmp_path / "longer", tiny_base.with_overrides({"data.target_s": 1.5}), data, numbers=(0,))
    with pytest.raises(CheckpointError, match=r"longer: its data\.target_s=1\.5 is not the 1 of first"):
        taught(written, "first", str(tmp_path / "longer"))


def test_who_taught_is_recorded(written: Path) -> None:
    record = members_record(taught(written, "first", "second"))
    assert [one["run"] for one in record["members"]] == ["second", "second"]
    assert (record["select"], record["score"]) == ("teachers", None)
    assert record["also"] == [{"run": "second", "source": "delivered.json: the finalists' mean"}]


# --- the whole job, with a probe

PROBE_RATE = {"front_end.sample_rate_hz": SedConfig().front_end.sample_rate_hz}
"""The front end of a probe is that of base.yaml."""


@pytest.mark.slow
def test_a_probe_labels_beside_a_search_and_students_name_its_teacher(
    probed: Path, tiny_base: SedConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = read_data_folder(probed / "data", 1.0)
    probe, base = RunFolder(probed / "runs/probe"), tiny_base.with_overrides(PROBE_RATE)
    run = write_delivered_run(tmp_path / "cnn", base, data, n_parts=4)
    words = ["--run", run.path, "--also", probe.path, "--share", 0.25, "--set", "pseudo.keep_window=0.01"]
    ensemble.main([str(word) for word in words])

    teacher = find_teacher(run.path)
    assert len(teacher.models) == 4
    for part in range(4):
        labels = read_pseudo_labels(labels_of_part(run.ensemble, part))
        probes = {read_lineage(probe.refit(number, True, part)).weights_sha256 for number in range(3)}
        cnns = {read_lineage(run.refit(number, True, part)).weights_sha256 for number in range(2)}
        assert cnns < set(labels.teachers) <= probes | cnns
        assert [str(one) for one in labels.foreign] == ["tiny (CC BY-NC 4.0)"]
        config = base.with_overrides({"data.soundscape_folds": 4, "data.fold": part})
        of_part = opened(data, config, labels_of_part(run.ensemble, part), None)
        check_leaks(of_part, read_lineage(teacher.models[part]))
        assert [one.name for one in of_part.foreign(config)] == ["tiny"]
        strange = opened(data, config, labels_of_part(run.ensemble, (part + 1) % 4), None)
        with pytest.raises(CheckpointError, match="pseudo-labels"):
            check_leaks(strange, None)
    assert "labels for part 3 of the labelled soundscapes" in capsys.readouterr().out


@pytest.mark.slow
def test_beside_a_probe_who_has_heard_soundscapes_labels_for_parts_alone(
    probed: Path, tiny_base: SedConfig, tmp_path: Path
) -> None:
    """For whom all labelled soundscapes validate the probe's trials label, which have heard none."""
    data = read_data_folder(probed / "data", 1.0)
    probe, base = RunFolder(probed / "runs/probe"), tiny_base.with_overrides(PROBE_RATE)
    run = write_delivered_run(tmp_path / "cnn", base, data, n_parts=4)
    made = plan_ensemble(EnsembleJob(probe.path, data.root, tmp_path / "out", also=(run.path,)))
    assert {name[:10] for name in labellers(made, made.choice.whole())} <= {f"trial_000{number}" for number in range(3)}
    assert made.rules.teachers == (probed / "teacher/tiny.onnx",)
    weights = member_weights(made, pd.Series([made.filenames[0]]), made.choice.label_sets()[2])[:, 0]
    of_run = np.array([member.run == "cnn" for member in made.choice.members])
    assert weights[of_run].sum() == pytest.approx(0.5)
    assert (weights[of_run] > 0).sum() == 2
