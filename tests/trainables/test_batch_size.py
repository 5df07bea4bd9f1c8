"""The batch that a search records is the batch that its trials train with."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sed_model.clips.dataset import EpochLoaders
from sed_model.core.errors import ConfigError
from tests.trainables.searching.test_dry_run import prepare_with
from trainables.trials.trial import training_data

NULL = ("--set", "optim.batch_size=null", "--set", "optim.min_steps_per_epoch=4")


def drawing(space: Path, folder: Path, values: list[int | None]) -> Path:
    """The tiny space, with batch sizes to draw from."""
    tree = yaml.safe_load(space.read_text(encoding="utf-8"))
    tree["base"] = str(space.with_name("base.yaml"))
    tree["space"]["optim.batch_size"] = {"choice": values}
    path = folder / "drawing.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def test_an_open_batch_size_is_settled_and_told_before_trials_start(
    tiny_space: Path, tiny_root: Path, tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twelve recordings in at least four steps: three clips per step."""
    prepared = prepare_with(tiny_space, tiny_root, tmp_path, *NULL)
    config = prepared.job.config({})

    assert "batch: 3 clips per step: 4 steps per epoch of 12 recordings\n" in capsys.readouterr().out
    assert config.optim.batch_size == prepared.record["base"]["optim"]["batch_size"] == 3
    assert EpochLoaders(training_data(tiny_root, config), config, "pretrain_ce").steps_per_epoch == 4


def test_a_drawn_batch_size_is_the_one_that_trains(
    tiny_space: Path, tiny_root: Path, tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = prepare_with(drawing(tiny_space, tmp_path, [3, 4, 12]), tiny_root, tmp_path, *NULL[2:])

    assert "batch: 3, 4, 12 clips per step: 4, 3, 1 steps per epoch of 12 recordings\n" in capsys.readouterr().out
    for size, n_steps in ((3, 4), (4, 3), (12, 1)):
        config = prepared.job.config({"optim.batch_size": size})
        assert config.flat()["optim.batch_size"] == size
        assert EpochLoaders(training_data(tiny_root, config), config, "pretrain_ce").steps_per_epoch == n_steps


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([4, 13], r"optim\.batch_size=13 is more than the 12 training recordings; lower it"),
        ([None, 4], r"space\.optim\.batch_size: null stands for a number that depends on the data; list numbers"),
    ],
)
def test_a_batch_that_no_trial_could_have_is_refused_before_trials_start(
    tiny_space: Path, tiny_root: Path, tmp_path: Path, cache_dir: Path, values: list[int | None], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        prepare_with(drawing(tiny_space, tmp_path, values), tiny_root, tmp_path)
