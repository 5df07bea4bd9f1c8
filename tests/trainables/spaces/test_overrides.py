"""--set: a YAML scalar for a key of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sed_model.core.errors import ConfigError
from tests.trainables.space_texts import SMALL, write
from trainables.spaces.load import load_space
from trainables.spaces.overrides import parse_overrides


def test_overrides_are_yaml_scalars() -> None:
    items = ["model.pool_type=gem", "optim.batch_size=8", "model.weights=null", "data.window_s = 2.5", "a=x=y"]
    assert parse_overrides(items) == {
        "model.pool_type": "gem",
        "optim.batch_size": 8,
        "model.weights": None,
        "data.window_s": 2.5,
        "a": "x=y",
    }


def test_a_float_without_a_point_reaches_the_configuration(tmp_path: Path) -> None:
    assert (
        load_space(write(tmp_path, SMALL), parse_overrides(["stages.train_bce.lr=1e-4"])).base.stages.train_bce.lr
        == 1e-4
    )


@pytest.mark.parametrize("item", ["model.pool_type", "=gem", "model.pool_type=", "a=[1]", "a={b: 1}", "a=[", "", "a='"])
def test_a_malformed_override_is_named(item: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        parse_overrides([item])


def test_all_malformed_overrides_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_overrides(["alpha", "model.pool_type=gem", "beta=[1]", "model.pool_type=avg"])
    report = str(caught.value)
    assert all(part in report for part in ("'alpha'", "'beta=[1]'", "model.pool_type is set twice"))


@given(st.text(), st.text())
def test_any_item_is_parsed_or_refused_as_the_users_error(name: str, value: str) -> None:
    try:
        keys = list(parse_overrides([f"{name}={value}"]))
    except ConfigError:
        keys = []
    assert keys in ([], [f"{name}={value}".partition("=")[0].strip()])


@given(st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.none()))
def test_values_survive_the_command_line(value: Any) -> None:
    text = yaml.safe_dump(value).removesuffix("...\n").strip()
    assert parse_overrides([f"model.gem_p={text}"]) == {"model.gem_p": value}
