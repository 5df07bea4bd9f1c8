"""Peak memory of a process that draws an epoch of crops from 20,000 recordings, beyond its imports.

The plain side holds every decoded recording in memory as float32, the way a list of waveforms would (its size is
calculated from the index: it may not fit here). Ours maps the int16 cache; a fresh process is measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from _result import print_result
from _scale import rss_mb

from sed_model.audio.cache import open_cache
from sed_model.config.sed_config import Data

N_RECORDINGS = 20_000
SOURCE_RATE_HZ, SAMPLE_RATE_HZ = 8_000, 32_000
CROP_S = 1.0
TARGET_MB = 2000.0


def main() -> int:
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        start = time.monotonic()
        write_recordings(root)
        written = time.monotonic()
        open_cache(root, paths(), SAMPLE_RATE_HZ, settings(root))
        built = time.monotonic()
        here = [sys.executable, str(Path(__file__).resolve()), "--measure", folder]
        output = subprocess.run(here, check=True, capture_output=True, text=True).stdout
        measured = json.loads(output)
    holds = print_result(
        "training_memory_20000_recordings",
        plain=measured["plain_mb"],
        ours=measured["ours_mb"],
        unit="MB peak RSS",
        ratio=measured["plain_mb"] / measured["ours_mb"],
        target=TARGET_MB,
        holds=measured["ours_mb"] < TARGET_MB,
        write_s=written - start,
        build_s=built - written,
        open_s=measured["open_s"],
        crops_per_s=measured["crops_per_s"],
    )
    return 0 if holds else 1


def settings(root: Path) -> Data:
    return Data(cache_dir=root / "cache")


def paths() -> list[str]:
    return [f"{number % 200:03d}/{number:05d}.wav" for number in range(N_RECORDINGS)]


def write_recordings(root: Path) -> None:
    """20,000 slices of 1 to 2 s out of one long noise."""
    rng = np.random.default_rng(0)
    noise = (3000 * rng.normal(size=60 * SOURCE_RATE_HZ)).astype(np.int16)
    for path in paths():
        (root / path).parent.mkdir(exist_ok=True)
        length = int(rng.integers(SOURCE_RATE_HZ, 2 * SOURCE_RATE_HZ))
        start = int(rng.integers(0, len(noise) - length))
        soundfile.write(root / path, noise[start : start + length], SOURCE_RATE_HZ)


def measure(root: Path) -> dict[str, float]:
    """One pass over all recordings in random order, a random crop and the loudest start of each."""
    baseline_mb = rss_mb(peak=True)
    start = time.monotonic()
    cache = open_cache(root, paths(), SAMPLE_RATE_HZ, settings(root), progress=False)
    opened = time.monotonic()
    rng = np.random.default_rng(0)
    crop = round(CROP_S * SAMPLE_RATE_HZ)
    n_total, checksum = 0, 0.0
    for row in rng.permutation(N_RECORDINGS):
        path = f"{row % 200:03d}/{row:05d}.wav"
        n_samples = cache.n_samples(path)
        first = int(rng.integers(0, n_samples - crop + 1)) if row % 2 else cache.loudest_start(path, CROP_S)
        checksum += float(np.abs(cache.samples(path, first, crop).astype(np.float32)).mean())
        n_total += n_samples
    assert checksum > 0
    return {
        "plain_mb": 4 * n_total / 1e6,
        "ours_mb": rss_mb(peak=True) - baseline_mb,
        "open_s": opened - start,
        "crops_per_s": N_RECORDINGS / (time.monotonic() - opened),
    }


if __name__ == "__main__":
    sys.exit(main())
