"""Places that users name, looked at before anything is written there."""

from __future__ import annotations

from pathlib import Path

import pytest

from sed_model.core.errors import ConfigError
from sed_model.core.paths import check_folder


def test_a_folder_that_is_yet_to_be_made_is_fine_and_nothing_is_left_there(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b", "--out")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_only_seems_writable_is_refused() -> None:
    """The superuser may write to /proc, and cannot."""
    with pytest.raises(ConfigError, match="--out /proc/x: /proc cannot be written to; give another folder"):
        check_folder(Path("/proc/x"), "--out")
