import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.predictions import read_frame_scores
from analysis.tables import RunFolderError

READ = """
import os, sys
from pathlib import Path
import pandas, pyarrow.parquet
from analysis.parquet import Kind, read_table
before = len(os.listdir("/proc/self/task"))
path = Path(sys.argv[1])
frame, _ = read_table(path, path.parent, {"a": Kind.INTEGER, "b": Kind.TEXT}, [])
assert len(frame) == 2
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_reading_a_table_starts_no_threads(tmp_path: Path) -> None:
    """A process that ends while Arrow's threads still start is aborted."""
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", "y"]}), tmp_path / "table.parquet")

    done = subprocess.run(
        [sys.executable, "-c", READ, tmp_path / "table.parquet"], capture_output=True, text=True, check=True
    )

    assert done.stdout == "0\n"


def test_frame_scores_that_lack_a_column_are_refused_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "trials" / "trial_0000" / "frames.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(pa.table({"filename": ["a.ogg"], "scores": [[0.5]]}), file)

    with pytest.raises(RunFolderError, match=r"frames\.parquet: column 'start_s' is missing"):
        read_frame_scores(tmp_path, "trial_0000")
