"""Limits of containers, read from files written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainables.machine.cgroups import memory_limit_bytes, quota_cores


def write(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root / "fs", root / "own"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"own": "0::/\n", "fs/cpu.max": "150000 100000\n"}, 1.5),
        ({"own": "0::/\n", "fs/cpu.max": "max 100000\n"}, None),
        ({"own": "0::/a/b\n", "fs/a/cpu.max": "200000 100000", "fs/a/b/cpu.max": "400000 100000"}, 2),
        ({"own": "3:cpu,cpuacct:/c\n", "fs/cpu/c/cpu.cfs_quota_us": "500", "fs/cpu/c/cpu.cfs_period_us": "1000"}, 0.5),
        ({"own": "3:cpu:/\n", "fs/cpu/cpu.cfs_quota_us": "-1", "fs/cpu/cpu.cfs_period_us": "100000"}, None),
        ({"own": "0::/\n", "fs/cpu.max": "no limit at all"}, None),
        ({"own": "0::/\n", "fs/cpu.max": "100000 0"}, None),
        ({"own": "0::/../../elsewhere\n", "fs/cpu.max": "100000 100000"}, 1),
        ({}, None),
    ],
)  # fmt: skip
def test_the_least_quota_of_the_groups_counts(tmp_path: Path, files: dict[str, str], expected: float | None) -> None:
    assert quota_cores(*write(tmp_path, files)) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"own": "0::/\n", "fs/memory.max": "2147483648\n"}, 2**31),
        ({"own": "0::/\n", "fs/memory.max": "max\n"}, None),
        ({"own": "4:memory:/x\n", "fs/memory/memory.limit_in_bytes": "9"}, 9),
        ({"own": "4:memory:/\n", "fs/memory/memory.limit_in_bytes": "9223372036854771712"}, None),
    ],
)  # fmt: skip
def test_the_least_memory_of_the_groups_counts(tmp_path: Path, files: dict[str, str], expected: int | None) -> None:
    assert memory_limit_bytes(*write(tmp_path, files)) == expected
