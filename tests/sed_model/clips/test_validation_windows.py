"""Validation windows as images, made once for all epochs."""

from __future__ import annotations

import pytest
import torch

from sed_model.clips.training_data import TrainingData
from sed_model.clips.validation_windows import ValidationWindows, WindowImages
from sed_model.config.sed_config import SedConfig
from sed_model.model.devices import Runtime
from sed_model.model.network import SedModel
from sed_model.predict.window_scores import predict_dataset

CPU = Runtime(torch.device("cpu"), None)


class CountedImages(torch.nn.Module):
    def __init__(self, images: torch.nn.Module) -> None:
        super().__init__()
        self.images, self.made = images, 0

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        self.made += len(waveforms)
        made: torch.Tensor = self.images(waveforms)
        return made


@pytest.mark.parametrize("multi_resolution", [False, True])
def test_scores_are_those_of_the_waveforms(
    tiny_config: SedConfig, tiny_data: TrainingData, multi_resolution: bool
) -> None:
    config = tiny_config.with_overrides({"model.multi_resolution": multi_resolution})
    model, windows = SedModel(config, 3), ValidationWindows(tiny_data, config)

    expected = predict_dataset(model, windows, config, CPU, "bce")
    images = WindowImages(windows, model.images)

    for _ in range(2):  # made, then kept
        scores = predict_dataset(model, images, config, CPU, "bce")
        assert (scores.clip_logits == expected.clip_logits).all()
        assert (scores.best == expected.best).all()


def test_each_image_is_made_once(tiny_config: SedConfig, tiny_data: TrainingData) -> None:
    model, windows = SedModel(tiny_config, 3), ValidationWindows(tiny_data, tiny_config)
    counted = CountedImages(model.images)
    images = WindowImages(windows, counted)

    for _ in range(3):
        predict_dataset(model, images, tiny_config, CPU, "bce")

    assert counted.made == len(windows) == 12


def test_no_more_is_kept_than_is_allowed(tiny_config: SedConfig, tiny_data: TrainingData) -> None:
    model, windows = SedModel(tiny_config, 3), ValidationWindows(tiny_data, tiny_config)
    counted = CountedImages(model.images)
    one_bytes = WindowImages(windows, model.images)[0].inputs.nbytes
    images = WindowImages(windows, counted, kept_bytes=5 * one_bytes + 1)

    for _ in range(2):
        predict_dataset(model, images, tiny_config, CPU, "bce")

    assert counted.made == 12 + 7
