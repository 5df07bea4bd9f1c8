"""What names of soundscapes tell, by names as recorders and competitions write them."""

from __future__ import annotations

from datetime import datetime

import pytest

from sed_model.core.soundscape_names import recorded_at, site_or_folder


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
