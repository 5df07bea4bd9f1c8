"""What is tried before trials start, so that no trial fails for it, and what one says that does all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from sed_model.core.errors import ConfigError
from trainables.searching.checks import check_backbones, check_teacher_heard, image_sizes
from trainables.spaces.load import load_space
from trainables.spaces.search_space import SearchSpace
from trainables.trials.trial import explained_model

MakeSpace = Callable[..., SearchSpace]
LACKS = "has no drop path: model.drop_path_rate is left out"


@pytest.fixture
def space_of(tiny_space: Path, tmp_path: Path) -> MakeSpace:
    def make(**parameters: list[object]) -> SearchSpace:
        tree = yaml.safe_load(tiny_space.read_text(encoding="utf-8"))
        tree["base"] = str(tiny_space.parent / "base.yaml")
        tree["space"] |= {name.replace("__", "."): {"choice": values} for name, values in parameters.items()}
        path = tmp_path / "space.yaml"
        path.write_text(yaml.safe_dump(tree), encoding="utf-8")
        return load_space(str(path), {})

    return make


def test_each_size_of_image_is_tried_once_with_the_most_channels(space_of: MakeSpace) -> None:
    space = space_of(
        front_end__n_mels=[32, 48],
        data__window_s=[1.5, 1.504, 2.0],
        model__multi_resolution=[False, True],
        model__drop_path_rate=[0.0, 0.3, 0.1],
    )
    sizes = image_sizes(space)
    # 8,000 Hz with a hop of 128: 94 frames in 1.5 s, 95 in 1.504 s, 126 in 2 s.
    assert [(size.front_end.n_mels, size.data.window_s) for size in sizes] == [
        (n_mels, window_s) for n_mels in (32, 48) for window_s in (1.5, 1.504, 2.0)
    ]
    assert {size.model.multi_resolution for size in sizes} == {True}
    assert {size.model.drop_path_rate for size in sizes} == {0.3}
    assert len(image_sizes(space_of(stages__pretrain_ce__lr=[1e-4, 1e-3]))) == 1


def test_every_backbone_of_a_space_is_tried_and_what_it_lacks_is_told_once(space_of: MakeSpace) -> None:
    names = ["test_efficientnet", "ghostnet_050", "lcnetv2_small"]
    notes = check_backbones(space_of(model__backbone=names, front_end__n_mels=[32, 48])).left_out
    assert notes == tuple(f"model.backbone={name} {LACKS}" for name in names[1:])


def test_all_backbones_that_cannot_work_are_named_at_once(space_of: MakeSpace) -> None:
    with pytest.raises(ConfigError) as refused:
        check_backbones(space_of(model__backbone=["dla46x_c", "test_efficientnet", "levit_128s", "efficientnetb0"]))
    lines = str(refused.value).splitlines()
    assert [line.split()[0].rstrip(":") for line in lines] == [
        "model.backbone=dla46x_c", "model.backbone=levit_128s", "model.backbone=efficientnetb0"
    ]  # fmt: skip
    assert "it can with 96 frames: set data.window_s=1.52" in lines[0]


def test_an_error_of_the_model_itself_is_certain_to_come_again(space_of: MakeSpace) -> None:
    """Tune tries a trial again that raises anything; a ConfigError is reported instead."""
    base = space_of().base
    certain = "dla46x_c cannot compute images of 1 channel x 32 mels x 94 frames"
    dla = base.with_overrides({"model.backbone": "dla46x_c"})
    with pytest.raises(ConfigError, match=certain), explained_model(dla):
        raise RuntimeError("The size of tensor a (24) must match")
    with pytest.raises(RuntimeError, match="no luck"), explained_model(base):
        raise RuntimeError("no luck")


def test_a_search_that_draws_a_teacher_s_weight_needs_its_embeddings(space_of: MakeSpace) -> None:
    space = space_of(distil__weight=[0.0, 0.5, 0.25])
    check_teacher_heard(space, has_embeddings=True)
    check_teacher_heard(space_of(distil__weight=[0.0]), has_embeddings=False)
    check_teacher_heard(space_of(), has_embeddings=False)
    with pytest.raises(ConfigError, match=r"distil\.weight=0\.5: needs the embeddings of a teacher.*distil\.weight=0"):
        check_teacher_heard(space, has_embeddings=False)
