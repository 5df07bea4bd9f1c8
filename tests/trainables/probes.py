"""A tiny foreign model, and the probe command on the tiny data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sed_model.run_folder.folder import RunFolder
from tests.teachers import tiny_teacher
from tests.trainables.tiny import write_data
from trainables import probe

N_LABELLED = 8
TAXONOMY = "primary_label,scientific_name\ngrekis,Avis grekis\nabethr1,Avis abethr1\n1139490,Gryllus\n"


def write_teacher(folder: Path, **others: Any) -> Path:
    """The YAML file of a foreign model that hears a second; it knows two of the three classes."""
    folder.mkdir(parents=True, exist_ok=True)
    described = tiny_teacher(folder, ".onnx", 1.0, licence="CC BY-NC 4.0", **others)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(described.model_dump()), encoding="utf-8")
    return folder / "tiny.yaml"


def run_probe(teacher: Path, data: Path, out: Path, *more: str) -> RunFolder:
    """The run of the command, `out/probe`."""
    words = ["--teacher", teacher, "--data", data, "--out", out, "--name", "probe", "--set", "data.target_s=1", *more]
    probe.main([str(word) for word in words])
    return RunFolder(out / "probe")


def write_probed(folder: Path) -> None:
    """`data` with eight labelled soundscapes, `teacher/tiny.yaml`, and the run of its probes, `runs/probe`."""
    data = write_data(folder / "data", N_LABELLED)
    (data / "taxonomy.csv").write_text(TAXONOMY, encoding="utf-8")
    run_probe(write_teacher(folder / "teacher"), data, folder / "runs")
