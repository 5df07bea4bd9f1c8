"""A probe in the place of a model: the foreign model's windows of a clip, and what is linear in them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import CheckpointError, ConfigError
from sed_model.model.checkpoint import Lineage, LoadedModel, foreign_of, licence_lines, load_model, save_model
from sed_model.model.devices import prediction_runtime
from sed_model.model.probe_model import HeardBefore, ProbeModel, starts_in, windows_of
from sed_model.predict.window_scores import predict_soundscape
from sed_model.teacher.description import TeacherDescription, foreign_model
from tests.models import CLASSES, random_model
from tests.teachers import RATE_HZ, describe, tiny_teacher, windows_heard, write_onnx

WEIGHTS = {
    "weight": torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]),
    "bias": torch.tensor([0.0, 10, 100]),
    "columns": torch.tensor([1]),
}
"""Of the tiny teacher: a window's mean, its first sample, and twice its first sample, which logit 1 is."""


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> TeacherDescription:
    """It hears 3 s a second apart."""
    return tiny_teacher(tmp_path_factory.mktemp("teacher"), ".onnx", 3.0, hop_s=1.0, licence="CC BY-NC 4.0")


@pytest.fixture
def config(tiny_config: SedConfig) -> SedConfig:
    return tiny_config.with_overrides({"data.window_s": 5.0, "data.target_s": 5.0, "inference.frame_share": 0.5})


def probe(teacher: TeacherDescription, config: SedConfig, **weights: Tensor) -> ProbeModel:
    return ProbeModel(teacher, config, WEIGHTS | weights, teacher.digest())


def loaded(teacher: TeacherDescription, config: SedConfig, **weights: Tensor) -> LoadedModel:
    facts = {"foreign": (foreign_model(teacher),), "probe_of": teacher, "classes": CLASSES}
    lineage = random_model(config).lineage.model_copy(update=facts)
    return LoadedModel(probe(teacher, config, **weights), config, Lineage.model_validate(lineage.model_dump()))


def seconds(*values: float) -> np.ndarray:
    """A waveform that holds each value for a second."""
    return np.repeat(np.array(values, np.float32), RATE_HZ)


# --- windows


@pytest.mark.parametrize(
    ("duration_s", "hop_s", "starts"),
    [
        (5.0, 1.0, [0, 1, 2]),
        (5.0, 1.5, [0, 1.5, 2]),  # the last ends where the clip does
        (3.0, 1.0, [0]),
        (1.0, 1.0, [0]),
        (5.0, 3.0, [0, 2]),
        (5.025, 1.0, [0, 1, 2]),  # a rest below a hundredth of a window is not heard
        (5.05, 1.0, [0, 1, 2, 2.05]),
    ],
)
def test_windows_start_a_hop_apart(
    teacher: TeacherDescription, duration_s: float, hop_s: float, starts: list[float]
) -> None:
    description = teacher.model_copy(update={"hop_s": hop_s})
    found = starts_in(round(duration_s * 16_000), 16_000, description)
    assert (found / RATE_HZ).tolist() == starts


def test_windows_are_parts_of_the_clip(teacher: TeacherDescription) -> None:
    windows = windows_of(seconds(1, 2, 3, 4, 5), RATE_HZ, teacher)
    assert windows.shape == (3, 3 * RATE_HZ)
    assert windows[:, 0].tolist() == [1, 2, 3]
    assert windows[:, -1].tolist() == [3, 4, 5]


def test_a_clip_shorter_than_a_window_is_repeated(teacher: TeacherDescription) -> None:
    (window,) = windows_of(seconds(1, 2), RATE_HZ, teacher)
    assert np.array_equal(window, seconds(1, 2, 1))


def test_a_clip_at_another_rate_is_heard_at_the_teachers(teacher: TeacherDescription) -> None:
    windows = windows_of(np.full(5 * 16_000, 0.5, np.float32), 16_000, teacher)
    assert windows.shape == (3, 3 * RATE_HZ)
    assert windows[1].mean() == pytest.approx(0.5, abs=1e-3)


# --- scores


def test_a_clip_has_the_highest_of_its_windows_and_a_frame_of_those_that_hear_it(
    teacher: TeacherDescription, config: SedConfig
) -> None:
    """Windows of 3 s begin with -1, 4 and 2; the logit of the second class is that, and 10."""
    model = probe(teacher, config)
    images = model.images(torch.from_numpy(seconds(-1, 4, 2, -3, 3))[None])
    output = model(images)

    assert images.shape == (1, 1, 3, 4)
    # mean, first sample, last sample, and logit 1: twice the first sample
    expected = [[5 / 3, -1, 2, -2], [1, 4, -3, 8], [2 / 3, 2, 3, 4]]
    assert images[0, 0].numpy() == pytest.approx(np.array(expected), abs=1e-4)
    assert output.clip_logits[0].tolist() == pytest.approx([5 / 3, 14, 108], abs=1e-4)
    assert output.frame_logits.shape == (1, 5, 3)
    # Second 0 is heard by the first window alone, second 4 by the last; all others by the second as well.
    assert output.frame_logits[0, :, 1].tolist() == pytest.approx([9, 14, 14, 14, 12])


def test_a_frame_in_the_little_that_no_window_hears_has_the_last_ones_score(
    teacher: TeacherDescription, config: SedConfig
) -> None:
    """A clip of 60 s, whose only window ends after 59.45 s: so little is left, but the middle of a frame is in it."""
    long = teacher.model_copy(update={"window_s": 59.45, "hop_s": 59.45})
    minute = config.with_overrides({"data.window_s": 60.0, "front_end.hop_length": 512})
    output = probe(long, minute)(torch.ones(1, 1, 1, 4))
    assert output.frame_logits.shape == (1, 60, 3)
    assert output.frame_logits[0, 59].tolist() == output.clip_logits[0].tolist() == [1, 11, 101]


# --- saved and damaged


@pytest.fixture
def saved(teacher: TeacherDescription, config: SedConfig, tmp_path: Path) -> Path:
    made = loaded(teacher, config)
    save_model(tmp_path / "probe", made.model.state_dict(), config, made.lineage)
    return tmp_path / "probe"


def test_a_saved_probe_scores_as_before(teacher: TeacherDescription, config: SedConfig, saved: Path) -> None:
    clips = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 5 * RATE_HZ)).astype(np.float32))
    before, again = probe(teacher, config), load_model(saved).model
    assert isinstance(again, ProbeModel)
    assert torch.equal(again(again.images(clips)).clip_logits, before(before.images(clips)).clip_logits)


def resave(folder: Path, config: SedConfig, weights: dict[str, Tensor]) -> None:
    save_model(folder, weights, config, load_model(folder).lineage)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bias": None}, "bias is missing"),
        ({"columns": None}, "columns is missing"),
        ({"weight": torch.zeros(2, 4)}, r"weight \(2, 4\) and bias \(3,\) are not a probe's for 3 classes"),
        ({"weight": torch.zeros(3)}, "not a probe's for 3 classes"),
        ({"bias": torch.zeros(4)}, "not a probe's for 3 classes"),
        ({"columns": torch.tensor([0.5])}, "columns"),
        ({"columns": torch.tensor([-1])}, "columns"),
        ({"columns": torch.arange(4)}, r"columns \(4,\) are not those of logits among 4 features"),
        ({"more": torch.zeros(1)}, "more"),
        ({"weight": torch.full((3, 4), float("nan"))}, "NaN or Inf"),
    ],
    ids=str,
)
def test_a_damaged_probe_is_refused_with_the_repair(
    saved: Path, config: SedConfig, changes: dict[str, Tensor | None], reason: str
) -> None:
    weights = {name: value for name, value in (WEIGHTS | changes).items() if value is not None}
    resave(saved, config, weights)
    with pytest.raises(CheckpointError, match=reason) as told:
        load_model(saved)
    assert str(told.value).endswith("train again.")


@pytest.mark.parametrize("change", [{"weight": torch.zeros(3, 6)}, {"columns": torch.tensor([4])}])
def test_another_foreign_model_than_the_probes_own_is_refused_when_it_hears(
    saved: Path, config: SedConfig, change: dict[str, Tensor]
) -> None:
    resave(saved, config, WEIGHTS | change)
    model = load_model(saved).model
    with pytest.raises(CheckpointError, match=r"the probe was fitted to .*; restore that model"):
        model.images(torch.zeros(1, 5 * RATE_HZ))


def test_a_foreign_model_of_the_same_shape_but_other_weights_is_refused_when_it_hears(
    config: SedConfig, tmp_path: Path
) -> None:
    described = tiny_teacher(tmp_path, ".onnx", 3.0, hop_s=1.0)
    made = loaded(described, config)
    save_model(tmp_path / "probe", made.model.state_dict(), config, made.lineage)
    size = described.path.stat().st_size
    write_onnx(described.path, 3 * RATE_HZ, np.ones((3, 3 * RATE_HZ), np.float32))
    assert described.path.stat().st_size == size
    with pytest.raises(ConfigError, match=r"tiny\.onnx: holds another model than .*run trainables\.probe again"):
        load_model(tmp_path / "probe").model.images(torch.zeros(1, 5 * RATE_HZ))


def test_a_probe_whose_foreign_model_is_gone_loads_and_says_so_when_it_hears(
    saved: Path, tmp_path: Path, config: SedConfig
) -> None:
    shutil.copytree(saved, tmp_path / "copy")
    gone = load_model(saved).lineage.probe_of
    assert gone is not None
    text = (tmp_path / "copy/model.json").read_text().replace(str(gone.file), str(tmp_path / "gone.onnx"))
    (tmp_path / "copy/model.json").write_text(text)
    model = load_model(tmp_path / "copy").model
    with pytest.raises(ConfigError, match=r"gone\.onnx is not there"):
        model.images(torch.zeros(1, 5 * RATE_HZ))


# --- several members


@pytest.fixture
def n_heard(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many windows foreign models have heard."""
    counts = windows_heard(monkeypatch)
    return lambda: sum(counts)


def scores_of(members: list[LoadedModel], seed: int = 0) -> np.ndarray:
    waveform = np.random.default_rng(seed).normal(0, 0.1, 10 * RATE_HZ).astype(np.float32)
    return predict_soundscape(members, waveform, np.array([0.0, 5.0]), prediction_runtime(members[0].config.optim))


def test_probes_of_one_foreign_model_hear_a_window_once(
    teacher: TeacherDescription, config: SedConfig, n_heard: Callable[[], int]
) -> None:
    alone = scores_of([loaded(teacher, config)])
    n_alone = n_heard()
    assert n_alone >= 6  # three in each target
    together = scores_of([loaded(teacher, config), loaded(teacher, config, bias=torch.zeros(3))])
    assert n_heard() == 2 * n_alone
    assert np.array_equal(together[0], alone[0])


def test_what_was_heard_before_is_not_heard_again(
    teacher: TeacherDescription, config: SedConfig, n_heard: Callable[[], int]
) -> None:
    """Windows that start at 0 to 3 s are known: those of the clip at 1 s, but not the last one of that at 2 s."""
    model = probe(teacher, config)
    model.before = HeardBefore(np.arange(4.0), np.arange(16, dtype=np.float32).reshape(4, 4))
    clips = torch.from_numpy(np.stack([seconds(1, 2, 3, 4, 5)] * 2))

    images = model.images(clips, [1.0, 2.0])
    assert images[0, 0].tolist() == [[4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
    assert n_heard() == 3
    assert torch.equal(images[1], model.images(clips[1:])[0])
    model.images(clips, [None, 0.5])
    assert n_heard() == 3 + 3 + 6


def test_probes_with_other_logits_hear_for_themselves(
    teacher: TeacherDescription, config: SedConfig, n_heard: Callable[[], int]
) -> None:
    one, other = loaded(teacher, config), loaded(teacher, config, columns=torch.tensor([0]))
    expected = np.concatenate([scores_of([one]), scores_of([other])])
    n_alone = n_heard()
    assert np.array_equal(scores_of([one, other]), expected)
    assert n_heard() == 2 * n_alone


def test_a_probe_and_a_network_predict_together_in_whatever_order(
    teacher: TeacherDescription, config: SedConfig
) -> None:
    members = [random_model(config), loaded(teacher, config)]
    first, second = scores_of(members), scores_of(members[::-1])
    assert np.array_equal(first, second[::-1])
    assert np.array_equal(first[1], scores_of(members[1:])[0])
    assert not np.array_equal(first[0], first[1])


# --- what follows from the licence


def test_each_foreign_model_behind_some_models_is_told_once(teacher: TeacherDescription, config: SedConfig) -> None:
    lineages = [loaded(teacher, config).lineage] * 2 + [random_model(config).lineage]
    assert foreign_of(lineages) == (foreign_model(teacher),)
    (line,) = licence_lines(lineages)
    assert line.startswith("licence: tiny (CC BY-NC 4.0) is behind these models")
    assert licence_lines(lineages[2:]) == []


def test_a_foreign_model_is_known_by_its_file(teacher: TeacherDescription, tmp_path: Path) -> None:
    other = describe(write_onnx(tmp_path / "other.onnx", 3 * RATE_HZ, np.ones((3, 3 * RATE_HZ), np.float32)), 3.0)
    assert foreign_model(teacher).sha256 != foreign_model(other).sha256
