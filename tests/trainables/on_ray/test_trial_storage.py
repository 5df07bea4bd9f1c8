"""Trials' files in a storage: what is pushed is what is pulled, of one moment, and nothing is sent twice."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sed_model.core.errors import ConfigError, DataError
from trainables import search
from trainables.on_ray.trial_storage import MANIFEST, Storage, TrialFiles, join_uri, working_files
from trainables.searching.fetch import Fetcher, fetch_all
from trainables.spaces.load import load_space
from trainables.trials.trial import SearchJob

FILES = {"model.safetensors": b"weights", "model.json": b"{}", "state.pt": b"epoch 5", "state.previous.pt": b"epoch 4"}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return (tmp_path / "bucket" / "trial_0000").as_uri()


@pytest.fixture
def pushed(tmp_path: Path, uri: str) -> TrialFiles:
    files = TrialFiles(write(tmp_path / "node_a", FILES), uri)
    files.push()
    return files


def stored(tmp_path: Path) -> dict[str, int]:
    """Name -> time of writing of all that is in the storage."""
    return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "bucket" / "trial_0000").iterdir()}


def test_nothing_comes_where_nothing_was_pushed(tmp_path: Path, uri: str) -> None:
    TrialFiles(tmp_path / "node_b", uri).pull()

    assert not (tmp_path / "node_b").exists()


def test_files_that_did_not_change_are_not_sent_again(pushed: TrialFiles, tmp_path: Path) -> None:
    before = stored(tmp_path)
    pushed.push()

    assert stored(tmp_path) == before


def test_a_state_that_becomes_the_previous_one_is_not_sent_again(pushed: TrialFiles, tmp_path: Path, uri: str) -> None:
    before = stored(tmp_path)
    folder = pushed.folder
    (folder / "state.pt").replace(folder / "state.previous.pt")
    (folder / "state.pt").write_bytes(b"epoch 6")
    pushed.push()

    after = stored(tmp_path)
    assert len(after) == len(before)
    changed = {name for name, time_ns in after.items() if before.get(name) != time_ns}
    assert len(changed) == 2  # the new state and the manifest
    TrialFiles(tmp_path / "node_b", uri).pull()
    assert read(tmp_path / "node_b") == FILES | {"state.previous.pt": b"epoch 5", "state.pt": b"epoch 6"}


def test_a_push_that_breaks_off_leaves_the_files_of_the_one_before(
    pushed: TrialFiles, tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file = Storage.write

    def broken(self: Storage, name: str, content: BinaryIO) -> None:
        if name == MANIFEST:
            raise OSError("the network is down")
        write_file(self, name, content)

    write(pushed.folder, {"model.safetensors": b"other weights", "state.pt": b"epoch 6"})
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "write", broken)
        with pytest.raises(OSError, match="the network is down"):
            pushed.push()

    TrialFiles(tmp_path / "node_b", uri).pull()
    assert read(tmp_path / "node_b") == FILES
    pushed.push()
    TrialFiles(tmp_path / "node_b", uri).pull()
    assert read(tmp_path / "node_b") == FILES | {"model.safetensors": b"other weights", "state.pt": b"epoch 6"}


def test_a_process_that_was_given_up_and_lives_on_harms_nobody(pushed: TrialFiles, tmp_path: Path, uri: str) -> None:
    successor = TrialFiles(tmp_path / "node_b", uri)
    successor.pull()
    write(successor.folder, {"state.pt": b"epoch 6 again"})
    successor.push()
    write(pushed.folder, {"model.safetensors": b"late weights", "state.pt": b"epoch 7"})
    pushed.push()
    TrialFiles(tmp_path / "node_c", uri).pull()
    assert read(tmp_path / "node_c") == read(pushed.folder)

    write(successor.folder, {"state.pt": b"epoch 7 again"})
    successor.push()
    TrialFiles(tmp_path / "node_d", uri).pull()
    assert read(tmp_path / "node_d") == read(successor.folder) == FILES | {"state.pt": b"epoch 7 again"}


def test_temporary_files_and_subfolders_stay(tmp_path: Path, uri: str) -> None:
    folder = write(tmp_path / "node_a", {"model.json": b"{}", ".model.safetensors.1234.tmp": b"half"})
    write(folder / "refit_1", {"model.json": b"{}"})
    TrialFiles(folder, uri).push()
    TrialFiles(tmp_path / "node_b", uri).pull()

    assert read(tmp_path / "node_b") == {"model.json": b"{}"}


def test_a_damaged_copy_is_refused(pushed: TrialFiles, tmp_path: Path, uri: str) -> None:
    (weights,) = (tmp_path / "bucket" / "trial_0000").glob("*.safetensors")
    weights.write_bytes(b"weighty")

    with pytest.raises(DataError, match=r"model\.safetensors of node_b: its copy .* is damaged"):
        TrialFiles(tmp_path / "node_b", uri).pull()
    assert not (tmp_path / "node_b" / "model.safetensors").exists()


def test_of_a_trial_that_has_ended_only_the_results_stay(pushed: TrialFiles, tmp_path: Path, uri: str) -> None:
    successor = TrialFiles(tmp_path / "node_b", uri)
    successor.pull()
    write(successor.folder, {"model.safetensors": b"better weights"})
    successor.push()
    assert len(stored(tmp_path)) == 2 * len(FILES) + 1  # those of both processes, and the manifest
    successor.close(without=("state.pt", "state.previous.pt"))

    assert len(stored(tmp_path)) == 3
    TrialFiles(tmp_path / "node_c", uri).pull()
    assert read(tmp_path / "node_c") == {"model.safetensors": b"better weights", "model.json": b"{}"}


@settings(max_examples=30, deadline=None)
@given(pushes=st.lists(st.dictionaries(st.sampled_from(["a.pt", "b.pt", "c.json"]), st.binary(max_size=3)), max_size=5))
def test_any_sequence_of_pushes_ends_with_the_last_files(
    pushes: list[dict[str, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("pushes")
    files = TrialFiles(place / "node_a", (place / "bucket").as_uri())
    for content in pushes:
        for path in place.glob("node_a/*"):
            path.unlink()
        write(place / "node_a", content)
        files.push()
    TrialFiles(place / "node_b", (place / "bucket").as_uri()).pull()

    assert {path.name: path.read_bytes() for path in place.glob("node_b/*")} == (pushes[-1] if pushes else {})
    assert len(list(place.glob("bucket/*"))) <= 4


def test_without_a_storage_a_trial_works_in_its_folder(tmp_path: Path) -> None:
    with working_files(tmp_path / "trial_0000", None, tmp_path / "scratch") as files:
        assert files.folder == tmp_path / "trial_0000"
        files.push()
        files.pull()
    assert list(tmp_path.iterdir()) == []


def test_a_copy_to_work_with_is_fresh_and_does_not_stay(pushed: TrialFiles, tmp_path: Path, uri: str) -> None:
    scratch = tmp_path / "scratch"
    with working_files(tmp_path / "run", uri, scratch) as files:
        leftover = files.folder / "leftover"
        assert read(files.folder) == FILES
    write(leftover.parent, {"leftover": b"of a process that was killed"})

    def fail() -> None:
        with working_files(tmp_path / "run", uri, scratch):
            assert not leftover.exists()
            raise RuntimeError("training failed")

    with pytest.raises(RuntimeError, match="training failed"):
        fail()
    assert list(scratch.iterdir()) == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("uri", "below"),
    [
        ("s3://bucket/sed", "s3://bucket/sed/run/trials"),
        ("s3://bucket/sed/?region=eu-west-1", "s3://bucket/sed/run/trials?region=eu-west-1"),
        ("gs://bucket", "gs://bucket/run/trials"),
        ("file:///mnt/share", "file:///mnt/share/run/trials"),
    ],
)
def test_places_below_a_uri(uri: str, below: str) -> None:
    assert join_uri(uri, "run", "trials") == below


@pytest.mark.parametrize(
    "uri", ["", "runs", "nope://bucket", "s3:/", "s3://b/c?regoin=x", "file://host/x", "file:///a b"]
)
def test_a_wrong_uri_is_refused_before_anything_is_written(
    uri: str, tiny_space: Path, tiny_root: Path, tmp_path: Path, cache_dir: Path
) -> None:
    with pytest.raises(ConfigError, match=r"^--storage .*: cannot be used \(.*\); write s3://bucket/folder"):
        search.main(
            ["--space", str(tiny_space), "--data", str(tiny_root), "--out", str(tmp_path / "runs"), "--storage", uri]
        )
    assert list(tmp_path.iterdir()) == []


def test_the_place_of_another_run_is_refused(
    pushed: TrialFiles, tiny_space: Path, tiny_root: Path, tmp_path: Path, cache_dir: Path
) -> None:
    write(tmp_path / "bucket" / "mine" / "trials" / "trial_0000", FILES)
    with pytest.raises(ConfigError, match="holds the trials of a run; choose another --name"):
        search.main(
            [
                *("--space", str(tiny_space), "--data", str(tiny_root), "--out", str(tmp_path / "runs")),
                *("--name", "mine", "--storage", (tmp_path / "bucket").as_uri()),
            ]
        )


@pytest.fixture
def job(tiny_space: Path, tmp_path: Path) -> SearchJob:
    storage = (tmp_path / "bucket").as_uri()
    return SearchJob(load_space(tiny_space), tmp_path, tmp_path / "run", ("pretrain_ce",), 1.0, 1, 0.0, 0, storage)


def test_a_finished_trial_is_fetched_and_its_states_dropped(pushed: TrialFiles, job: SearchJob, tmp_path: Path) -> None:
    folder = job.run_dir / "trial_0000"
    Fetcher(job, lambda trial: folder).on_trial_complete(0, [], None)

    assert read(folder).keys() == {"model.safetensors", "model.json"}
    assert list((tmp_path / "bucket").rglob("*.pt")) == []


def test_what_cannot_be_fetched_is_told_and_tried_again(
    pushed: TrialFiles, job: SearchJob, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def down(self: Storage, name: str) -> bytes:
        raise OSError("the network is down")

    fetcher = Fetcher(job, lambda trial: job.run_dir / "trial_0000")
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "read", down)
        fetcher.on_trial_complete(0, [], None)
        assert "trial_0000 could not be fetched from the storage (the network is down)" in capsys.readouterr().out
        with pytest.raises(DataError, match="--resume fetches them"):
            fetch_all(job, fetcher.left)
    fetch_all(job, fetcher.left)

    assert read(job.run_dir / "trial_0000").keys() == {"model.safetensors", "model.json"}


def test_the_storage_is_part_of_the_run(
    tiny_space: Path, tiny_root: Path, tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainables.searching.setup import prepare

    arguments = ["--space", str(tiny_space), "--data", str(tiny_root), "--out", str(tmp_path), "--name", "x"]
    prepared = prepare(search.parse([*arguments, "--storage", "file:///mnt/share"]))
    prepared.run.write_search(prepared.record)
    again = prepare(search.parse(["--resume", "--out", str(tmp_path), "--name", "x"]))

    assert yaml.safe_load(prepared.run.search_file.read_text())["storage"] == "file:///mnt/share/x"
    assert again.job.storage == prepared.job.storage == "file:///mnt/share/x"
    with pytest.raises(ConfigError, match=r"leave out --storage"):
        prepare(search.parse(["--resume", "--out", str(tmp_path), "--name", "x", "--storage", "file:///x"]))
