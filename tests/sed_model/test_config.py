"""Limits that tie keys of the configuration to each other."""

import pytest

from sed_model.config import SedConfig
from sed_model.errors import ConfigError

RATE_16_KHZ = {"front_end.sample_rate_hz": 16_000, "front_end.f_max_hz": 8_000.0}


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("band_pass_min_centre_hz", "band_pass_max_centre_hz"),
        ("band_pass_min_width", "band_pass_max_width"),
        ("high_pass_min_hz", "high_pass_max_hz"),
        ("low_pass_min_hz", "low_pass_max_hz"),
        ("room_min_rt60_s", "room_max_rt60_s"),
        ("room_min_direct_db", "room_max_direct_db"),
    ],
)
def test_a_range_that_is_upside_down_is_an_error(low: str, high: str) -> None:
    flat = SedConfig().flat()
    swapped = {f"augment.wave.{a}": flat[f"augment.wave.{b}"] for a, b in [(low, high), (high, low)]}
    with pytest.raises(ConfigError, match=f"{low}=.* is above {high}=.*; swap them"):
        SedConfig().with_overrides(swapped)


def test_filters_up_to_nyquist_are_fine() -> None:
    assert SedConfig().with_overrides(RATE_16_KHZ).augment.wave.low_pass_max_hz == 8_000


def test_every_filter_beyond_nyquist_is_named() -> None:
    with pytest.raises(ConfigError, match="above Nyquist 8000 Hz") as error:
        SedConfig().with_overrides(
            RATE_16_KHZ | {"augment.wave.low_pass_max_hz": 9_000.0, "augment.wave.high_pass_max_hz": 8_500.0}
        )
    assert "augment.wave.low_pass_max_hz=9000" in str(error.value)
    assert "augment.wave.high_pass_max_hz=8500" in str(error.value)
    assert "band_pass" not in str(error.value)


def test_a_filter_fixed_at_nyquist_is_an_error() -> None:
    edges = {"augment.wave.low_pass_min_hz": 16_000.0, "augment.wave.low_pass_max_hz": 16_000.0}
    with pytest.raises(ConfigError, match="low_pass_max_hz=16000"):
        SedConfig().with_overrides(edges)


@pytest.mark.parametrize("off", ["augment.wave.low_pass_prob", "augment.wave.prob"])
def test_a_filter_that_is_off_may_lie_anywhere(off: str) -> None:
    SedConfig().with_overrides({"augment.wave.low_pass_max_hz": 20_000.0, off: 0.0})
