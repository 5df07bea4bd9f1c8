import errno
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from safetensors import SafetensorError

from sed_model.core.errors import DiskFullError
from sed_model.core.files import remove_left_over, replacing, sha256_of, write_json
from sed_model.core.parquet import write_parquet


def test_the_new_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "table.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})
    assert path.read_text() == '{\n  "a": 2\n}\n'
    assert [entry.name for entry in path.parent.iterdir()] == ["table.json"]


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights"]


FULL = {
    "no space": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "no quota": OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
    "safetensors": SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
}


@pytest.mark.parametrize("error", FULL.values(), ids=FULL)
def test_a_full_disk_is_named(tmp_path: Path, error: Exception) -> None:
    def write_half() -> None:
        with replacing(tmp_path / "weights") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(DiskFullError, match=r"weights: no space is left"):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    with replacing(tmp_path / "weights") as temporary:
        temporary.write_text("whole")
    for path in (temporary, tmp_path / ".hidden", tmp_path / "notes.tmp"):
        path.write_text("half")
    remove_left_over(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "notes.tmp", "weights"]


def test_nothing_is_seen_under_the_name_before_the_writer_is_done(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == path.parent  # a rename is atomic within a file system only
    assert path.read_text() == "new"


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_reading_a_table_starts_no_threads(tmp_path: Path) -> None:
    """A process that ends while Arrow's threads still start is aborted."""
    write_parquet(tmp_path / "table.parquet", pa.table({"a": [1, 2], "b": ["x", "y"]}))
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "import pyarrow as pa\n"
        "from sed_model.core.parquet import read_parquet\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "table = read_parquet(Path(sys.argv[1]), pa.schema([('a', pa.int64()), ('b', pa.string())]))\n"
        "assert table.num_rows == 2\n"
        "print(len(os.listdir('/proc/self/task')) - before)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "table.parquet"], capture_output=True, text=True, check=True
    )

    assert done.stdout == "0\n"
