"""A small synthetic data set in BirdCLEF layout, the same bytes for the same seed.

Eight invented species sing for recordists with noises of their own (focal recordings), and at all distances, over each
other, in noise, reverberation and rain (soundscapes): the domain shift of the real task in a few seconds of work.
"""

from __future__ import annotations

import csv
import json
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile

from sed_model.core.errors import DataError
from sed_model.data.demo_scenes import SOUNDSCAPE_S, TARGET_S, draw_recordist, focal_recording, soundscape
from sed_model.data.demo_sounds import SAMPLE_RATE_HZ, SPECIES

VERSION = 1
MARKER = "demo_data.json"
AUTHORS_PER_PAIR = 6
"""Each recordist records two neighbouring species."""
LABELS = tuple(species.label for species in SPECIES)
TRUTH_COLUMNS = ("row_id", *LABELS)


@dataclass(frozen=True)
class DemoSettings:
    """What is written; the defaults make about 20 MB."""

    seed: int = 0
    recordings_per_class: int = 12
    soundscapes: int = 10
    labelled: int = 4
    test_soundscapes: int = 4


def write_demo_data(
    out: Path,
    seed: int = 0,
    recordings_per_class: int = 12,
    soundscapes: int = 10,
    labelled: int = 4,
    test_soundscapes: int = 4,
) -> Path:
    """Write the data set to `out` and return it. The folder appears whole or not at all; an identical one is kept.

    Raises:
        DataError: a count is out of range, or `out` holds anything but demo data.
    """
    settings = DemoSettings(seed, recordings_per_class, soundscapes, labelled, test_soundscapes)
    _check(settings)
    if _is_there(out, settings):
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.tmp")
    temporary.mkdir()
    try:
        _write_focal(temporary, settings)
        _write_soundscapes(temporary, settings)
        _write_taxonomy(temporary)
        sizes = {path: (temporary / path).stat().st_size for path in _files(temporary)}
        marker = {"version": VERSION, "settings": asdict(settings), "files": sizes}
        (temporary / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
        if out.is_dir():
            shutil.rmtree(out)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out


def _check(settings: DemoSettings) -> None:
    limits = {
        "seed": (0, 2**31 - 1),
        "recordings_per_class": (1, 1000),
        "soundscapes": (0, 1000),
        "labelled": (0, settings.soundscapes),
        "test_soundscapes": (0, 1000),
    }
    lines = [
        f"{name}={value} is outside {low} to {high}; give a value in that range."
        for name, (low, high) in limits.items()
        if not low <= (value := getattr(settings, name)) <= high
    ]
    if lines:
        raise DataError("\n".join(lines))


def _is_there(out: Path, settings: DemoSettings) -> bool:
    """Whether `out` is the data set asked for; refuses folders with files that are not ours to replace."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise DataError(f"{out} is there and no folder; give another --out.")
    present = _files(out) if out.is_dir() else []
    if not present:
        return False
    try:
        marker = json.loads((out / MARKER).read_text(encoding="utf-8"))
        files, version, written = dict(marker["files"]), marker["version"], marker["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{out} holds files that are not demo data; give another --out, or an empty folder.") from None
    foreign = [path for path in present if path not in files and path != MARKER]
    if foreign:
        raise DataError(f"{out} holds demo data and other files ({foreign[0]}); move them, or give another --out.")
    sizes = {path: (out / path).stat().st_size for path in present if path != MARKER}
    return version == VERSION and written == asdict(settings) and sizes == files


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def _write_focal(out: Path, settings: DemoSettings) -> None:
    rng = np.random.default_rng([settings.seed, 1])
    rows: list[dict[str, object]] = []
    for pair in range(0, len(SPECIES), 2):
        recordists = [draw_recordist(pair * AUTHORS_PER_PAIR // 2 + n, rng) for n in range(AUTHORS_PER_PAIR)]
        for member, species in enumerate(SPECIES[pair : pair + 2]):
            (out / "train_audio" / species.label).mkdir(parents=True)
            for number in range(settings.recordings_per_class):
                recordist = recordists[number % AUTHORS_PER_PAIR]
                filename = f"{species.label}/XC{100_000 + len(rows)}.flac"
                wave, row = focal_recording(pair + member, recordist, member, rng)
                _write_audio(out / "train_audio" / filename, wave)
                rows.append({**row, "filename": filename, "author": recordist.name})
    # As in the real table, some animals that are heard are no class.
    rows[0]["secondary_labels"] = "['rocpig']"
    columns = ["primary_label", "secondary_labels", "type", "filename", "collection", "rating", "url"]
    columns += ["latitude", "longitude", "scientific_name", "common_name", "author", "license"]
    _write_table(out / "train.csv", columns, rows)


def _write_soundscapes(out: Path, settings: DemoSettings) -> None:
    names = [f"H{n % 5:02d}_20250420_{60_000 + n * 500:06d}" for n in range(settings.soundscapes)]
    truth = _soundscape_folder(out / "train_soundscapes", names, [settings.seed, 2])
    n_labelled = settings.labelled * SOUNDSCAPE_S // TARGET_S
    if settings.labelled:
        _write_table(out / "train_soundscapes_labels.csv", TRUTH_COLUMNS, truth[:n_labelled])
    if settings.labelled < settings.soundscapes:
        _write_table(out / "unlabelled_soundscapes_truth.csv", TRUTH_COLUMNS, truth[n_labelled:])
    tests = [f"soundscape_{n:08d}" for n in range(settings.test_soundscapes)]
    test_truth = _soundscape_folder(out / "test_soundscapes", tests, [settings.seed, 3])
    if tests:
        _write_table(out / "test_soundscapes_labels.csv", TRUTH_COLUMNS, test_truth)
    guess = dict.fromkeys(LABELS, 1 / len(LABELS))
    sample = [{"row_id": row["row_id"]} | guess for row in test_truth or [{"row_id": "soundscape_00000000_5"}]]
    _write_table(out / "sample_submission.csv", TRUTH_COLUMNS, sample)


def _soundscape_folder(folder: Path, names: Sequence[str], seed: Sequence[int]) -> list[dict[str, object]]:
    """Write soundscapes; a row of truth for each of their windows."""
    folder.mkdir()
    rows: list[dict[str, object]] = []
    for number, name in enumerate(names):
        wave, truth = soundscape(np.random.default_rng([*seed, number]))
        _write_audio(folder / f"{name}.flac", wave)
        for window, present in enumerate(truth, start=1):
            rows.append({"row_id": f"{name}_{window * TARGET_S}"} | dict(zip(LABELS, present.tolist(), strict=True)))
    return rows


def _write_audio(path: Path, wave: np.ndarray) -> None:
    samples = np.clip(np.rint(wave * 32_768), -32_768, 32_767).astype(np.int16)
    soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="PCM_16")


def _write_table(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")  # not by pandas: --help can do without its import
        table.writeheader()
        table.writerows(rows)


def _write_taxonomy(out: Path) -> None:
    rows: list[dict[str, object]] = [
        {
            "primary_label": species.label,
            "inat_taxon_id": 1000 + number,
            "scientific_name": species.scientific_name,
            "common_name": species.common_name,
            "class_name": "Aves",
        }
        for number, species in enumerate(SPECIES)
    ]
    _write_table(out / "taxonomy.csv", list(rows[0]), rows)
