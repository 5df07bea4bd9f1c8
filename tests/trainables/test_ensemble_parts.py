"""What an actor of the ensemble writes about soundscapes of any length, rate and state. Needs no running Ray."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch

from sed_model.config.sed_config import SedConfig
from sed_model.core.parquet import write_parquet
from sed_model.model.devices import Runtime
from tests.models import CLASSES, random_model
from tests.sed_model.mp3_in_wav import mp3_frames, write_mp3_in_wav
from trainables.labelling import job as ensemble_run
from trainables.labelling.job import actor_options, predict_shard, report_odd
from trainables.labelling.plan import PredictionRules, Shard
from trainables.on_ray.cluster import Node

CPU = Runtime(torch.device("cpu"), None)
N_WINDOWS = {
    "3s.wav": 1,
    "61s_stereo_44100.wav": 13,
    "10min_22050.flac": 120,
    "60s_48000.ogg": 12,
    "silent.wav": 2,
}
"""Targets of 5 s, a step of 5 s; the last one may pass the end."""


@pytest.fixture(scope="module")
def config(tiny_base: SedConfig) -> SedConfig:
    return tiny_base.with_overrides({"data.window_s": 5.0, "data.target_s": 5.0, "front_end.hop_length": 256})


@pytest.fixture(scope="module")
def soundscapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("soundscapes")
    rng = np.random.default_rng(0)

    def write(name: str, duration_s: float, rate_hz: int, channels: int = 1, level: float = 0.1) -> None:
        samples = level * rng.standard_normal((round(duration_s * rate_hz), channels)).clip(-3, 3)
        with soundfile.SoundFile(folder / name, "w", rate_hz, channels) as file:
            for second in np.array_split(samples, round(duration_s)):  # libsndfile's Vorbis crashes on long blocks
                file.write(second)

    write("3s.wav", 3, 8_000)
    write("61s_stereo_44100.wav", 61, 44_100, channels=2)
    write("10min_22050.flac", 600, 22_050)
    write("60s_48000.ogg", 60, 48_000)
    write("silent.wav", 10, 8_000, level=0)
    for name, source in (("truncated.flac", "10min_22050.flac"), ("truncated.wav", "61s_stereo_44100.wav")):
        whole = (folder / source).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(scope="module")
def part(config: SedConfig, soundscapes: Path, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    names = tuple(sorted(path.name for path in soundscapes.iterdir()))
    shard = Shard(tmp_path_factory.mktemp("parts") / "part.parquet", soundscapes, names, 5.0)
    return predict_shard([random_model(config, 0), random_model(config, 1)], shard, CPU)


def test_every_readable_soundscape_has_a_row_every_step(part: pa.Table) -> None:
    assert Counter(part["filename"].to_pylist()) == N_WINDOWS
    rows = part.to_pandas()
    for _, windows in rows.groupby("filename"):
        np.testing.assert_array_equal(windows["start_s"], np.arange(len(windows)) * 5.0)
        np.testing.assert_array_equal(windows["end_s"], windows["start_s"] + 5)


def test_each_member_gives_a_probability_for_every_window_and_class(part: pa.Table) -> None:
    for name in ("member_0", "member_1"):
        values = np.array(part[name].to_pylist())
        assert values.shape == (sum(N_WINDOWS.values()), len(CLASSES))
        assert ((values >= 0) & (values <= 1)).all()


def test_silence_is_told_by_its_level(part: pa.Table) -> None:
    rms = part.to_pandas().groupby("filename")["rms"].max()
    assert rms["silent.wav"] == 0
    assert rms.drop("silent.wav").min() > 0.02


def test_a_truncated_soundscape_is_listed_with_the_reason(part: pa.Table) -> None:
    bad = json.loads(part.schema.metadata[b"bad"])
    assert [name for name, _ in bad] == ["truncated.flac", "truncated.wav"]
    assert all("replace or remove the file" in reason for _, reason in bad)


def test_files_whose_length_is_not_that_of_the_header_are_counted(
    config: SedConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = b"".join(mp3_frames(tmp_path / "x.mp3", 0.3 * np.sin(np.arange(7_840) / 3), 8_000))
    write_mp3_in_wav(tmp_path / "padded.wav", stream[:-30], 8_000)
    write_mp3_in_wav(tmp_path / "open.wav", stream, 8_000, n_announced=2**32 - 1)
    write_mp3_in_wav(tmp_path / "whole.wav", stream, 8_000)
    shard = Shard(tmp_path / "part.parquet", tmp_path, ("open.wav", "padded.wav", "whole.wav"), 5.0)
    write_parquet(shard.part, predict_shard([random_model(config, 0)], shard, CPU))
    report_odd([shard])

    assert capsys.readouterr().out.splitlines() == [
        "1 of 3 audio files are up to 0.08 s shorter than they say, as MP3 is; they are read",
        "1 of 3 audio files leave their length open, as what is written into a pipe does; they are read to the end of "
        "the file",
    ]


def test_a_part_of_unreadable_soundscapes_alone_has_no_rows(config: SedConfig, tmp_path: Path) -> None:
    (tmp_path / "empty.ogg").touch()
    table = predict_shard(
        [random_model(config, 0)], Shard(tmp_path / "part.parquet", tmp_path, ("empty.ogg",), 5.0), CPU
    )
    assert (table.num_rows, table.column_names[-1]) == (0, "member_0")


def test_a_file_is_decoded_once_and_members_of_one_front_end_share_its_log_mel(
    config: SedConfig, soundscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    decode = ensemble_run.decode_as_cached

    def counted(path: Path, rate_hz: int, on_odd: Any) -> Any:
        decoded.append(path.name)
        return decode(path, rate_hz, on_odd)

    monkeypatch.setattr(ensemble_run, "decode_as_cached", counted)
    other = config.with_overrides({"front_end.n_mels": 40})
    pooled = config.with_overrides({"model.pool_type": "max"})
    members = [random_model(config, 0), random_model(pooled, 1), random_model(other, 2), random_model(other, 3)]
    log_mels: list[int] = []
    for number, one in enumerate(members):
        one.model.images.register_forward_hook(lambda *_, number=number: log_mels.append(number))
    names = ("3s.wav", "silent.wav")
    predict_shard(members, Shard(tmp_path / "part.parquet", soundscapes, names, 5.0), CPU)

    assert decoded == list(names)
    assert log_mels == [0, 2, 0, 2]


@pytest.mark.parametrize(
    ("gpus_per_worker", "expected"),
    [(None, [0.25] * 4 + [0] * 2), (0.5, [0.5] * 2 + [0] * 2), (0, [0] * 8 + [0] * 2)],
)
def test_actors_share_gpus_where_there_are_any_and_cpus_elsewhere(
    gpus_per_worker: float | None, expected: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [Node("a" * 56, "with a GPU", 8, 1), Node("b" * 56, "without", 2, 0)]
    monkeypatch.setattr(ensemble_run, "cluster_nodes", lambda: nodes)
    monkeypatch.setattr(ensemble_run, "nodes_with", lambda nodes, shared, paths: nodes)
    places = actor_options(PredictionRules((), Path("parts")), [], gpus_per_worker)
    assert [place["num_gpus"] for place in places] == expected
    assert {place["num_cpus"] for place in places} == {1}
