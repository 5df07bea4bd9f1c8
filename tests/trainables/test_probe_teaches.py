"""A probe teaches a search: its labels in the stage pseudo, what it heard in the others, its licence in all models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sed_model.clips.pseudo_clips import read_pseudo_labels
from sed_model.clips.training_data import check_leaks
from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import CheckpointError, ConfigError, DataError
from sed_model.data.recordings import read_data_folder
from sed_model.model.checkpoint import read_lineage
from sed_model.run_folder.folder import RunFolder, labels_of_part
from tests.trainables.tiny import BASE
from trainables import export, train
from trainables.searching.checks import check_stages, check_teacher_heard
from trainables.searching.hear_once import heard_once
from trainables.searching.training import hearing_of
from trainables.spaces.load import load_space
from trainables.trials.hearing import opened
from trainables.trials.teacher import Teacher, find_teacher

STAGES = ("pretrain_ce", "train_bce", "finetune", "pseudo")


@pytest.fixture(scope="session")
def run(probed: Path) -> RunFolder:
    return RunFolder(probed / "runs" / "probe")


@pytest.fixture(scope="session")
def teacher(run: RunFolder) -> Teacher:
    return find_teacher(run.path)


def settings(tree: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """The tiny base as words of --set."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from settings(value, f"{before}{name}.")
        elif name != "min_steps_per_epoch":  # without a use beside batch_size
            yield from ("--set", f"{before}{name}={value}".replace("=False", "=false"))


# --- who learns from what


def test_a_trial_of_a_part_may_learn_from_that_parts_labels_alone(
    tiny_base: SedConfig, run: RunFolder, probed: Path, teacher: Teacher
) -> None:
    config = tiny_base.with_overrides({"data.soundscape_folds": 4, "data.fold": 1})
    data = read_data_folder(probed / "data", 1.0)
    model, labels = teacher.of(config.data)
    assert (model, labels) == (None, labels_of_part(run.ensemble, 1))
    check_leaks(opened(data, config, labels, None), None)
    with pytest.raises(CheckpointError, match="pseudo-labels"):
        check_leaks(opened(data, config, labels_of_part(run.ensemble, 2), None), None)


def test_a_trial_that_all_soundscapes_validate_learns_from_who_has_heard_none(
    tiny_base: SedConfig, run: RunFolder, probed: Path, teacher: Teacher
) -> None:
    data = read_data_folder(probed / "data", 1.0)
    assert teacher.of(tiny_base.data) == (None, run.ensemble)
    check_leaks(opened(data, tiny_base, run.ensemble, None), None)
    with pytest.raises(CheckpointError, match="pseudo-labels"):
        check_leaks(opened(data, tiny_base, labels_of_part(run.ensemble, 2), None), None)


def test_embeddings_are_opened_where_the_configuration_asks_for_them(
    tiny_base: SedConfig, probed: Path, teacher: Teacher, run: RunFolder
) -> None:
    data = read_data_folder(probed / "data", 1.0)
    asks = tiny_base.with_overrides({"distil.weight": 1.0})
    without = opened(data, tiny_base, None, teacher.hearing)
    assert (without.embeddings, without.foreign(tiny_base)) == (None, ())
    heard = opened(data, asks, None, teacher.hearing)
    assert heard.embeddings is not None
    assert [one.name for one in heard.foreign(asks)] == ["tiny"]
    # Of labels it is behind the model all the same, and is named once.
    assert [one.name for one in opened(data, tiny_base, run.ensemble, None).foreign(tiny_base)] == ["tiny"]
    assert [one.name for one in opened(data, asks, run.ensemble, teacher.hearing).foreign(asks)] == ["tiny"]


def test_what_was_heard_is_looked_up_once_and_the_model_is_not_asked_again(
    tiny_base: SedConfig, probed: Path, teacher: Teacher, tmp_path: Path
) -> None:
    """Its file may even be gone; where the index is gone, too, it has to hear again."""
    data = read_data_folder(probed / "data", 1.0)
    asks = tiny_base.with_overrides({"distil.weight": 1.0})
    assert teacher.hearing is not None
    hearing = heard_once(teacher.hearing, data, asks.data)
    assert hearing.index is not None
    gone = hearing.description.model_copy(update={"file": str(tmp_path / "gone.onnx")})
    heard = opened(data, asks, None, replace(hearing, description=gone))
    before = opened(data, asks, None, teacher.hearing)
    path, *_ = data.recordings["path"]
    assert heard.embeddings is not None
    assert before.embeddings is not None
    np.testing.assert_array_equal(heard.embeddings.mean(path, 0.0, 1.0), before.embeddings.mean(path, 0.0, 1.0))  # type: ignore[arg-type]
    assert heard.foreign(asks) == before.foreign(asks)
    with pytest.raises(ConfigError, match=r"gone\.onnx is not there"):
        opened(data, asks, None, replace(hearing, description=gone, index=tmp_path / "gone.npz"))


def test_a_foreign_model_that_is_not_the_one_that_heard_is_refused(
    tiny_base: SedConfig, probed: Path, teacher: Teacher
) -> None:
    assert teacher.hearing is not None
    other = replace(teacher.hearing, sha256="0" * 64)
    with pytest.raises(ConfigError, match=r"tiny\.onnx: holds another model than .*run trainables\.probe again"):
        heard_once(other, read_data_folder(probed / "data", 1.0), tiny_base.data)


@pytest.mark.parametrize(
    ("stages", "has_labels", "reason"),
    [
        (STAGES, True, ""),
        (STAGES[:3], False, ""),
        (STAGES, False, "the probe has made none; leave it out"),
        (("pseudo",), True, "starts with pretrain_ce; put it first"),
    ],
)
def test_the_stages_of_a_search_with_a_probe(
    teacher: Teacher, stages: tuple[str, ...], has_labels: bool, reason: str
) -> None:
    taught = Teacher(None, teacher.labels if has_labels else None, 0, 0.5, hearing=teacher.hearing)
    if not reason:
        check_stages(stages, taught)
        return
    with pytest.raises(ConfigError, match=reason):
        check_stages(stages, taught)


def test_the_space_of_a_probe_needs_its_embeddings() -> None:
    space = load_space("teacher.yaml")
    assert space.search.stages == STAGES
    check_teacher_heard(space, has_embeddings=True)
    with pytest.raises(ConfigError, match=r"distil\.weight=3: needs the embeddings of a teacher"):
        check_teacher_heard(space, has_embeddings=False)


def test_a_probe_that_was_broken_off_is_refused(tmp_path: Path, run: RunFolder) -> None:
    broken = RunFolder(tmp_path / "broken")
    broken.write_search(run.read_search())
    with pytest.raises(DataError, match=r"the probe was broken off; run trainables\.probe again"):
        find_teacher(broken.path)


def test_a_training_hears_with_probes_alone(tmp_path: Path, run: RunFolder) -> None:
    search = RunFolder(tmp_path / "search")
    search.write_search({key: value for key, value in run.read_search().items() if key != "probe"})
    assert hearing_of(run.path).sha256
    with pytest.raises(ConfigError, match=r"search: is no run of python -m trainables\.probe"):
        hearing_of(search.path)


# --- the whole search


def searched(run: RunFolder, out: Path, run_search: Callable[..., str], *more: str | int) -> RunFolder:
    """The run folder of one trial that the probe taught."""
    words = ["--space", "teacher.yaml", "--teacher", run.path, "--out", out, "--name", "taught", *settings(BASE)]
    words += ["--set", "stages.pseudo.epochs=1"]
    run_search(*words, "--num-trials", 1, "--no-pseudo-labels", *more)
    taught = RunFolder(out / "taught")
    (row,) = taught.read_trials()
    assert row["status"] == "complete"
    assert taught.read_curves()[-1]["stage"] == "pseudo"  # whichever epoch was the best
    assert row["config.distil.weight"] > 0
    assert [str(one) for one in read_lineage(taught.trial(0)).foreign] == ["tiny (CC BY-NC 4.0)"]
    return taught


@pytest.mark.slow
def test_the_models_of_each_part_learn_from_the_labels_of_that_part(
    run: RunFolder, tmp_path: Path, run_search: Callable[..., str]
) -> None:
    taught = searched(run, tmp_path, run_search, "--finalists", 1)
    for part in range(4):
        of_part = read_lineage(taught.refit(0, True, part))
        assert [str(one) for one in of_part.foreign] == ["tiny (CC BY-NC 4.0)"]
        assert of_part.teachers == read_pseudo_labels(labels_of_part(run.ensemble, part)).teachers


@pytest.mark.slow
def test_a_search_in_ray_train_learns_from_a_probe_and_export_tells_its_licence(
    run: RunFolder, tmp_path: Path, run_search: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    taught = searched(run, tmp_path, run_search, "--finalists", 0, "--workers-per-trial", 1)
    export.main(["--model", str(taught.trial(0)), "--format", "onnx"])
    assert "licence: tiny (CC BY-NC 4.0) is behind these models" in capsys.readouterr().out


# --- one configuration


def test_a_training_with_a_teacher_that_it_makes_no_use_of_is_refused(run: RunFolder, outcome: Any) -> None:
    status, _, message = outcome(lambda: train.main(["--stage", "all", "--teacher", str(run.path)]))
    assert status == 2
    assert "--teacher: would change nothing, for distil.weight is 0" in message


def test_only_a_probe_has_embeddings_to_train_with(written_run: Path, run: RunFolder) -> None:
    assert hearing_of(run.path).sha256 == read_lineage(run.trial(0)).foreign[0].sha256
    with pytest.raises(ConfigError, match=r"--teacher .*run: is no run of python -m trainables\.probe"):
        hearing_of(written_run)


@pytest.mark.slow
def test_a_training_learns_from_what_a_probe_heard(run: RunFolder, probed: Path, tmp_path: Path) -> None:
    words = ["--data", probed / "data", "--teacher", run.path, "--out", tmp_path / "out", "--stage", "pretrain_ce"]
    used = {name: value for name, value in BASE.items() if name != "pseudo"}
    used["stages"] = {"pretrain_ce": BASE["stages"]["pretrain_ce"]}
    train.main([str(word) for word in [*words, *settings(used), "--set", "distil.weight=1"]])
    lineage = read_lineage(tmp_path / "out/pretrain_ce")
    assert [str(one) for one in lineage.foreign] == ["tiny (CC BY-NC 4.0)"]
