"""What a search delivers: finalists in parts, how sure their scores are, and the mean of all."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from sed_model.core.errors import CheckpointError, ConfigError
from sed_model.data.recordings import DataFolder, read_data_folder
from sed_model.model.checkpoint import load_model
from sed_model.predict.ensemble import load_ensemble
from sed_model.run_folder.delivered import DELIVERED_FILE, read_delivered
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.leaderboard import best_trials
from sed_model.run_folder.out_of_fold import of_mean, rounds_of, score
from sed_model.run_folder.predictions import read_predictions, write_predictions
from sed_model.run_folder.run_tables import trial_id
from tests.models import save_random_model
from tests.trainables.tiny import write_data
from tests.windows import Windows
from trainables import search
from trainables.labelling.candidates import EnsembleJob, find_candidates
from trainables.labelling.run_members import members_of
from trainables.searching.finalists import (
    N_PARTS,
    base_in_parts,
    deliver_mean,
    delivered_text,
    in_parts,
    plan_parts,
    what_can_be_proven,
)
from trainables.searching.setup import prepare
from trainables.spaces.load import load_space
from trainables.spaces.search_space import SearchSpace
from trainables.trials.trial import SearchJob

N_FILES = 16
WINDOWS_OF_A_FILE = 6


@pytest.fixture
def space(tiny_space: Path) -> SearchSpace:
    return load_space(tiny_space)


def row(space: SearchSpace, number: int, score: float, drawn_by: str = "optuna") -> dict[str, Any]:
    flat = {f"config.{key}": value for key, value in space.base.flat().items()}
    facts = {"trial_id": trial_id(number), "number": number, "status": "complete", "macro_auc": score}
    return {**facts, "stage": "train_bce", "epoch": 2, "epochs": 2, "fold": 0, "seed": 7, "drawn_by": drawn_by, **flat}


def write_part(run: RunFolder, space: SearchSpace, number: int, part: int, error: float) -> None:
    """A model, and its predictions of a quarter of the files: the truth with so much noise of its own."""
    files = [f"S{file:02d}.ogg" for file in range(N_FILES) if file % N_PARTS == part]
    rng = np.random.default_rng(part)
    targets = rng.integers(0, 2, (len(files) * WINDOWS_OF_A_FILE, 3)).astype(np.float32)
    noise = np.random.default_rng([part, number]).random(targets.shape)
    starts = np.tile(np.arange(WINDOWS_OF_A_FILE) * 5.0, len(files))
    windows = Windows(np.repeat(files, WINDOWS_OF_A_FILE).tolist(), starts, starts + 5, targets)
    folder = run.refit(number, True, part)
    save_random_model(folder, space.base, seed=10 * number + part)
    write_predictions(
        folder / "oof.parquet", windows, (1 - error) * targets + error * noise, ("1139490", "abethr1", "grekis")
    )


@pytest.fixture(scope="module")
def written(tiny_space: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default (0), a trial that is far better (1), one that is about as good (2) and one that is far worse (3)."""
    space = load_space(tiny_space)
    folder = RunFolder(tmp_path_factory.mktemp("finalists") / "run")
    rows = [row(space, 0, 0.7, "default"), row(space, 1, 0.9), row(space, 2, 0.8), row(space, 3, 0.75)]
    folder.write_tables(rows, [])
    refits = []
    for number, error in enumerate((0.75, 0.55, 0.75, 0.95)):
        for part in range(N_PARTS):
            write_part(folder, space, number, part, error)
            facts = {"trial_id": trial_id(number), "number": number, "fold": part, "in_parts": True, "macro_auc": 0.5}
            refits.append({**facts, "seed": 7, "epochs": 2, "duration_s": 1.0, "error": None})
    folder.write_refits(refits)
    return folder.path


@pytest.fixture
def run(written: Path, tmp_path: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(written, tmp_path / "run")))


def job(space: SearchSpace) -> SearchJob:
    return SearchJob(space, Path("data"), Path("run"), ("pretrain_ce", "train_bce"), 1.0, 1, 0, 0)


def test_the_best_and_the_default_are_trained_on_every_part_with_the_same_seeds(space: SearchSpace) -> None:
    rows = [row(space, 0, 0.7, "default"), *(row(space, number, 0.7 + number / 100) for number in range(1, 6))]
    plans = plan_parts(rows, job(space))

    assert [plan.number for plan in plans[::N_PARTS]] == [5, 4, 3, 0]
    assert [plan.fold for plan in plans[:N_PARTS]] == [0, 1, 2, 3]
    no_epoch_is_chosen = {"optim.average_epochs": 3, "optim.early_stopping_epochs": 0}
    parts = {"data.soundscape_folds": 4, "data.fold": 1}
    assert {name: plans[1].changes[name] for name in parts | no_epoch_is_chosen} == parts | no_epoch_is_chosen
    assert [plan.changes["seed"] for plan in plans] == [7, 8, 9, 10] * 4


def test_stages_that_labelled_soundscapes_train_are_longer_in_finalists(space: SearchSpace) -> None:
    """Two epochs with cross-entropy, which hears recordings alone, stay two; one of train_bce becomes three."""
    with_ce = replace(space, base=space.base.with_overrides({"stages.pretrain_ce.loss": "ce"}))
    (plan, *_) = plan_parts([row(with_ce, 0, 0.7, "default")], job(with_ce))
    epochs = {name: value for name, value in plan.changes.items() if name.startswith("stages.")}
    as_long = replace(with_ce, search=with_ce.search.model_copy(update={"finalist_epochs_scale": 1.0}))
    (same, *_) = plan_parts([row(as_long, 0, 0.7, "default")], job(as_long))

    assert epochs == {"stages.train_bce.epochs": 3}
    assert same.changes["stages.train_bce.epochs"] == 1


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """Eight labelled soundscapes: enough for parts."""
    return read_data_folder(write_data(tmp_path_factory.mktemp("labelled") / "data", 2 * N_PARTS), 1.0)


def with_search(space: SearchSpace, **settings: Any) -> SearchSpace:
    return replace(space, search=space.search.model_copy(update=settings))


def test_trials_in_parts_train_as_their_finalists_of_the_first_part(space: SearchSpace, labelled: DataFolder) -> None:
    changed = in_parts(space, labelled)
    (first, *_) = plan_parts([row(changed, 0, 0.7, "default")], job(changed))

    assert changed.base.data.soundscape_folds == N_PARTS
    assert changed.base.stages["train_bce"].epochs == 3 * space.base.stages["train_bce"].epochs
    assert changed.base.with_overrides(first.changes) == changed.base
    assert in_parts(changed, labelled) == changed  # as a student's base


def test_without_finalists_trials_stay_as_they_are(space: SearchSpace, labelled: DataFolder, tiny_root: Path) -> None:
    none, few = with_search(space, finalists=0), with_search(space, trials_in_parts=True)

    assert in_parts(none, labelled) == none
    assert in_parts(few, read_data_folder(tiny_root, 1.0)) == few  # two labelled soundscapes make no parts
    as_before = with_search(space, trials_in_parts=False)
    assert in_parts(as_before, labelled) == as_before


def test_the_part_that_scores_trials_is_the_fold(space: SearchSpace) -> None:
    of_fold = replace(space, base=space.base.with_overrides({"data.fold": 3}))
    of_recordings = replace(space, base=space.base.with_overrides({"data.n_folds": 6, "data.fold": 5}))

    assert base_in_parts(of_fold).data.fold == 3
    assert base_in_parts(of_recordings).data.fold == 1  # there are four parts


def test_what_only_trials_in_parts_have_a_use_for_may_be_set(
    tiny_space: Path, labelled: DataFolder, tiny_root: Path, tmp_path: Path, cache_dir: Path
) -> None:
    words = ["--space", str(tiny_space), "--out", str(tmp_path), "--name", "x", "--set", "data.soundscape_prob=0.25"]

    prepared = prepare(search.parse([*words, "--data", str(labelled.root)]))

    assert prepared.space.base.data.soundscape_prob == 0.25
    with pytest.raises(ConfigError, match=r"soundscape_prob=0\.25: would change nothing"):
        prepare(search.parse([*words, "--data", str(tiny_root)]))


@pytest.mark.parametrize("in_parts_at_first", [True, False])
def test_a_search_goes_on_as_it_was_begun(
    tiny_space: Path, labelled: DataFolder, tmp_path: Path, cache_dir: Path, in_parts_at_first: bool
) -> None:
    """Also one of an earlier release, which knew no parts of trials."""
    tree = yaml.safe_load(tiny_space.read_text(encoding="utf-8")) | {"base": str(tiny_space.with_name("base.yaml"))}
    tree["search"]["trials_in_parts"] = in_parts_at_first
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    words = ["--out", str(tmp_path), "--name", "x"]
    begun = prepare(search.parse(["--space", str(tmp_path / "space.yaml"), "--data", str(labelled.root), *words]))
    record = {**begun.record, "search": dict(begun.record["search"])}
    del record["search"]["trials_in_parts"]
    begun.run.write_search(record)
    again = prepare(search.parse(["--resume", *words]))

    assert again.space.base == begun.space.base
    assert again.space.base.data.soundscape_folds == (N_PARTS if in_parts_at_first else 0)


def test_students_are_as_long_as_finalists_as_they_are(space: SearchSpace) -> None:
    student = replace(job(space), stages=("pseudo",))
    (plan, *_) = plan_parts([row(space, 0, 0.7, "default")], student)
    assert not [name for name in plan.changes if name.startswith("stages.")]


@pytest.mark.parametrize(
    ("scores", "trained"),
    [
        ([0.9, 0.7, 0.8], [0, 0, 0]),  # none beats the default; no more trainings than of all three
        ([0.7, 0.6, 0.8, 0.5, 0.4, 0.3], [2, 0, 2, 0]),
        ([0.7, 0.9, 0.8, 0.6], [1, 2, 0, 1]),
        ([0.7, 0.7], [0, 0]),
        ([0.7], [0]),
    ],
)
def test_who_does_not_beat_the_default_leaves_its_place_to_further_seeds(
    space: SearchSpace, scores: list[float], trained: list[int]
) -> None:
    rows = [row(space, number, score, "optuna" if number else "default") for number, score in enumerate(scores)]
    assert [plan.number for plan in plan_parts(rows, job(space))[::N_PARTS]] == trained


def test_further_trainings_are_of_the_parts_again_with_other_seeds(space: SearchSpace) -> None:
    plans = plan_parts([row(space, 0, 0.9, "default"), row(space, 1, 0.7)], job(space))

    assert [plan.fold for plan in plans] == list(range(2 * N_PARTS))
    assert [plan.changes["data.fold"] for plan in plans] == [0, 1, 2, 3] * 2
    assert [plan.changes["seed"] for plan in plans] == list(range(7, 7 + 2 * N_PARTS))


def test_without_a_default_the_best_are_trained_once(space: SearchSpace) -> None:
    rows = [row(space, number, 0.7 + number / 100) for number in range(5)]
    assert [plan.number for plan in plan_parts(rows, job(space))[::N_PARTS]] == [4, 3, 2]


def test_what_is_proven_worse_than_the_default_is_no_part_of_the_mean(run: RunFolder) -> None:
    delivered = deliver_mean(run)
    assert delivered is not None
    by_id = {one.trial_id: one for one in delivered.finalists}

    assert delivered.finalists[0].trial_id == "trial_0001"
    assert [one.trial_id for one in delivered.finalists if not one.is_delivered] == ["trial_0003"]
    assert by_id["trial_0000"].lead is None
    assert by_id["trial_0001"].lead is not None
    assert by_id["trial_0001"].lead.p_better > 0.95
    assert 0 < by_id["trial_0001"].lead.shrunken < by_id["trial_0001"].lead.mean
    assert len(delivered.members) == 3 * N_PARTS
    assert read_delivered(run.path) == delivered


def test_what_is_rather_worse_than_the_default_is_left_out_though_it_is_not_proven(
    run: RunFolder, space: SearchSpace
) -> None:
    for part in range(N_PARTS):
        write_part(run, space, 2, part, 0.8)
    delivered = deliver_mean(run)
    assert delivered is not None
    (worse,) = [one for one in delivered.finalists if one.trial_id == "trial_0002"]

    assert worse.lead is not None
    assert 0.05 < worse.lead.p_better < 0.5
    assert not worse.is_delivered


@pytest.mark.parametrize(
    ("changes", "loss", "kept", "reason"),
    [
        ({}, "ce", ["trial_0002", "trial_0000"], "its best epoch is of train_bce, trained with cross-entropy"),
        ({"front_end.sample_rate_hz": 16_000}, "bce", ["trial_0001"], "sample_rate_hz=8000 differs from 16000"),
    ],
)
def test_finalists_whose_models_do_not_go_together_are_no_parts_of_one_mean(
    run: RunFolder, space: SearchSpace, changes: dict[str, Any], loss: str, kept: list[str], reason: str
) -> None:
    """The best, trial_0001, is of another kind: nothing could predict with the mean of all."""
    for part in range(N_PARTS):
        save_random_model(run.refit(1, True, part), space.base.with_overrides(changes), 10 + part, loss=loss)
    delivered = deliver_mean(run)
    assert delivered is not None

    assert [one.trial_id for one in delivered.finalists if one.is_delivered] == kept
    assert reason in next(one.misfit for one in delivered.finalists if one.trial_id not in kept)
    assert any("left out: its " in line for line in delivered_text(delivered))
    load_ensemble(members_of(run.path).folders)


def test_the_mean_of_equals_with_noise_of_their_own_is_better_than_each(run: RunFolder) -> None:
    run.write_refits([refit for refit in run.read_refits() if refit["number"] in (0, 2)])
    delivered = deliver_mean(run)
    assert delivered is not None
    assert delivered.macro_auc > max(one.macro_auc for one in delivered.finalists)


def test_a_search_by_another_metric_is_judged_by_it(run: RunFolder) -> None:
    """The same predictions, by cmAP: what is proven and what is delivered is told of it."""
    first = deliver_mean(run)
    trials = [trial | {"cmap": trial["macro_auc"] / 2} for trial in run.read_trials()]
    run.write_tables(trials, [])
    delivered = deliver_mean(run)
    assert first is not None
    assert delivered is not None

    parts = rounds_of(run.path, delivered.best.members, N_PARTS)[0]
    assert (first.metric, first.score) == ("macro_auc", first.macro_auc)
    assert (delivered.metric, delivered.title) == ("cmap", "cmAP")
    assert delivered.best.score == pytest.approx(score(parts, "cmap"))
    assert delivered.best.macro_auc == first.best.macro_auc == pytest.approx(score(parts))
    assert delivered.score != delivered.macro_auc
    default = next(one for one in delivered.finalists if one.is_default)
    assert delivered.best.lead is not None
    assert delivered.best.lead.mean == pytest.approx(delivered.best.score - default.score)
    means = {trial["trial_id"]: trial["refit_mean"] for trial in run.read_trials()}
    assert means == {one.trial_id: one.score for one in delivered.finalists}
    assert "(cmAP of what each has not heard)" in delivered_text(delivered)[0]


def test_a_finalist_beats_the_default_by_what_the_search_goes_by(space: SearchSpace) -> None:
    """Trial 1 beats it by macro AUC alone, trial 2 by cmAP alone."""
    rows = [row(space, 0, 0.7, "default"), row(space, 1, 0.9), row(space, 2, 0.6)]
    by_cmap = [one | {"cmap": ap} for one, ap in zip(rows, (0.4, 0.3, 0.5), strict=True)]
    assert [plan.number for plan in plan_parts(by_cmap, job(space))[: 2 * N_PARTS : N_PARTS]] == [2, 0]


def test_what_an_earlier_release_delivered_is_by_macro_auc(run: RunFolder) -> None:
    delivered = deliver_mean(run)
    tree = json.loads((run.path / DELIVERED_FILE).read_text())
    for part in (tree, *tree["finalists"]):
        del part["score"]
    del tree["metric"]
    (run.path / DELIVERED_FILE).write_text(json.dumps(tree))
    assert read_delivered(run.path) == delivered


def write_again(run: RunFolder, space: SearchSpace, number: int, error: float) -> None:
    """The finalist's parts once more, with other seeds: the same files, and noise of their own."""
    for part in range(N_PARTS):
        kept = run.refit(number, True, part).rename(run.path / f"kept_{part}")
        write_part(run, space, number, part, error)
        again = read_predictions(run.refit(number, True, part))
        noise = np.random.default_rng([part, number, 1]).random(again.targets.shape)
        windows = Windows(
            [name for name, *_ in again.windows], *np.array([one[1:] for one in again.windows]).T, again.targets
        )
        folder = run.refit(number, True, part).rename(run.refit(number, True, N_PARTS + part))
        write_predictions(folder / "oof.parquet", windows, (1 - error) * again.targets + error * noise, again.classes)
        kept.rename(run.refit(number, True, part))
    first = [refit for refit in run.read_refits() if refit["number"] == number]
    run.write_refits([*run.read_refits(), *({**refit, "fold": N_PARTS + refit["fold"]} for refit in first)])


def test_further_seeds_of_a_finalist_count_in_the_mean_and_not_in_its_score(run: RunFolder, space: SearchSpace) -> None:
    """Two models together are better than one, of whatever settings: finalists would not compare."""
    once = deliver_mean(run)
    write_again(run, space, 2, 0.75)
    twice = deliver_mean(run)
    assert once is not None
    assert twice is not None
    (before,), (after,) = ([one for one in told.finalists if one.trial_id == "trial_0002"] for told in (once, twice))

    assert [member.folder[-6:] for member in after.members] == [f"part_{number}" for number in range(2 * N_PARTS)]
    first, second = map(score, rounds_of(run.path, after.members, N_PARTS))
    assert (before.macro_auc, after.macro_auc) == pytest.approx((first, (first + second) / 2))
    assert first != second
    assert len(twice.members) == len(once.members) + N_PARTS
    assert score(of_mean(run.path, twice)) == pytest.approx(twice.macro_auc)


def test_a_training_that_failed_takes_its_round_along(run: RunFolder, space: SearchSpace) -> None:
    """Else the mean would have more models of one part than of another."""
    write_again(run, space, 2, 0.75)
    refits = run.read_refits()
    refits[-1] |= {"error": "out of memory"}
    run.write_refits(refits)
    delivered = deliver_mean(run)

    assert delivered is not None
    assert {len(one.members) for one in delivered.finalists} == {N_PARTS}


def test_the_leaderboard_ranks_finalists_by_their_out_of_fold_scores(run: RunFolder) -> None:
    deliver_mean(run)
    trials = {trial["number"]: trial for trial in run.read_trials()}

    assert trials[1]["refit_mean"] > trials[2]["refit_mean"] > trials[3]["refit_mean"]
    assert {trial["n_refits"] for trial in trials.values()} == {N_PARTS}
    assert run.leaderboard.read_text().splitlines()[1].startswith("1,trial_0001")


def test_the_half_trained_model_of_a_pruned_finalist_is_ranked_by_its_own_score(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its parts are the best of all; what is in its own folder saw one epoch and scored .60."""
    trials = run.read_trials()
    trials[1] |= {"status": "pruned", "macro_auc": 0.6, "epochs": 1}
    run.write_tables(trials, [])
    for trial in trials:
        save_random_model(run.trial(trial["number"]), load_model(run.refit(0, True, 0)).config, trial["number"])
    delivered = deliver_mean(run)
    assert delivered is not None
    assert delivered.best.trial_id == "trial_0001"

    ranked = best_trials(run.read_trials(), 4)
    assert [trial["number"] for trial in ranked][-1] == 1
    assert (ranked[-1]["refit_mean"], ranked[-1]["n_refits"]) == (None, None)
    assert members_of(run.path, 1).names == [ranked[0]["trial_id"]] != ["trial_0001"]
    first = find_candidates(EnsembleJob(run.path, Path("data"), run.ensemble, top_k=1)).candidates[0]
    assert first.trial_id == ranked[0]["trial_id"]
    assert run.leaderboard.read_text().splitlines()[1].startswith(f"1,{ranked[0]['trial_id']}")
    assert "trial_0001 is half trained, but for its parts: its own score ranks it" in capsys.readouterr().out


def test_a_finalist_with_a_part_that_failed_is_no_member(run: RunFolder) -> None:
    refits = run.read_refits()
    refits[N_PARTS + 2] |= {"error": "out of memory"}
    run.write_refits(refits)
    delivered = deliver_mean(run)

    assert delivered is not None
    assert "trial_0001" not in [one.trial_id for one in delivered.finalists]


def test_without_finalists_nothing_is_delivered(run: RunFolder) -> None:
    run.write_refits([])
    assert deliver_mean(run) is None
    assert not (run.path / DELIVERED_FILE).exists()


def test_the_delivered_models_predict_for_the_run(run: RunFolder) -> None:
    delivered = deliver_mean(run)
    assert delivered is not None
    mean, single = members_of(run.path), members_of(run.path, single=True)

    assert mean.names[:2] == ["trial_0001_part_0", "trial_0001_part_1"]
    assert len(mean.folders) == 12
    assert mean.joining.weights is None
    assert single.folders == (run.path / "trials" / "trial_0001" / "part_0",)


def test_a_member_that_was_trained_anew_since_is_refused(run: RunFolder, space: SearchSpace) -> None:
    deliver_mean(run)
    save_random_model(run.refit(2, True, 1), space.base, seed=99)
    with pytest.raises(CheckpointError, match=r"trial_0002/part_1: is not the model that delivered\.json names"):
        members_of(run.path)


def test_single_needs_finalists(run: RunFolder) -> None:
    with pytest.raises(CheckpointError, match="--single takes a model of a finalist, and there is none"):
        members_of(run.path, single=True)


@pytest.mark.parametrize(
    "change",
    [
        {"finalists": []},
        {"macro_auc": float("nan")},
        {"n_parts": 1},
        {"n_parts": 3},
        {"members": []},
        {"finalists": [{"trial_id": "trial_0001"}]},
    ],
)
def test_a_damaged_file_is_refused(run: RunFolder, change: dict[str, Any]) -> None:
    deliver_mean(run)
    tree = json.loads((run.path / DELIVERED_FILE).read_text())
    (run.path / DELIVERED_FILE).write_text(json.dumps(tree | change))
    with pytest.raises(CheckpointError, match=r"delivered\.json: is damaged"):
        members_of(run.path)


def test_a_file_that_delivers_no_finalist_is_refused(run: RunFolder) -> None:
    deliver_mean(run)
    text = (run.path / DELIVERED_FILE).read_text()
    (run.path / DELIVERED_FILE).write_text(text.replace('"is_delivered": true', '"is_delivered": false'))
    with pytest.raises(CheckpointError, match=r"delivered\.json: is damaged \(.*none of its finalists is delivered"):
        members_of(run.path, single=True)


@pytest.mark.parametrize("folder", ["../../elsewhere", "/etc", "trials/trial_0001/../../..", "trials/trial_0001"])
def test_no_member_lies_outside_the_trials(run: RunFolder, folder: str) -> None:
    deliver_mean(run)
    tree = json.loads((run.path / DELIVERED_FILE).read_text())
    tree["finalists"][0]["members"][0]["folder"] = folder
    (run.path / DELIVERED_FILE).write_text(json.dumps(tree))
    with pytest.raises(CheckpointError, match=r"delivered\.json: is damaged"):
        members_of(run.path)


def test_the_text_says_what_is_proven_and_what_is_delivered(run: RunFolder) -> None:
    delivered = deliver_mean(run)
    assert delivered is not None
    lines = delivered_text(delivered)

    assert "4 parts of the 16 labelled soundscapes" in lines[0]
    assert lines[1].startswith("  trial_0001  0.")
    assert "better with a chance of 100%" in lines[1]
    assert any(line.startswith("  trial_0003") and line.endswith("rather worse, left out") for line in lines)
    assert lines[-1] == "proven better than the default: trial_0001; the mean of 12 models is delivered"


@pytest.mark.parametrize(("n_files", "who"), [(1, "1 labelled soundscape can"), (8, "8 labelled soundscapes can")])
def test_what_can_be_proven_is_told_of_one_soundscape_too(n_files: int, who: str) -> None:
    assert what_can_be_proven(n_files).startswith(f"{who} prove leads from about")
