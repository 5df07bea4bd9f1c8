"""Recordings heard on actors of a real Ray: the same as heard here, whatever is killed meanwhile."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from sed_model.clips.embedding_cache import open_embeddings
from sed_model.config.sed_config import Data
from sed_model.core.errors import AudioError, ConfigError, TrainingError
from sed_model.teacher.description import TeacherDescription
from tests.teachers import describe, tiny_teacher, write_onnx
from tests.tiny_data import RATE_HZ, write_wav
from trainables.labelling import embed
from trainables.labelling.embed import EmbedPlan, embed_files

N_FILES = 6
LISTENER = "ray::_Listener"
SLOW = {"window_s": 1.0, "hop_s": 0.002}
"""Thousands of windows a recording: a second or so."""
LONGEST_S = 500
"""On a loaded machine, where Ray's workers stand back for everything else."""


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(N_FILES):
        write_wav(tmp_path / "data" / f"r{number}.wav", rng.normal(0, 0.1, (2 + number) * RATE_HZ))
    return tmp_path / "data"


def plan_of(folder: Path, teacher: TeacherDescription, *more: str, **settings: Any) -> EmbedPlan:
    paths = tuple(sorted(path.name for path in (folder / "data").iterdir()))
    return EmbedPlan(folder / "data", (*paths, *more), teacher, (3,), Data(cache_dir=folder / "cache", **settings))


def heard_files(folder: Path) -> set[Path]:
    return set(folder.glob("cache/embeddings/*/*.heard"))


def listeners() -> list[psutil.Process]:
    """Processes of actors that are alive, of the Ray that this process has started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith(LISTENER):
                found.append(process)
    return found


def wait_until(holds: Callable[[], object], timeout_s: float = 200) -> None:
    end_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end_s, "it did not come to it"
        time.sleep(0.01)


@contextmanager
def killing(after: Callable[[], object], times: int) -> Iterator[list[int]]:
    """Kills actors, one after the other, for as long as the block lasts; the ids of those that it killed."""
    over, killed = threading.Event(), []

    def kill() -> None:
        while not over.is_set() and len(killed) < times:
            for process in listeners() if after() else []:
                if process.pid not in killed and len(killed) < times:
                    with suppress(psutil.Error):
                        process.kill()
                        killed.append(process.pid)
            time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def test_actors_hear_what_is_heard_here(
    ray_cluster: None, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = tiny_teacher(tmp_path, window_s=1.0, hop_s=0.5)
    plan = plan_of(tmp_path, teacher)
    cache = embed_files(plan)
    told = capsys.readouterr().out
    assert f"tiny (unknown) hears {N_FILES} files in windows of 1 s every 0.5 s\n" in told
    assert f"heard {N_FILES}/{N_FILES} files" in told
    assert "0 s left" in told
    here = open_embeddings(plan.root, plan.paths, teacher, Data(cache_dir=tmp_path / "here"), (3,), progress=False)
    for path in plan.paths:
        for ours, theirs in zip(cache.clip(path, 0.0, 1e9) or (), here.clip(path, 0.0, 1e9) or (), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    wait_until(lambda: not listeners())


def test_what_is_there_is_not_heard_again(
    ray_cluster: None, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = tiny_teacher(tmp_path, ".onnx", window_s=1.0)
    settings = Data(cache_dir=tmp_path / "cache")
    open_embeddings(recordings, ["r0.wav", "r1.wav"], teacher, settings, (3,), progress=False)
    before = {path: path.stat().st_mtime_ns for path in heard_files(tmp_path)}
    embed_files(plan_of(tmp_path, teacher))
    assert f"hears {N_FILES - 2} files in windows of 1 s every 1 s, 2 are there already" in capsys.readouterr().out
    assert len(heard_files(tmp_path)) == N_FILES
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_where_nothing_is_missing_nothing_is_started(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = tiny_teacher(tmp_path, ".onnx", window_s=1.0)
    plan = plan_of(tmp_path, teacher)
    open_embeddings(plan.root, plan.paths, teacher, plan.settings, (3,), progress=False)
    for name in ("ray_session", "load_teacher"):
        monkeypatch.setattr(embed, name, lambda *_: pytest.fail("something is started"))
    assert len(embed_files(plan)) == N_FILES
    assert capsys.readouterr().out == ""


def test_bad_audio_is_told_and_skipped_or_fails(
    ray_cluster: None, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("bad.wav", "worse.wav"):
        (recordings / name).write_bytes(name.encode())
    teacher = tiny_teacher(tmp_path, ".onnx", window_s=1.0)
    with pytest.raises(AudioError, match=r"2 of 8 (?s:.)*bad\.wav(?s:.)*worse\.wav"):
        embed_files(plan_of(tmp_path, teacher))
    assert "cannot be read: bad.wav: is no readable audio" in capsys.readouterr().out
    cache = embed_files(plan_of(tmp_path, teacher, on_bad_audio="skip"))
    assert [one.path for one in cache.bad] == ["bad.wav", "worse.wav"]
    assert len(cache) == N_FILES


def test_what_a_teacher_does_wrong_is_told_and_its_actors_end(
    ray_cluster: None, recordings: Path, tmp_path: Path
) -> None:
    weights = np.full((3, RATE_HZ), np.nan, np.float32)
    teacher = describe(write_onnx(tmp_path / "tiny.onnx", RATE_HZ, weights), 1.0)
    with pytest.raises(ConfigError, match=r"^tiny: says NaN or Inf of a window; its file is damaged\.$"):
        embed_files(plan_of(tmp_path, teacher))
    wait_until(lambda: not listeners())


@pytest.mark.timeout(600)  # on a loaded machine
def test_an_actor_that_is_killed_is_started_again(ray_cluster: None, recordings: Path, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, tiny_teacher(tmp_path, ".onnx", **SLOW))
    with killing(after=lambda: heard_files(tmp_path), times=1) as killed:
        cache = embed_files(plan)
    assert len(killed) == 1
    assert len(cache) == N_FILES


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_actors_that_are_killed_always_are_told(ray_cluster: None, recordings: Path, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, tiny_teacher(tmp_path, ".onnx", **SLOW))
    with killing(after=lambda: True, times=1_000), pytest.raises(TrainingError, match="was killed 3 times"):
        embed_files(plan)
    wait_until(lambda: not listeners())
    assert len(embed_files(plan)) == N_FILES


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_a_driver_that_is_killed_loses_nothing(
    start_command: Callable[..., Any], recordings: Path, tmp_path: Path
) -> None:
    teacher = tiny_teacher(tmp_path, ".onnx", **SLOW)
    words = (tmp_path / "cache", recordings, teacher.model_dump_json())
    driver = start_command("tests.trainables.embed_driver", *words)
    driver.wait_until(lambda: len(heard_files(tmp_path)) >= 2, LONGEST_S)
    driver.signal(signal.SIGKILL)
    before = {path: path.read_bytes() for path in heard_files(tmp_path)}
    times_ns = {path: path.stat().st_mtime_ns for path in before}
    assert 2 <= len(before) < N_FILES
    second = start_command("tests.trainables.embed_driver", *words)
    assert second.process.wait(LONGEST_S) == 0, second.errors
    assert second.output.endswith(f"{N_FILES}\n")
    assert f"{len(before)} are there already" in second.output
    assert {path: path.stat().st_mtime_ns for path in before} == times_ns
    assert {path: path.read_bytes() for path in before} == before
    assert len(heard_files(tmp_path)) == N_FILES
    assert not list(tmp_path.glob("cache/embeddings/*/.*.tmp"))
