"""Groups of classes have settings of their own where the labels prove that these gain."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sed_model.core.errors import ConfigError
from sed_model.predict.class_tuning import tune_groups, with_group
from sed_model.predict.post_tuning import LabelledWindows
from sed_model.predict.postprocess import (
    ClassGroup,
    PostSettings,
    ScoreParts,
    blend,
    check_classes,
    postprocess_files,
    read_post,
)

CLASSES = ("cricket", "cicada", "wren", "robin")
GROUPS = {"Aves": ("wren", "robin"), "Insecta": ("cricket", "cicada")}
OWN = ClassGroup(name="Insecta", classes=("cricket", "cicada"), smoothing_centre=0.6, frame_weight=1.0)
N_FILES, N_WINDOWS = 16, 24


def insects_and_birds(rng: np.random.Generator) -> tuple[np.ndarray, LabelledWindows]:
    """Insects sing for half a soundscape, so that neighbours tell; birds call in lone windows, which these drown."""
    files = []
    for _ in range(N_FILES):
        truth = np.zeros((N_WINDOWS, 4), np.float32)
        for insect in (0, 1):
            first = rng.integers(0, N_WINDOWS // 2)
            truth[first : first + N_WINDOWS // 2, insect] = 1
        for bird in (2, 3):
            truth[rng.choice(N_WINDOWS // 3, 3, replace=False) * 3, bird] = 1
        files.append(truth)
    targets = np.concatenate(files)
    noise = rng.normal(0, [0.25, 0.25, 0.12, 0.12], targets.shape)
    scores = np.clip(0.4 + 0.2 * targets + noise, 0, 1).astype(np.float32)
    return scores, LabelledWindows((N_WINDOWS,) * N_FILES, targets, np.ones(len(targets), bool))


def test_insects_get_the_neighbours_that_help_them_and_birds_none() -> None:
    scores, windows = insects_and_birds(np.random.default_rng(0))
    settings, found = tune_groups(lambda one: scores, windows, PostSettings(), GROUPS, CLASSES)
    assert [group.name for group in settings.groups] == ["Insecta"]
    assert settings.groups[0].smoothing_centre == 0.6
    assert settings.groups[0].classes == GROUPS["Insecta"]
    assert found["Insecta"].gain > 1.645 * found["Insecta"].error > 0
    assert found["Aves"].why_plain
    assert found["Insecta"].n_tried == 9


def test_a_group_is_tuned_by_its_own_classes_alone() -> None:
    """Whatever the others' labels are: they are no part of its score."""
    scores, windows = insects_and_birds(np.random.default_rng(0))
    _, found = tune_groups(lambda one: scores, windows, PostSettings(), GROUPS, CLASSES)
    turned = windows.targets.copy()
    turned[:, 2:] = 1 - turned[:, 2:]
    other = LabelledWindows(windows.n_windows, turned, windows.labelled)
    _, again = tune_groups(lambda one: scores, other, PostSettings(), {"Insecta": GROUPS["Insecta"]}, CLASSES)
    assert again["Insecta"] == found["Insecta"]


def test_noise_proves_nothing() -> None:
    rng = np.random.default_rng(3)
    scores, windows = insects_and_birds(rng)
    noise = rng.random(scores.shape).astype(np.float32)
    settings, found = tune_groups(lambda one: noise, windows, PostSettings(), GROUPS, CLASSES)
    assert settings == PostSettings()
    assert all(one.why_plain for one in found.values())


def test_groups_of_all_classes_and_those_without_labels_are_not_tried() -> None:
    scores, windows = insects_and_birds(np.random.default_rng(0))
    silent = LabelledWindows(windows.n_windows, windows.targets * np.float32([0, 0, 1, 1]), windows.labelled)
    groups = {"all": CLASSES, "Insecta": GROUPS["Insecta"]}
    assert tune_groups(lambda one: scores, silent, PostSettings(), groups, CLASSES) == (PostSettings(), {})


def test_what_is_everybody_s_is_no_group_s() -> None:
    base = PostSettings(smoothing_centre=0.6, frame_weight=1.0)
    tried = list(with_group(base, "Insecta", ("cricket",)))
    assert tried[0] == base
    assert {one.groups[0].smoothing_centre for one in tried[1:]} == {None, 1.0, 0.8}
    assert {one.groups[0].frame_weight for one in tried[1:]} == {None, 0.0}
    assert len(tried) == 6


def test_a_group_s_classes_are_scored_as_if_its_settings_were_everybody_s() -> None:
    rng = np.random.default_rng(0)
    clip, best = rng.random((2, 2, 12, 4), np.float32)
    parts = ScoreParts(clip, clip, best, np.zeros((2, 12), bool), np.array([0.5, 0.25]))
    own, all_alike = PostSettings(groups=(OWN,)), PostSettings(smoothing_centre=0.6, frame_weight=1.0)

    def final(settings: PostSettings) -> np.ndarray:
        return postprocess_files(blend(parts, settings, CLASSES).mean(axis=0), [7, 5], settings, CLASSES)

    np.testing.assert_allclose(final(own)[:, :2], final(all_alike)[:, :2], rtol=1e-5)
    np.testing.assert_allclose(final(own)[:, 2:], final(PostSettings())[:, 2:], rtol=1e-5)
    assert np.abs(final(own)[:, :2] - final(PostSettings())[:, :2]).max() > 0.1


def test_groups_come_back_from_their_file_and_have_to_fit_the_models(tmp_path: Path) -> None:
    (tmp_path / "post.json").write_text(PostSettings(groups=(OWN,)).model_dump_json())
    settings = read_post(tmp_path / "post.json")
    assert settings.groups == (OWN,)
    check_classes(settings, CLASSES)
    with pytest.raises(ConfigError, match="groups name cicada, cricket; tune it anew"):
        check_classes(settings, CLASSES[2:])
    tree = {"groups": [OWN.model_dump(mode="json") | {"top_n": 2}]}
    (tmp_path / "post.json").write_text(json.dumps(tree))
    with pytest.raises(ConfigError, match="top_n"):
        read_post(tmp_path / "post.json")
