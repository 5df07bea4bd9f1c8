"""A small synthetic data set in BirdCLEF layout, the same bytes for the same seed.

    python -m sed_model.demo_data --out DIR

Eight invented species sing for recordists with noises of their own (focal recordings), and at all distances, over each
other, in noise, reverberation and rain (soundscapes): the domain shift of the real task in a few seconds of work.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile

from sed_model.demo_sounds import (
    SAMPLE_RATE_HZ,
    SPECIES,
    Individual,
    coloured_noise,
    draw_individual,
    far_away,
    rain_drops,
    song,
)
from sed_model.errors import DataError, UserError

VERSION = 1
MARKER = "demo_data.json"
AUTHORS_PER_PAIR = 6
"""Each recordist records two neighbouring species."""
SOUNDSCAPE_S = 60
TARGET_S = 5
OVERLAP_S = 0.25
"""A window is positive when it holds that much of a song."""
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


@dataclass(frozen=True)
class _Recordist:
    name: str
    noise_slope: float
    noise_rms: float
    individuals: tuple[Individual, ...]


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
        recordists = [_draw_recordist(pair * AUTHORS_PER_PAIR // 2 + n, rng) for n in range(AUTHORS_PER_PAIR)]
        for member, species in enumerate(SPECIES[pair : pair + 2]):
            (out / "train_audio" / species.label).mkdir(parents=True)
            for number in range(settings.recordings_per_class):
                recordist = recordists[number % AUTHORS_PER_PAIR]
                filename = f"{species.label}/XC{100_000 + len(rows)}.flac"
                wave, row = _focal(pair + member, recordist, member, rng)
                _write_audio(out / "train_audio" / filename, wave)
                rows.append({**row, "filename": filename, "author": recordist.name})
    # As in the real table, some animals that are heard are no class.
    rows[0]["secondary_labels"] = "['rocpig']"
    columns = ["primary_label", "secondary_labels", "type", "filename", "collection", "rating", "url"]
    columns += ["latitude", "longitude", "scientific_name", "common_name", "author", "license"]
    _write_table(out / "train.csv", columns, rows)


def _draw_recordist(number: int, rng: np.random.Generator) -> _Recordist:
    individuals = (draw_individual(rng), draw_individual(rng))
    return _Recordist(f"Recordist {number:02d}", rng.uniform(0, 1.6), 10 ** rng.uniform(-3.0, -2.3), individuals)


def _focal(
    index: int, recordist: _Recordist, member: int, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, object]]:
    """A focal recording of 3 to 12 s and its row without filename and author."""
    species = SPECIES[index]
    n_samples = int(rng.uniform(3, 12) * SAMPLE_RATE_HZ)
    wave = recordist.noise_rms * coloured_noise(n_samples, recordist.noise_slope, rng)
    distance = rng.uniform(0, 0.6)
    loudness = 0.04 * 10 ** (-0.8 * distance)
    end = int(rng.uniform(0, 0.3) * n_samples)
    while end < n_samples - SAMPLE_RATE_HZ // 2:
        sung = far_away(song(species, recordist.individuals[member], rng), distance, rng)
        _add(wave, loudness * sung, end)
        end += len(sung) + int(rng.exponential(1.5) * SAMPLE_RATE_HZ)
    secondary = ""
    if rng.random() < 0.2:
        other = SPECIES[(index + rng.integers(1, len(SPECIES))) % len(SPECIES)]
        faint = far_away(song(other, draw_individual(rng), rng), rng.uniform(0.4, 1), rng)
        _add(wave, 0.35 * loudness * faint, int(rng.integers(0, n_samples // 2)))
        secondary = other.label
    rating = 0.0 if rng.random() < 0.1 else float(np.clip(np.round(10 - 10 * distance + rng.normal()) / 2, 1, 5))
    return wave, {
        "primary_label": species.label,
        "secondary_labels": str([secondary]),
        "type": "['song']",
        "collection": "XC",
        "rating": rating,
        "latitude": round(rng.uniform(3, 9), 4),
        "longitude": round(rng.uniform(-77, -72), 4),
        "scientific_name": _scientific_name(species.common_name),
        "common_name": species.common_name,
        "license": "CC0",
    }


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
        wave, truth = _soundscape(np.random.default_rng([*seed, number]))
        _write_audio(folder / f"{name}.flac", wave)
        for window, present in enumerate(truth, start=1):
            rows.append({"row_id": f"{name}_{window * TARGET_S}"} | dict(zip(LABELS, present.tolist(), strict=True)))
    return rows


def _soundscape(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """60 s of wave, and 0/1 for each 5 s window and species."""
    n_samples = SOUNDSCAPE_S * SAMPLE_RATE_HZ
    noise_rms = 10 ** rng.uniform(-2.7, -2.45)
    wave = noise_rms * coloured_noise(n_samples, rng.uniform(0.2, 1.4), rng)
    wave += 6 * noise_rms * rain_drops(n_samples, rng.exponential(3.0), rng)
    truth = np.zeros((SOUNDSCAPE_S // TARGET_S, len(SPECIES)), np.int64)
    singers = rng.choice(len(SPECIES), rng.integers(4, 7), replace=False)
    for index in singers:
        individual, distance = draw_individual(rng), rng.uniform(0.1, 0.9)
        loudness = noise_rms * 10 ** (rng.normal(20 - 12 * distance, 3) / 20)
        for _ in range(rng.integers(1, 3)):
            start = int(rng.integers(0, n_samples - 5 * SAMPLE_RATE_HZ))
            for _ in range(rng.integers(3, 6)):
                sung = far_away(song(SPECIES[index], individual, rng), distance, rng)
                _add(wave, loudness * sung, start)
                truth[_windows_with(start, start + len(sung)), index] = 1
                start += len(sung) + int(rng.uniform(0.2, 1.5) * SAMPLE_RATE_HZ)
    return wave, truth


def _windows_with(start: int, end: int) -> list[int]:
    """Windows that hold at least 0.25 s of samples [start, end), or all of a shorter song."""
    step = TARGET_S * SAMPLE_RATE_HZ
    least = min(int(OVERLAP_S * SAMPLE_RATE_HZ), end - start)
    return [
        window
        for window in range(SOUNDSCAPE_S // TARGET_S)
        if min(end, (window + 1) * step) - max(start, window * step) >= least
    ]


def _add(wave: np.ndarray, sound: np.ndarray, start: int) -> None:
    n_samples = max(0, min(len(sound), len(wave) - start))
    wave[start : start + n_samples] += sound[:n_samples]


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
            "scientific_name": _scientific_name(species.common_name),
            "common_name": species.common_name,
            "class_name": "Aves",
        }
        for number, species in enumerate(SPECIES)
    ]
    _write_table(out / "taxonomy.csv", list(rows[0]), rows)


def _scientific_name(common_name: str) -> str:
    return f"Avis {common_name.replace(' ', '')}"


def build_parser() -> argparse.ArgumentParser:
    defaults = DemoSettings()
    parser = argparse.ArgumentParser(
        prog="python -m sed_model.demo_data",
        description="Write the demo data set: a small synthetic BirdCLEF, the same bytes for the same seed.",
        epilog="examples:\n  python -m sed_model.demo_data --out demo_data\n\nexit status: 0 done; 2 wrong input",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="the same seed gives the same bytes")
    for name in ("recordings_per_class", "soundscapes", "labelled", "test_soundscapes"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(defaults, name))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    options = vars(build_parser().parse_args(arguments))
    try:
        out = write_demo_data(**options)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"demo data: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
