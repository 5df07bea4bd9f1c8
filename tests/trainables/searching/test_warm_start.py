"""What a new search learns from an earlier one's run folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from sed_model.core.errors import DataError
from sed_model.run_folder.folder import RunFolder
from trainables.searching.warm_start import earlier_trials
from trainables.spaces.distributions import parse_distribution
from trainables.spaces.load import load_space
from trainables.spaces.search_space import Parameter, SearchSpace

FINGERPRINT = "the same data"


def trial(space: SearchSpace, number: int, values: dict[str, Any], **fields: Any) -> dict[str, Any]:
    config = {f"config.{key}": value for key, value in space.config(values).flat().items()}
    return {
        "trial_id": f"trial_000{number}", "number": number, "status": "complete", "macro_auc": 0.7,
        "cpu_ms_per_window": 20.0, **config, **fields,
    }  # fmt: skip


def curve(number: int, *scores: float) -> list[dict[str, Any]]:
    same = {"trial_id": f"trial_000{number}", "stage": "pretrain_ce", "train_loss": 1.0, "val_loss": 1.0, "lr": 1e-3}
    return [
        same | {"epoch": epoch, "stage_epoch": epoch, "macro_auc": score, "samples_per_s": 10.0}
        for epoch, score in enumerate(scores, start=1)
    ]


@pytest.fixture
def old(space: SearchSpace, tmp_path: Path) -> RunFolder:
    """A complete trial, a pruned one, a failed one, and one with a learning rate outside the space."""
    run = RunFolder(tmp_path / "old")
    data = {"folder": "data", "fingerprint": FINGERPRINT}
    run.write_search({"name": "old", "space_name": "tiny", "data": data, **space.as_dict()})
    rate = "stages.pretrain_ce.lr"
    run.write_tables(
        [
            trial(space, 0, {rate: 1e-3}),
            trial(space, 1, {"model.pool_type": "gem", "model.gem_p": 2.0, rate: 2e-3}, status="pruned", macro_auc=0.6),
            trial(space, 2, {rate: 3e-3}, status="failed", macro_auc=None),
            trial(space, 3, {rate: 0.5}),
        ],
        [*curve(0, 0.5, 0.7, 0.6), *curve(1, 0.6, 0.55)],
    )
    return run


def test_scored_trials_of_the_space_are_taken_over(space: SearchSpace, old: RunFolder) -> None:
    complete, pruned = earlier_trials(space, old.path, FINGERPRINT)

    assert complete.state is TrialState.COMPLETE
    assert complete.value == 0.7
    assert complete.params == {"model.pool_type": "avg", "stages.pretrain_ce.lr": 1e-3}
    assert pruned.state is TrialState.PRUNED
    assert pruned.params["model.gem_p"] == 2.0
    assert pruned.intermediate_values == {1: 0.6, 2: 0.6}  # the best so far, as trials report it


def test_two_objectives_take_both_values(space: SearchSpace, old: RunFolder) -> None:
    wanted = replace(space, search=space.search.model_copy(update={"cost": "cpu_ms_per_window"}))

    complete, _ = earlier_trials(wanted, old.path, FINGERPRINT)

    assert complete.values == [0.7, 20.0]


def test_trials_of_earlier_releases_lie_where_their_chances_are_today(space: SearchSpace, tmp_path: Path) -> None:
    mix = Parameter("augment.mix.prob", parse_distribution({"uniform": [0, 1]}))
    share = Parameter("augment.mix.cutmix_share", parse_distribution({"uniform": [0, 1]}))
    mixing = replace(space, parameters=(mix, share))
    row = trial(space, 0, {}, stage="pretrain_ce")
    del row["config.augment.mix.prob"], row["config.augment.mix.cutmix_share"]
    run = RunFolder(tmp_path / "earlier")
    data = {"folder": "data", "fingerprint": FINGERPRINT}
    run.write_search({"name": "earlier", "space_name": "tiny", "data": data, **mixing.as_dict()})
    chances = {"config.augment.mix.mixup_prob": 0.6, "config.augment.mix.cutmix_prob": 0.2}
    later = [row | {"stage": "train_bce"} for row in curve(0, 0.5, 0.55)[1:]]
    run.write_tables([row | chances], [*curve(0, 0.7), *later])
    (told,) = earlier_trials(mixing, run.path, FINGERPRINT)

    assert told.params == pytest.approx({"augment.mix.prob": 0.8, "augment.mix.cutmix_share": 0.25})
    assert told.value == 0.55  # the row's 0.7 is of the cross-entropy stage


def test_what_is_left_out_is_counted(space: SearchSpace, old: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    earlier_trials(space, old.path, FINGERPRINT)

    assert "2 of 3 scored trials of old lie in the space" in capsys.readouterr().out


def test_scores_of_other_data_are_refused(space: SearchSpace, old: RunFolder) -> None:
    with pytest.raises(DataError, match="was searched on other data"):
        earlier_trials(space, old.path, "other data")


def test_scores_of_another_metric_are_refused(space: SearchSpace, old: RunFolder) -> None:
    other = replace(space, search=space.search.model_copy(update={"metric": "cmap"}))

    with pytest.raises(DataError, match=r"search\.metric was macro_auc, is cmap; set these as they were"):
        earlier_trials(other, old.path, FINGERPRINT)


def test_scores_are_those_of_what_both_searches_go_by(space: SearchSpace, old: RunFolder) -> None:
    by_cmap = replace(space, search=space.search.model_copy(update={"metric": "cmap"}))
    old.write_search({**old.read_search(), **by_cmap.as_dict()})
    rows = [row | {"cmap": row["macro_auc"] and row["macro_auc"] / 2} for row in old.read_trials()]
    old.write_tables(rows, [row | {"cmap": row["macro_auc"] / 2} for row in old.read_curves()])
    complete, pruned = earlier_trials(by_cmap, old.path, FINGERPRINT)

    assert complete.value == 0.35
    assert pruned.intermediate_values == {1: 0.3, 2: 0.3}


def test_scores_of_other_epochs_are_refused(tiny_space: Path, old: RunFolder) -> None:
    longer = load_space(tiny_space, {"stages.train_bce.epochs": 9})

    with pytest.raises(DataError, match=r"stages\.train_bce\.epochs was 1, is 9"):
        earlier_trials(longer, old.path, FINGERPRINT)


def test_scores_of_windows_that_are_scored_otherwise_are_refused(
    space: SearchSpace, tiny_space: Path, old: RunFolder
) -> None:
    other = load_space(tiny_space, {"inference.frame_share": 0.25})
    drawn = Parameter("inference.frame_share", parse_distribution({"uniform": [0, 1]}), ())

    with pytest.raises(DataError, match=r"inference\.frame_share was 0\.5, is 0\.25"):
        earlier_trials(other, old.path, FINGERPRINT)
    complete, _ = earlier_trials(replace(space, parameters=(*space.parameters, drawn)), old.path, FINGERPRINT)
    assert complete.params["inference.frame_share"] == 0.5
