"""The portfolio: its file, and what a space takes of its points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sed_model.core.errors import ConfigError
from tests.trainables.space_texts import NESTED, SMALL, load
from trainables.spaces.check import SPACES_DIR
from trainables.spaces.load import load_space, with_settings
from trainables.spaces.portfolio import first_points, portfolio_line, portfolio_of, read_portfolio
from trainables.spaces.search_space import SearchSpace

SPACE_FILES = sorted(p.name for p in SPACES_DIR.glob("*.yaml") if "space:" in p.read_text(encoding="utf-8"))
NUMBERS = """
space:
  stages.train_bce.lr: {loguniform: [5.0e-5, 1.0e-2]}
  augment.spec.freq_masks: {randint: [1, 3]}
  data.sampler_power: {quniform: [0, 1, 0.25]}
"""
AT_BASE = {"stages.train_bce.lr": 1e-4, "augment.spec.freq_masks": 2, "data.sampler_power": 0.5}


def write(folder: Path, text: str) -> Path:
    path = folder / "portfolio.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# --- the file


def test_points_are_read_in_their_order_and_in_the_types_of_their_keys(tmp_path: Path) -> None:
    """YAML 1.1 takes 1e-3 for text, and 3 is no whole number where the key is none."""
    text = "points:\n  - {stages.train_bce.lr: 1e-3, model.gem_p: 3}\n  - model.pool_type: gem\n"

    points = read_portfolio(write(tmp_path, text))

    assert points == [{"stages.train_bce.lr": 0.001, "model.gem_p": 3.0}, {"model.pool_type": "gem"}]
    assert [type(value) for value in points[0].values()] == [float, float]


def test_a_portfolio_may_be_empty(tmp_path: Path) -> None:
    assert read_portfolio(write(tmp_path, "points: []\n")) == []


BAD = {
    "an unknown key": ("points: [{model.pool_typ: gem}]", r"points\[0\]: model\.pool_typ: .* mean model\.pool_type\?"),
    "a refused value": ("points: [{seed: 1}, {model.drop_rate: 2}]", r"points\[1\]: model\.drop_rate=2: .* 1"),
    "a list for a value": ("points: [{model.pool_type: [gem]}]", r"points\[0\]: model\.pool_type"),
    "an empty point": ("points: [{}]", r"points\[0\]: is {}; write dotted keys"),
    "text for a point": ("points: [gem]", r"points\[0\]: is 'gem'; write dotted keys"),
    "a number for a key": ("points: [{1: 2}]", r"points\[0\]: 1: unknown configuration key"),
    "no list": ("points: {model.pool_type: gem}", r"points: is {.*}; write a list of points"),
    "nothing": ("points:", r"points: is None; write a list of points"),
    "an unknown section": ("point: []", r"point: unknown section \(did you mean points\?\)"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_a_wrong_file_is_refused_with_the_repair(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        read_portfolio(write(tmp_path, text))
    assert "portfolio.yaml" in str(refused.value)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        read_portfolio(write(tmp_path, "more: 1\npoints: [{model.pool_typ: gem}, {model.gem_p: -1}]"))
    assert len(str(refused.value).splitlines()) == 4


# --- what a space takes


def points_in(space: SearchSpace, *portfolio: dict[str, Any], num_trials: int = 300) -> list[dict[str, Any]]:
    return first_points(with_settings(space, {"num_trials": num_trials}), portfolio)


def test_a_point_is_the_base_with_what_the_space_searches(tmp_path: Path) -> None:
    space = load(tmp_path, NUMBERS)
    point = {"stages.train_bce.lr": 1e-3, "model.pool_type": "gem"}

    assert points_in(space, point) == [AT_BASE | {"stages.train_bce.lr": 1e-3}]


@pytest.mark.parametrize(
    "outside",
    [{"stages.train_bce.lr": 2e-2}, {"augment.spec.freq_masks": 0}, {"data.sampler_power": 0.3}],
    ids=["beyond the end", "below the end", "between two steps"],
)
def test_a_value_outside_stays_at_the_base_s(tmp_path: Path, outside: dict[str, Any]) -> None:
    space, inside = load(tmp_path, NUMBERS + "  model.gem_p: {uniform: [1, 6]}\n"), {"model.gem_p": 2.0}

    assert points_in(space, inside | outside) == [AT_BASE | inside]
    assert points_in(space, outside) == []


def test_a_value_that_is_no_choice_stays_at_the_base_s(tmp_path: Path) -> None:
    assert points_in(load(tmp_path, SMALL), {"model.pool_type": "max"}) == []


def test_conditions_are_respected(tmp_path: Path) -> None:
    """gem_p is drawn with gem alone; the base's 3.0 stands where a point names none."""
    gem = {"model.pool_type": "gem"}
    found = points_in(load(tmp_path, SMALL), {"model.gem_p": 2.0}, gem, gem | {"model.gem_p": 5.0})

    assert found == [gem | {"model.gem_p": 3.0}, gem | {"model.gem_p": 5.0}]


def test_nested_conditions_are_respected(tmp_path: Path) -> None:
    """final_dropout is drawn with 4 or 8 heads, and those with attention."""
    point = {"model.multi_head_attention": True, "model.attention_heads": 2, "model.final_dropout": 0.3}
    found = points_in(load(tmp_path, NESTED), point, point | {"model.attention_heads": 8})

    assert found[0] == {"model.multi_head_attention": True, "model.attention_heads": 2}
    assert found[1] == point | {"model.attention_heads": 8}


def test_what_the_base_has_outside_the_space_is_left_to_the_draws(tmp_path: Path) -> None:
    space = load(tmp_path, SMALL + "  optim.ema_decay: {choice: [0, 0.5]}\n")

    assert points_in(space, {"model.pool_type": "gem"}) == [{"model.pool_type": "gem", "model.gem_p": 3.0}]
    assert points_in(space, {"optim.ema_decay": 0.5}) == [{"model.pool_type": "avg", "optim.ema_decay": 0.5}]


def test_points_that_come_to_the_default_or_to_one_before_are_left_out(tmp_path: Path) -> None:
    gem = {"model.pool_type": "gem"}
    found = points_in(load(tmp_path, SMALL), {"seed": 3}, {"model.pool_type": "avg"}, gem, gem | {"seed": 3})

    assert found == [gem | {"model.gem_p": 3.0}]


@pytest.mark.parametrize(("num_trials", "n_points"), [(1, 0), (2, 0), (3, 1), (8, 2), (9, 3), (300, 4)])
def test_a_third_of_the_trials_at_most(tmp_path: Path, num_trials: int, n_points: int) -> None:
    portfolio = [{"model.pool_type": "gem", "model.gem_p": 1.0 + place} for place in range(4)]

    found = points_in(load(tmp_path, SMALL), *portfolio, num_trials=num_trials)

    assert found == portfolio[:n_points]


def test_a_space_may_go_without(tmp_path: Path) -> None:
    space = load(tmp_path, "search: {portfolio: none}\n" + SMALL)

    assert points_in(space, {"model.pool_type": "gem"}) == []
    assert portfolio_of(space) == []


def test_a_space_names_the_file_of_its_portfolio(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("points: [{model.pool_type: gem}]")
    search = f"search: {{num_trials: 3, portfolio: {tmp_path}/mine.yaml}}\n"

    assert portfolio_of(load(tmp_path, search + SMALL)) == [{"model.pool_type": "gem", "model.gem_p": 3.0}]
    with pytest.raises(ConfigError, match=r"other\.yaml: no such file"):
        portfolio_of(load(tmp_path, search.replace("mine", "other") + SMALL))


def test_students_have_none() -> None:
    """Their space holds the chance of mixing, too, but a student goes on from its teacher's weights."""
    space = load_space("pseudo.yaml")

    assert "augment.mix.prob" in {parameter.key for parameter in space.parameters}
    assert points_in(space, {"augment.mix.prob": 0.1}) == []


@pytest.mark.parametrize("name", SPACE_FILES)
def test_spaces_of_the_repository_take_points_of_its_portfolio_that_the_configuration_takes(name: str) -> None:
    space = load_space(name)
    distributions = {parameter.key: parameter.distribution for parameter in space.parameters}
    portfolio = read_portfolio()

    assert portfolio
    for point in points_in(space, *portfolio):
        assert space.config(point) != space.base
        assert all(distributions[key].contains(value) for key, value in point.items())


def test_the_largest_space_takes_a_point(tmp_path: Path) -> None:
    assert points_in(load_space("full.yaml"), *read_portfolio())


def test_people_are_told_which_trials_are_of_the_portfolio() -> None:
    assert portfolio_line(1).startswith("portfolio: trial 1 tries settings that did well on other data (")
    assert portfolio_line(3).startswith("portfolio: trials 1 to 3 try settings that did well on other data (")
