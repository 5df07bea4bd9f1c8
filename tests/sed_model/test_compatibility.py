"""Fault 2: every backbone, toggle, loss and stage builds, trains a step and runs."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sed_model.clips.dataset import EpochLoaders
from sed_model.clips.training_data import TrainingData
from sed_model.clips.validation_windows import ValidationWindows
from sed_model.config.sed_config import Model, SedConfig
from sed_model.config.stages import plan_stages
from sed_model.model.backbones import Backbone
from sed_model.model.devices import Runtime
from sed_model.model.network import SedModel
from sed_model.predict.window_scores import predict_dataset
from sed_model.train.stage_training import StageTraining

TOGGLES: dict[str, Sequence[Any]] = {
    "model.multi_resolution": (False, True),
    "model.multi_head_attention": (False, True),
    "model.skip_connection": (False, True),
    "model.pool_type": ("avg", "max", "gem"),
    "model.extra_norm": (False, True),
}
BACKBONES = (
    "efficientnet_b0", "tf_efficientnet_b3", "tf_efficientnetv2_s.in21k", "tf_efficientnetv2_b3", "eca_nfnet_l0",
    "seresnext26t_32x4d", "regnety_008",
)  # fmt: skip
LOSSES = ("ce", "bce", "focal_bce", "asymmetric", "soft_auc")
STAGES = ("pretrain_ce", "train_bce", "finetune", "pseudo")
ONE_STEP = {"optim.batch_size": 4, "optim.min_steps_per_epoch": 1, "data.window_s": 1.0}
"""Four recordings, one batch."""
Case = dict[str, Any]


def pairwise(factors: Mapping[str, Sequence[Any]]) -> list[Case]:
    """Cases in which every pair of values of two factors comes up; greedy, after AETG (Cohen et al. 1997)."""
    names = list(factors)
    open_pairs = {
        frozenset([(a, x), (b, y)])
        for a, b in itertools.combinations(names, 2)
        for x, y in itertools.product(factors[a], factors[b])
    }
    cases = []
    while open_pairs:
        seed = min(open_pairs, key=lambda pair: sorted(map(repr, pair)))
        case: Case = dict(seed)
        for name in names:
            if name not in case:
                gains = [
                    sum(frozenset([(name, value), other]) in open_pairs for other in case.items())
                    for value in factors[name]
                ]
                case[name] = factors[name][gains.index(max(gains))]
        open_pairs -= {frozenset(pair) for pair in itertools.combinations(case.items(), 2)}
        cases.append(case)
    return cases


@pytest.fixture(scope="module", autouse=True)
def backbones_built_once() -> Iterator[None]:
    """A third of the time went into building the same backbone with the same settings again and again."""
    built: dict[tuple[str, int], Backbone] = {}

    def copy_of(settings: Model, in_channels: int, image: tuple[int, int]) -> Backbone:
        alike = settings.model_copy(update={name.removeprefix("model."): values[0] for name, values in TOGGLES.items()})
        key = (alike.model_dump_json(), in_channels)
        if key not in built:
            built[key] = Backbone(settings, in_channels, image)
        return copy.deepcopy(built[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sed_model.model.network.Backbone", copy_of)
        yield


@pytest.fixture(scope="module")
def four_recordings(tiny_data: TrainingData) -> TrainingData:
    return replace(tiny_data, split=replace(tiny_data.split, train=np.array([0, 4, 5, 8])))


def train_one_step(config: SedConfig, stage: str, data: TrainingData) -> None:
    """Build, train a step, predict; the first and the last layer have to learn."""
    torch.manual_seed(0)
    runtime = Runtime(torch.device("cpu"), None)
    model = SedModel(config, len(data.folder.classes))
    runtime.place(model)
    training = StageTraining(model, plan_stages(config, [stage])[0], config, EpochLoaders(data, config, stage), runtime)
    before = {name: value.clone() for name, value in model.named_parameters()}
    stats = training.train_epoch(1)
    assert np.isfinite(stats.loss)
    assert training.step == 1
    moved = [name for name, value in model.named_parameters() if not torch.equal(value, before[name])]
    assert next(iter(before)) in moved  # the stem
    assert {"head.attend.weight", "head.classify.weight"} <= set(moved)
    windows = ValidationWindows(data, config, [0, 1])
    scores = predict_dataset(model, windows, config, runtime, "bce")
    assert scores.clip_logits.shape == scores.best.shape == (2, 3)
    assert np.isfinite(scores.clip_logits).all()


def test_pairwise_cases_hold_every_pair() -> None:
    factors = {"a": (1, 2, 3), "b": ("x", "y"), "c": (True, False), "d": (7, 8, 9)}
    cases = pairwise(factors)
    for a, b in itertools.combinations(factors, 2):
        assert {(case[a], case[b]) for case in cases} == set(itertools.product(factors[a], factors[b]))
    assert len(cases) < 3 * 2 * 2 * 3 / 2


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["seresnext26t_32x4d", "efficientnet_b0", "tf_efficientnet_lite0"])
def test_every_toggle_combination_trains_one_step(
    backbone: str, four_recordings: TrainingData, tiny_config: SedConfig
) -> None:
    for values in itertools.product(*TOGGLES.values()):
        case = dict(zip(TOGGLES, values, strict=True)) | {"model.backbone": backbone}
        train_one_step(tiny_config.with_overrides(ONE_STEP | case), "train_bce", four_recordings)


MATRIX = pairwise(
    {"model.backbone": BACKBONES, "loss": LOSSES, "stage": STAGES, "optim.optimizer": ("adamw", "radam", "sgd")}
    | TOGGLES
)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
def test_backbones_toggles_losses_and_stages_go_together(
    backbone: str, four_recordings: TrainingData, tiny_config: SedConfig
) -> None:
    cases = [case for case in MATRIX if case["model.backbone"] == backbone]
    assert len(cases) >= len(LOSSES)
    for case in cases:
        keys = {name: value for name, value in case.items() if "." in name}
        stage, loss = case["stage"], case["loss"]
        keys |= {f"stages.{stage}.loss": loss, f"stages.{stage}.secondary_weight": None if loss == "ce" else 0.9}
        train_one_step(tiny_config.with_overrides(ONE_STEP | keys), stage, four_recordings)
