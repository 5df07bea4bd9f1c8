"""A probe labels soundscapes that its foreign model has heard: from the cache, with the scores of hearing again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sed_model.clips.embedding_cache import open_embeddings
from sed_model.config.sed_config import SedConfig
from sed_model.model.checkpoint import Lineage, LoadedModel
from sed_model.model.devices import Runtime
from sed_model.model.probe_model import ProbeModel
from sed_model.teacher.description import TeacherDescription, foreign_model
from tests.models import random_model
from tests.teachers import tiny_teacher, windows_heard
from tests.tiny_data import RATE_HZ, write_wav
from trainables.labelling.heard_before import entries_of
from trainables.labelling.job import predict_shard
from trainables.labelling.plan import Shard

CPU = Runtime(torch.device("cpu"), None)
NAMES = ("long.wav", "odd.wav", "short.wav")
"""Of 10, 6.3 and 1 s; windows of 3 s that start 1 s apart."""


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> TeacherDescription:
    return tiny_teacher(tmp_path_factory.mktemp("teacher"), ".onnx", 3.0, hop_s=1.0)


@pytest.fixture(scope="module")
def scapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("scapes"), np.random.default_rng(0)
    for name, duration_s in zip(NAMES, (10, 6.3, 1), strict=True):
        write_wav(folder / name, rng.normal(0, 0.1, round(duration_s * RATE_HZ)))
    return folder


@pytest.fixture
def probe(teacher: TeacherDescription, tiny_base: SedConfig, tmp_path: Path) -> LoadedModel:
    """With a cache of its own."""
    changes = {"data.window_s": 5.0, "data.target_s": 5.0, "data.cache_dir": str(tmp_path / "cache")}
    config = tiny_base.with_overrides(changes)
    weight = torch.from_numpy(np.random.default_rng(1).normal(0, 3, (3, 5)).astype(np.float32))
    weights = {"weight": weight, "bias": torch.zeros(3), "columns": torch.tensor([1, 0])}
    facts = {"foreign": (foreign_model(teacher),), "probe_of": teacher}
    lineage = Lineage.model_validate(random_model(config).lineage.model_dump() | facts)
    return LoadedModel(ProbeModel(teacher, config, weights, teacher.digest()), config, lineage)


@pytest.fixture
def n_heard(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many windows the foreign model has heard since it was last asked."""
    counts = windows_heard(monkeypatch)

    def since() -> int:
        number = sum(counts)
        counts.clear()
        return number

    return since


def scores(probe: LoadedModel, scapes: Path, step_s: float, with_cache: bool) -> np.ndarray:
    shard = Shard(scapes / "part.parquet", scapes, NAMES, step_s)
    entries = entries_of([probe]) if with_cache else {}
    return np.array(predict_shard([probe], shard, CPU, entries)["member_0"].to_pylist())


def hear_all(probe: LoadedModel, teacher: TeacherDescription, scapes: Path) -> None:
    columns = [1, 0]
    open_embeddings(scapes, NAMES, teacher, probe.config.data, columns, progress=False)


@pytest.mark.parametrize(("step_s", "n_again"), [(5.0, 6), (2.5, 9), (1.0, 6)])
def test_windows_that_the_cache_has_are_read(
    probe: LoadedModel,
    teacher: TeacherDescription,
    scapes: Path,
    n_heard: Callable[[], int],
    step_s: float,
    n_again: int,
) -> None:
    """Heard are the short file, the clip at the end of the odd one, and one that starts at half a second."""
    before = scores(probe, scapes, step_s, with_cache=True)
    n_alone = n_heard()
    hear_all(probe, teacher, scapes)
    n_heard()
    after = scores(probe, scapes, step_s, with_cache=True)
    assert n_heard() == n_again < n_alone
    np.testing.assert_allclose(after, before, atol=2e-3)
    np.testing.assert_array_equal(before, scores(probe, scapes, step_s, with_cache=False))


def test_a_recording_with_another_content_is_heard(
    probe: LoadedModel, teacher: TeacherDescription, scapes: Path, tmp_path: Path, n_heard: Callable[[], int]
) -> None:
    hear_all(probe, teacher, scapes)
    other = Path(shutil.copytree(scapes, tmp_path / "other"))
    write_wav(other / "long.wav", np.zeros(10 * RATE_HZ))
    n_heard()
    scores(probe, scapes, 5.0, with_cache=True)
    n_known = n_heard()
    scores(probe, other, 5.0, with_cache=True)
    assert n_heard() == n_known + 6


def test_what_another_file_of_the_foreign_model_heard_is_not_used(
    probe: LoadedModel, teacher: TeacherDescription, scapes: Path
) -> None:
    """Of the probe's lineage it is, not of what lies there now."""
    hear_all(probe, teacher, scapes)
    (folder,) = entries_of([probe]).values()
    assert len(list(folder.glob("*.heard"))) == len(NAMES)
    foreign = probe.lineage.foreign[0].model_copy(update={"sha256": "0" * 64})
    other = LoadedModel(probe.model, probe.config, probe.lineage.model_copy(update={"foreign": (foreign,)}))
    (elsewhere,) = entries_of([other]).values()
    assert not elsewhere.exists()
