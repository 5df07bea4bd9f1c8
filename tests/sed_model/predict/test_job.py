"""A folder of soundscapes of any kind becomes a complete submission, and sound events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from sed_model.audio.decoding import decode
from sed_model.core.errors import CheckpointError
from sed_model.model.checkpoint import load_model, save_model
from sed_model.model.devices import Runtime
from sed_model.predict.ensemble import Ensemble, Joining, load_ensemble
from sed_model.predict.job import PredictJob, predict_soundscapes
from sed_model.predict.name_priors import NamePrior
from sed_model.predict.postprocess import PostSettings
from sed_model.predict.soundscapes import ScoreOptions, Task, score_soundscape
from sed_model.predict.window_scores import predict_members
from tests.sed_model.mp3_in_wav import mp3_frames, write_mp3_in_wav

CLASSES = ["1139490", "abethr1", "grekis"]
CPU = Runtime(torch.device("cpu"), None)
PLAIN = PostSettings(frame_weight=0.0)


@pytest.fixture(scope="module")
def ensemble(tiny_models: Sequence[Path]) -> Ensemble:
    return load_ensemble(tiny_models)


@pytest.fixture(scope="module")
def soundscapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What recorders leave behind: other rates, stereo, less than a window, silence, half a file, no audio at all."""
    folder, rng = tmp_path_factory.mktemp("input") / "soundscapes", np.random.default_rng(0)
    folder.mkdir()

    def write(name: str, rate_hz: int, shape: tuple[int, ...], level: float = 0.1) -> None:
        soundfile.write(folder / name, level * rng.standard_normal(shape), rate_hz, subtype="PCM_16")

    write("a_whole.wav", 8_000, (48_000,))
    write("b_stereo.flac", 44_100, (44_100 * 3, 2))
    write("c_partial.wav", 22_050, (round(22_050 * 2.4),))
    write("d_short.wav", 48_000, (24_000,))
    write("e_silent.wav", 8_000, (16_000,), level=0.0)
    write("f_half.flac", 8_000, (32_000,))
    content = (folder / "f_half.flac").read_bytes()
    (folder / "f_half.flac").write_bytes(content[: len(content) // 2])
    (folder / "g_empty.ogg").write_bytes(b"")
    return folder


def table_of(job: PredictJob, ensemble: Ensemble) -> tuple[pd.DataFrame, list[str]]:
    """The submission, and what was reported."""
    lines: list[str] = []
    predict_soundscapes(job, ensemble, lines.append)
    return pd.read_csv(job.out).set_index("row_id"), lines


def test_it_tells_how_many_soundscapes_a_prior_of_places_knows(
    ensemble: Ensemble, soundscapes: Path, tmp_path: Path
) -> None:
    prior = NamePrior(pattern="^(?P<site>[ab])", classes=tuple(CLASSES), shifts={"site=a": (1.0, 0.0, -1.0)})
    job = PredictJob(soundscapes, tmp_path / "out.csv", post=PostSettings(prior=prior))
    assert "prior of places: the names of 1 of 7 soundscapes tell one that it knows" in table_of(job, ensemble)[1]


def test_every_soundscape_has_its_rows(soundscapes: Path, ensemble: Ensemble, tmp_path: Path) -> None:
    job = PredictJob(soundscapes, tmp_path / "submission.csv", events=tmp_path / "events", n_threads=2)
    lines: list[str] = []
    done = predict_soundscapes(job, ensemble, lines.append)
    table = pd.read_csv(job.out).set_index("row_id")

    counts = table.index.str.rsplit("_", n=1).str[0].value_counts(sort=False).to_dict()
    assert counts == {
        "a_whole": 6, "b_stereo": 3, "c_partial": 3, "d_short": 1, "e_silent": 2, "f_half": 4, "g_empty": 3
    }  # fmt: skip
    assert list(table.columns) == CLASSES
    assert list(table.index[:6]) == [f"a_whole_{end_s}" for end_s in range(1, 7)]
    empty = table.index.str.match("[efg]_")
    assert (table[empty] == 0).all(axis=None)
    assert (table[~empty] > 0).all(axis=None)
    assert (done.n_files, done.n_rows, len(done.bad)) == (7, 22, 2)
    assert [line for line in lines if line.startswith("cannot be read, its rows are 0: f_half.flac: ")]
    assert [line for line in lines if "g_empty.ogg" in line and "0 bytes" in line]
    assert lines[-2].startswith("7/7 files")
    names = {path.name for path in (tmp_path / "events").iterdir()}
    assert names == {"events.csv"} | {
        f"{path.stem}.{kind}.txt"
        for path in soundscapes.iterdir()
        for kind in ("labels", "selections")
        if path.stem[0] not in "fg"
    }


def test_rows_are_the_members_weighted_mean(soundscapes: Path, tiny_models: list[Path], tmp_path: Path) -> None:
    weighted = load_ensemble(tiny_models, Joining((3.0, 1.0)))
    table, _ = table_of(PredictJob(soundscapes, tmp_path / "out.csv", post=PLAIN), weighted)

    waveform = decode(soundscapes / "a_whole.wav", 8_000)
    by_member = [one.clip for one in predict_members(weighted.members, waveform, np.arange(6.0), CPU)]
    expected = 0.75 * by_member[0] + 0.25 * by_member[1]
    np.testing.assert_allclose(table[:6].to_numpy(), expected, atol=1e-5)


def test_threads_do_not_change_a_number(soundscapes: Path, ensemble: Ensemble, tmp_path: Path) -> None:
    for n_threads in (1, 3):
        predict_soundscapes(
            PredictJob(soundscapes, tmp_path / f"{n_threads}.csv", n_threads=n_threads), ensemble, lambda line: None
        )
    assert (tmp_path / "1.csv").read_text() == (tmp_path / "3.csv").read_text()


def test_shifted_windows_are_those_of_the_shifted_starts(soundscapes: Path, ensemble: Ensemble) -> None:
    task = Task(soundscapes / "a_whole.wav")
    scores = score_soundscape(ensemble.members, task, ScoreOptions(shift_s=0.5), CPU)
    waveform = decode(task.path, 8_000)

    def clip_at(*starts_s: float) -> np.ndarray:
        members = predict_members(ensemble.members, waveform, np.array(starts_s), CPU)
        return np.stack([one.clip for one in members])

    shifted = (clip_at(0.0, 0.5, 1.5, 2.5, 3.5, 4.5) + clip_at(0.5, 1.5, 2.5, 3.5, 4.5, 5.0)) / 2
    np.testing.assert_allclose(scores.parts.shifted, shifted, atol=1e-5)
    np.testing.assert_allclose(scores.parts.clip, clip_at(0.0, 1.0, 2.0, 3.0, 4.0, 5.0), atol=1e-5)


def test_without_a_shift_the_shifted_windows_are_the_windows(soundscapes: Path, ensemble: Ensemble) -> None:
    scores = score_soundscape(ensemble.members, Task(soundscapes / "a_whole.wav"), ScoreOptions(), CPU)
    np.testing.assert_array_equal(scores.parts.shifted, scores.parts.clip)
    np.testing.assert_array_equal(scores.parts.best, scores.best_alone)
    assert scores.frames.shape == (2, 60, 3)


def test_frames_beyond_the_silence_are_kept_and_those_in_it_are_not(tmp_path: Path, ensemble: Ensemble) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    noise[8_000:] = 0
    soundfile.write(tmp_path / "half.wav", noise, 8_000)
    scores = score_soundscape(ensemble.members, Task(tmp_path / "half.wav"), ScoreOptions(), CPU)
    assert scores.parts.silent.tolist() == [[False, True]] * 2
    assert scores.silent_frames.tolist() == [False] * 10 + [True] * 10


def test_files_whose_length_is_not_that_of_the_header_are_counted(tmp_path: Path, ensemble: Ensemble) -> None:
    folder = tmp_path / "soundscapes"
    folder.mkdir()
    stream = b"".join(mp3_frames(tmp_path / "x.mp3", 0.3 * np.sin(np.arange(15_680) / 3), 8_000))
    write_mp3_in_wav(folder / "open.wav", stream, 8_000, n_announced=2**32 - 1)
    write_mp3_in_wav(folder / "whole.wav", stream, 8_000)
    _, lines = table_of(PredictJob(folder, tmp_path / "out.csv"), ensemble)
    assert lines[-1] == (
        "1 of 2 audio files leave their length open, as what is written into a pipe does; they are read to the end of "
        "the file"
    )


def test_a_step_below_a_window_gives_more_rows(soundscapes: Path, ensemble: Ensemble, tmp_path: Path) -> None:
    table, _ = table_of(PredictJob(soundscapes, tmp_path / "out.csv", step_s=0.5), ensemble)
    assert list(table.index[:3]) == ["a_whole_1", "a_whole_1.5", "a_whole_2"]
    assert len([name for name in table.index if name.startswith("a_whole")]) == 11


def test_a_sample_that_lists_all_files_decides_rows_and_columns(
    soundscapes: Path, ensemble: Ensemble, tmp_path: Path
) -> None:
    """Its own order, only its windows, zeros for a soundscape that is not there and for a class that is unknown."""
    stems = sorted(path.stem for path in soundscapes.iterdir())
    row_ids = ["gone_1", "a_whole_3", "a_whole_2", *(f"{stem}_1" for stem in stems[1:])]
    sample = tmp_path / "sample.csv"
    sample.write_text("\n".join(["row_id,grekis,emu,1139490,abethr1", *(f"{name},0,0,0,0" for name in row_ids)]))
    table, lines = table_of(PredictJob(soundscapes, tmp_path / "out.csv", sample, post=PLAIN), ensemble)
    every, _ = table_of(PredictJob(soundscapes, tmp_path / "every.csv", post=PLAIN), ensemble)

    assert list(table.index) == row_ids
    assert list(table.columns) == ["grekis", "emu", "1139490", "abethr1"]
    assert (table["emu"] == 0).all()
    assert (table.loc["gone_1"] == 0).all()
    known = ["a_whole_3", "a_whole_2", "b_stereo_1", "d_short_1"]
    pd.testing.assert_frame_equal(table.loc[known, CLASSES], every.loc[known, CLASSES], atol=1e-5)
    assert "1 soundscapes of sample.csv are not there, their rows are 0: gone" in lines
    assert "1 classes that the models do not know get 0: emu" in lines


def test_a_sample_that_lists_some_files_is_an_example(soundscapes: Path, ensemble: Ensemble, tmp_path: Path) -> None:
    sample = tmp_path / "sample.csv"
    sample.write_text("row_id,1139490,abethr1,grekis\na_whole_1,0,0,0\n")
    table, lines = table_of(PredictJob(soundscapes, tmp_path / "out.csv", sample), ensemble)
    assert len(table) == 22
    assert lines[0] == "sample.csv lists 1 of 7 soundscapes: taken as an example of the columns"


def test_members_that_do_not_fit_together_are_refused(
    tiny_models: list[Path], tmp_path: Path, ensemble: Ensemble
) -> None:
    first = load_model(tiny_models[0])
    lineage = first.lineage.model_copy(update={"classes": ("1139490", "abethr1", "wolf")})
    save_model(tmp_path / "other", first.model.state_dict(), first.config, lineage)
    with pytest.raises(CheckpointError, match=r"other: its classes .*grekis, wolf are known to one"):
        load_ensemble([tiny_models[0], tmp_path / "other"])
    longer = first.config.with_overrides({"data.target_s": 1.5})
    save_model(tmp_path / "longer", first.model.state_dict(), longer, first.lineage)
    with pytest.raises(CheckpointError, match=r"longer: its data.target_s=1.5 is not the 1.0"):
        load_ensemble([tiny_models[0], tmp_path / "longer"])


def test_a_macs_notes_are_no_soundscapes_and_the_sample_keeps_its_rows(ensemble: Ensemble, tmp_path: Path) -> None:
    """`._one.wav` made four soundscapes of two, which the sample does not list: its rows were given up."""
    folder = tmp_path / "test_soundscapes"
    folder.mkdir()
    for name in ("one", "two"):
        soundfile.write(folder / f"{name}.wav", np.zeros(16_000), 8_000)
        (folder / f"._{name}.wav").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(100))
    asked = [f"{name}_{end}" for name in ("two", "one") for end in (2, 1)]
    (tmp_path / "sample_submission.csv").write_text(
        f"row_id,{','.join(CLASSES)}\n" + "".join(f"{name},0,0,0\n" for name in asked)
    )
    table, lines = table_of(PredictJob(folder, tmp_path / "out.csv"), ensemble)

    assert table.index.to_list() == asked
    assert "left out: a Mac's notes on files in test_soundscapes (._*), no recordings: 2" in lines


def test_recorders_folders_are_predicted_and_their_events_stay_apart(ensemble: Ensemble, tmp_path: Path) -> None:
    folder = tmp_path / "scapes"
    for site in "AB":
        (folder / site).mkdir(parents=True)
        soundfile.write(folder / site / "060000.wav", np.zeros(16_000), 8_000)
    job = PredictJob(folder, tmp_path / "out.csv", events=tmp_path / "events", recursive=True)
    table, _ = table_of(job, ensemble)

    assert table.index.to_list() == ["A/060000_1", "A/060000_2", "B/060000_1", "B/060000_2"]
    written = sorted(path.relative_to(tmp_path / "events").as_posix() for path in (tmp_path / "events").rglob("*.txt"))
    assert written == [f"{site}/060000.{kind}.txt" for site in "AB" for kind in ("labels", "selections")]


def test_a_sample_that_asks_for_labels_is_told_and_not_followed(
    soundscapes: Path, ensemble: Ensemble, tmp_path: Path
) -> None:
    """2021's has the columns row_id and birds."""
    folder = tmp_path / "test_soundscapes"
    folder.mkdir()
    soundfile.write(folder / "one.wav", np.zeros(8_000), 8_000)
    (tmp_path / "sample_submission.csv").write_text("row_id,birds\none_5,nocall\n")
    table, lines = table_of(PredictJob(folder, tmp_path / "out.csv"), ensemble)

    assert list(table.columns) == CLASSES
    assert any("whose column birds asks for labels" in line for line in lines)


def test_members_of_one_name_are_told_apart_by_their_folders(tiny_models: list[Path], tmp_path: Path) -> None:
    first = load_model(tiny_models[0])
    folders = [tmp_path / "trial_0000" / "part_0", tmp_path / "trial_0001" / "part_0"]
    for folder, target_s in zip(folders, (1.0, 1.5), strict=True):
        config = first.config.with_overrides({"data.target_s": target_s})
        save_model(folder, first.model.state_dict(), config, first.lineage)
    with pytest.raises(CheckpointError, match=r"trial_0001/part_0: its .* is not the 1.0 of trial_0000/part_0"):
        load_ensemble(folders)
