"""Validation predictions as a table: what was true and what the model said, a row a window."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from sed_model.dataset import ValidationWindows
from sed_model.files import write_parquet

OOF_FILE = "oof.parquet"
OOF_SCHEMA = pa.schema(
    [
        ("filename", pa.string()),
        ("start_s", pa.float32()),
        ("end_s", pa.float32()),
        ("target", pa.list_(pa.float32())),
        ("probabilities", pa.list_(pa.float32())),
    ]
)


def write_predictions(
    path: Path, windows: ValidationWindows, probabilities: Float[np.ndarray, "n k"], classes: Sequence[str]
) -> None:
    """Write the windows with targets and probabilities, in the order of the metadata's `classes`."""
    columns = [
        windows.paths,
        windows.start_s.tolist(),
        windows.end_s.tolist(),
        windows.targets.tolist(),
        probabilities.tolist(),
    ]
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, OOF_SCHEMA, strict=True)]
    schema = OOF_SCHEMA.with_metadata({"classes": json.dumps(list(classes))})
    write_parquet(path, pa.Table.from_arrays(arrays, schema=schema))
