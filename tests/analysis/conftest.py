"""A tiny run folder that follows the contract, written with pyarrow alone: what a search leaves behind, in small."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf
import yaml

from analysis.tables import REFIT_COLUMNS, Run, read_run
from sed_model.run_folder.member_scores import part_facts

CLASSES = ("amecro", "1139490", "grekis")
STAGES = ("pretrain_ce", "train_bce")
EPOCHS_PER_STAGE = 2
N_FILES = 6
WINDOWS_PER_FILE = 4

HOSTILE_CLASSES = ("<script>alert(1)</script>", "</script><b>x", "grekis & co")
HOSTILE_ERROR = "<img src=x onerror=alert(2)>"
HOSTILE_STAGE = "</script><script>alert(3)</script>"
HOSTILE_SETTING = "model.<svg onload=alert(4)>"
HOSTILE_VALUES = (
    *("<script>alert(5)</script>", "javascript:alert(6)", "data:text/html,<script>alert(7)</script>", "<!--"),
    *("{{ 7 * 7 }}", "'\"><b>", "<a href='javascript:alert(8)'>x</a>"),
)
FLOATS = pa.list_(pa.float32())
FRONT_END = {
    "sample_rate_hz": 16000, "n_fft": 512, "hop_length": 160, "n_mels": 32, "f_min_hz": 50.0, "f_max_hz": 8000.0,
    "top_db": 80.0,
}  # fmt: skip

SEARCH = {
    "space": {
        "model.pool_type": {"choice": ["avg", "gem"]},
        "model.gem_p": {"uniform": [1, 6], "when": {"model.pool_type": "gem"}},
        "stages.train_bce.lr": {"loguniform": [1.0e-4, 3.0e-3]},
    },
    "seed": 0,
}

# trial_id, status, best macro_auc, pool_type, gem_p, lr. gem_p of an avg trial is the default: recorded, but inactive.
TRIALS = [
    ("trial_0000", "complete", 0.70, "avg", 3.0, 1.0e-4),
    ("trial_0001", "complete", 0.80, "gem", 2.0, 3.0e-4),
    ("trial_0002", "pruned", 0.60, "avg", 3.0, 2.0e-3),
    ("trial_0003", "complete", 0.85, "gem", 4.0, 5.0e-4),
    ("trial_0004", "failed", None, "gem", 5.0, 3.0e-3),
    ("trial_0005", "pruned", 0.70, "avg", 3.0, 1.5e-3),
    ("trial_0006", "running", None, "gem", 1.5, 4.0e-4),
]


def trial_rows() -> list[dict[str, object]]:
    rows = []
    for number, (trial_id, status, score, pool_type, gem_p, lr) in enumerate(TRIALS):
        n_epochs = {"complete": 4, "pruned": 1, "running": 0, "failed": 0}[status]
        rows.append({
            "trial_id": trial_id, "number": number, "status": status, "macro_auc": score,
            "stage": None if score is None else STAGES[(n_epochs - 1) // EPOCHS_PER_STAGE],
            "epoch": None if score is None else n_epochs - 1, "epochs": n_epochs, "duration_s": 30.0 * n_epochs,
            "params_m": 4.0 + number, "cpu_ms_per_window": [20.0, 30.0, 10.0, 60.0, None, 25.0, None][number],
            "fold": 0, "seed": 0, "error": "out of memory" if status == "failed" else None,
            "config.model.pool_type": pool_type, "config.model.gem_p": gem_p, "config.stages.train_bce.lr": lr,
            "config.model.drop_rate": 0.2,
        })  # fmt: skip
    return rows


def curve_rows() -> list[dict[str, object]]:
    """Each trial climbs evenly to its best score, reached in its last epoch."""
    return [
        {
            "trial_id": row["trial_id"], "stage": STAGES[epoch // EPOCHS_PER_STAGE], "epoch": epoch,
            "stage_epoch": epoch % EPOCHS_PER_STAGE, "train_loss": 1.0 / (1 + epoch), "val_loss": 1.2 / (1 + epoch),
            "macro_auc": row["macro_auc"] - 0.01 * (row["epochs"] - 1 - epoch), "lr": 1.0e-3, "samples_per_s": 50.0,
        }
        for row in trial_rows()
        for epoch in range(row["epochs"])
    ]  # fmt: skip


def oof_rows(noise: float, seed: int = 0) -> list[dict[str, object]]:
    """Predictions that agree with the targets up to Gaussian noise; every class is heard in every file."""
    rng = np.random.default_rng(seed)
    rows = []
    for window in range(N_FILES * WINDOWS_PER_FILE):
        target = np.eye(len(CLASSES))[window % len(CLASSES)]
        scores = np.clip(0.3 + 0.4 * target + rng.normal(0, noise, len(CLASSES)), 0, 1)
        start_s = 5.0 * (window % WINDOWS_PER_FILE)
        rows.append({
            "filename": f"f{window // WINDOWS_PER_FILE}.ogg", "start_s": start_s, "end_s": start_s + 5,
            "target": target.tolist(), "probabilities": scores.tolist(),
        })  # fmt: skip
    return rows


def pseudo_label_rows(filename: str) -> list[dict[str, object]]:
    return [
        {
            "filename": filename, "start_s": 2.5 * step, "end_s": 2.5 * step + 5, "primary_label": "1139490",
            "confidence": 0.9, "labels": ["1139490", "grekis"], "probabilities": [0.1, 0.9, 0.7], "n_members": 2,
            "disagreement": 0.05, "weight": 0.9,
        }
        for step in range(3)
    ]  # fmt: skip


def write_table(
    file: Path, rows: list[dict[str, object]], classes: tuple[str, ...] | None = None, **types: pa.DataType
) -> None:
    """Write rows as Parquet; `types` sets the Arrow type of single columns, `classes` goes into the metadata."""
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    for name, stored in types.items():
        table = table.set_column(table.column_names.index(name), name, table.column(name).cast(stored))
    if classes is not None:
        table = table.replace_schema_metadata({b"classes": json.dumps(classes).encode()})
    pq.write_table(table, file)


def write_run(path: Path) -> Path:
    """Write a run folder of seven trials: three complete, two pruned, one failed, one running."""
    path.mkdir(parents=True)
    (path / "search.yaml").write_text(yaml.safe_dump(SEARCH), encoding="utf-8")
    write_table(path / "trials.parquet", trial_rows())
    write_table(path / "curves.parquet", curve_rows())
    floats = pa.list_(pa.float32())
    for trial_id, noise in (("trial_0000", 0.5), ("trial_0001", 0.25), ("trial_0003", 0.2)):
        file = path / "trials" / trial_id / "oof.parquet"
        write_table(file, oof_rows(noise), CLASSES, target=floats, probabilities=floats)
    for part in range(2):
        file = path / "ensemble" / "pseudo_labels" / f"part-{part}.parquet"
        write_table(file, pseudo_label_rows(f"s{part}.ogg"), CLASSES, probabilities=floats)
    return path


def write_hostile_run(folder: Path) -> Path:
    """A run with everything that a report shows; classes and an error are written to break pages."""
    run = write_run(folder / "runs" / "tiny")
    audio = folder / "data"
    audio.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.05, 16000 * 20)
    for file in range(N_FILES):
        sf.write(audio / f"f{file}.ogg", noise, 16000)
    search = SEARCH | {"data": {"folder": str(audio), "fingerprint": "abc"}, "command": "python -m x --name '<b>'"}
    search |= {"created": "<b>2026", "versions": {"<b>torch": "</script><b>2"}, "seed": "<b>0"}
    (run / "search.yaml").write_text(yaml.safe_dump(search))
    for trial in ("trial_0000", "trial_0001", "trial_0003"):
        write_table(
            run / "trials" / trial / "oof.parquet", oof_rows(0.4), HOSTILE_CLASSES, target=FLOATS, probabilities=FLOATS
        )
        (run / "trials" / trial / "config.json").write_text(json.dumps({"front_end": FRONT_END}))
    rows = trial_rows()
    rows[4]["error"] = HOSTILE_ERROR
    for row, value in zip(rows, HOSTILE_VALUES, strict=True):
        row |= {f"config.{HOSTILE_SETTING}": value, "stage": row["stage"] and HOSTILE_STAGE}
    write_table(run / "trials.parquet", rows)
    write_table(run / "curves.parquet", [row | {"stage": HOSTILE_STAGE} for row in curve_rows()])
    return run


@pytest.fixture
def tiny_run(tmp_path: Path) -> Path:
    """A run folder of its own for each test, free to be damaged."""
    return write_run(tmp_path / "runs" / "tiny")


@pytest.fixture
def run(tiny_run: Path) -> Run:
    """The same, read."""
    return read_run(tiny_run)


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of `write_hostile_run` for all; read-only by agreement."""
    return write_hostile_run(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with every table that is read; read-only by agreement."""
    run = write_run(tmp_path_factory.mktemp("whole") / "run")
    rows = [
        {"filename": row["filename"], "start_s": row["start_s"], "end_s": row["end_s"], "label": CLASSES[0],
         "frames_start_s": row["start_s"], "frames_end_s": row["end_s"], "scores": [0.1, 0.9]}
        for row in oof_rows(0.4)
    ]  # fmt: skip
    write_table(run / "trials" / "trial_0003" / "frames.parquet", rows)
    return run


@pytest.fixture
def own_run(whole_run: Path, tmp_path: Path) -> Path:
    """A copy of the whole run, free to be damaged."""
    return Path(shutil.copytree(whole_run, tmp_path / "run"))


def with_refits(run: Path) -> Path:
    """The run with two finalists that were trained again: the worst complete trial came out best."""
    refits = {"trial_0000": (0.82, 0.01, 3), "trial_0003": (0.81, 0.02, 3)}
    rows = [
        row | dict(zip(REFIT_COLUMNS, refits.get(row["trial_id"], [None] * 3), strict=True)) for row in trial_rows()
    ]
    write_table(run / "trials.parquet", rows)
    return run


def write_member_scores(run: Path, root: Path, classes: tuple[str, ...] = CLASSES) -> None:
    """What an ensemble of two leaves of soundscapes in `root`: f0.ogg to f5.ogg, four windows each."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, object]] = [
        {"filename": row["filename"], "start_s": row["start_s"], "end_s": row["end_s"], "rms": 0.1}
        | {f"member_{member}": rng.random(len(classes)).tolist() for member in range(2)}
        for row in oof_rows(0.4)
    ]
    file = run / "ensemble" / "predictions" / "0123456789abcdef" / "part-00000.parquet"
    write_table(file, rows, member_0=FLOATS, member_1=FLOATS)
    pq.write_table(pq.read_table(file).replace_schema_metadata(part_facts(classes, root)), file)


@pytest.fixture
def scored_run(hostile_run: Path, tmp_path: Path) -> Path:
    """A copy of the hostile run, whose ensemble has scored the soundscapes in its data folder."""
    run = Path(shutil.copytree(hostile_run, tmp_path / "run"))
    write_member_scores(run, hostile_run.parents[1] / "data", HOSTILE_CLASSES)
    return run
