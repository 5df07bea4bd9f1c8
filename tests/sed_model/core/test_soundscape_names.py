"""What names of soundscapes tell."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.core.soundscape_names import keys_of, recorded_at, site_or_folder

FOLDERS = re.compile(r"^(?P<site>[^/]+)/(?P<date>\d{8})/(?P<time>\d{4})")


@pytest.mark.parametrize(
    ("stem", "keys"),
    [
        ("BC2026_Train_0001_S08_20250606_030007", {"site": "S08", "month": "06", "hour": "03"}),
        ("H02_20230420_235959", {"site": "H02", "month": "04", "hour": "23"}),
        ("2025/SITE/H02_20230420_074000", {"site": "H02", "month": "04", "hour": "07"}),
        ("H02_20231320_240000", {"site": "H02"}),  # no such month, no such hour
        ("S0", {}),
        ("", {}),
    ],
)
def test_site_month_and_hour_are_read_from_a_name(stem: str, keys: dict[str, str]) -> None:
    assert keys_of(stem) == keys


def test_another_pattern_tells_what_it_has_groups_for() -> None:
    assert keys_of("marsh 3/20250801/0615 x", FOLDERS) == {"site": "marsh 3", "month": "08", "hour": "06"}
    assert keys_of("marsh 3/20250801/0615", re.compile(r"/(?P<time>\d{4})$")) == {"hour": "06"}
    assert keys_of("ab", re.compile(r"(?P<site>a)(?P<time>x)?")) == {"site": "a"}


@given(st.text(max_size=40))
def test_any_name_tells_something_or_nothing(stem: str) -> None:
    assert set(keys_of(stem)) <= {"site", "month", "hour"}


@pytest.mark.parametrize(
    ("path", "time"),
    [
        ("H02_20230420_074000.ogg", datetime(2023, 4, 20, 7, 40)),
        ("north/20250501_235959.WAV", datetime(2025, 5, 1, 23, 59, 59)),
        ("BC2026_Train_0001_S01_20250430_120000.ogg", datetime(2025, 4, 30, 12)),
        ("H02_20230431_074000.ogg", None),  # no 31 April
        ("soundscape_12.ogg", None),
        ("20230420_0740001.ogg", None),
    ],
)
def test_the_time_is_that_at_the_end_of_the_name(path: str, time: datetime | None) -> None:
    assert recorded_at(path) == time


def test_a_folder_is_the_site_where_the_name_has_none() -> None:
    names = ("north/20250501_235959.wav", "north/H02_20230420_074000.ogg", "20250501_235959.wav", "a/b/c.wav")
    assert [site_or_folder(name) for name in names] == ["north", "H02", "", "a"]
