import base64
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from PIL import Image

from analysis.windows import (
    Clip,
    FrontEnd,
    choose_windows,
    frequency_ticks,
    front_end_of,
    log_mel,
    picture_uri,
    read_clip,
    sound_uri,
)
from sed_model.audio.decoding import decode
from sed_model.run_folder.predictions import OutOfFold
from tests.sed_model.mp3_in_wav import chunk, mp3_frames, write_mp3_in_wav

FRONT_END = FrontEnd(16000, 512, 160, 64, 50.0, 8000.0, 80.0)


def tone(hz: float, rate_hz: int = 16000, duration_s: float = 1.0) -> np.ndarray:
    return (0.1 * np.sin(2 * np.pi * hz * np.arange(round(rate_hz * duration_s)) / rate_hz)).astype(np.float32)


def test_windows_are_chosen_by_the_margin_one_a_file() -> None:
    windows = (("x", 0.0, 5.0), ("x", 5.0, 10.0), ("y", 0.0, 5.0), ("z", 0.0, 5.0))
    target = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], np.float32)
    probabilities = np.array([[0.9, 0.1], [0.8, 0.1], [0.7, 0.2], [0.5, 0.5]], np.float32)

    chosen = choose_windows(OutOfFold(("a", "b"), windows, target, probabilities), n_each=2)

    # Margins 0.8, 0.7, -0.5; z has no class, and of x the better window is shown.
    assert chosen["filename"].tolist() == ["x", "y", "x"]
    assert chosen["place"].tolist() == ["best", "best", "worst"]
    assert chosen["margin"].tolist() == pytest.approx([0.8, -0.5, 0.7])
    assert (chosen["labels"].iloc[1], chosen["top_class"].iloc[1]) == (["b"], "a")


def test_a_window_of_a_stereo_file_is_read_as_mono(tmp_path: Path) -> None:
    left, right = tone(440, duration_s=3.0), np.zeros(48000, np.float32)
    sf.write(tmp_path / "two.flac", np.stack([left, right], axis=1), 16000)

    clip = read_clip(tmp_path / "two.flac", 1.0, 2.0)

    assert clip.rate_hz == 16000
    assert clip.waveform == pytest.approx(left[16000:32000] / 2, abs=1e-4)


def test_a_window_behind_the_end_is_an_error(tmp_path: Path) -> None:
    sf.write(tmp_path / "short.wav", tone(440), 16000)

    with pytest.raises(ValueError, match="ends before 5 s"):
        read_clip(tmp_path / "short.wav", 5.0, 10.0)


def test_mp3_in_wav_is_played_and_where_libsndfile_fails_it_is_named(tmp_path: Path) -> None:
    """Training reads both files to their ends; libsndfile takes what lies behind the sound for more of the MP3."""
    stream = b"".join(mp3_frames(tmp_path / "x.mp3", tone(440, duration_s=8.0), 16_000))
    write_mp3_in_wav(tmp_path / "plain.wav", stream, 16_000)
    write_mp3_in_wav(tmp_path / "notes.wav", stream, 16_000, last=chunk(b"LIST", b"INFO" + bytes(6_000)))

    for name in ("plain.wav", "notes.wav"):
        clip = read_clip(tmp_path / name, 2.0, 7.0)
        assert np.abs(np.fft.rfft(clip.waveform)).argmax() / 5.0 == pytest.approx(440, abs=0.5)
        assert len(decode(tmp_path / name, 16_000, start_s=5.0)) > 2.9 * 16_000
    with pytest.raises(ValueError, match="libsndfile alone, which plays sounds here, cannot read it"):
        read_clip(tmp_path / "notes.wav", 5.0, 10.0)


def test_a_tone_is_loudest_at_its_height() -> None:
    levels = log_mel(Clip(tone(2000), 16000), FRONT_END)

    height = levels.mean(axis=1).argmax() / FRONT_END.n_mels
    mel = [2595 * np.log10(1 + hz / 700) for hz in (50, 2000, 8000)]
    assert levels.shape == (64, 101)
    assert levels.max() == 1
    assert height == pytest.approx((mel[1] - mel[0]) / (mel[2] - mel[0]), abs=0.03)


def test_the_ends_of_the_axis_are_those_of_the_front_end() -> None:
    ticks = frequency_ticks(FRONT_END)

    assert (ticks[0.0], ticks[1.0]) == ("0.05", "8")


def test_the_picture_has_a_pixel_a_band_and_frame() -> None:
    png = base64.b64decode(
        picture_uri(np.random.default_rng(0).random((20, 30))).removeprefix("data:image/png;base64,")
    )

    assert Image.open(io.BytesIO(png)).size == (30, 20)


@pytest.mark.parametrize(("rate_hz", "written_hz"), [(32000, 32000), (12345, 32000)])
def test_the_sound_plays_the_clip(rate_hz: int, written_hz: int) -> None:
    uri = sound_uri(Clip(tone(440, rate_hz, 2.0), rate_hz))

    samples, rate = sf.read(io.BytesIO(base64.b64decode(uri.removeprefix("data:audio/mpeg;base64,"))))
    assert rate == written_hz
    assert len(samples) / rate == pytest.approx(2.0, abs=0.1)
    assert np.abs(samples).max() == pytest.approx(0.9, abs=0.05)


def test_a_configuration_without_a_front_end_is_told() -> None:
    with pytest.raises(ValueError, match="front_end lacks n_fft"):
        front_end_of({"front_end": {"sample_rate_hz": 16000, "hop_length": 1, "n_mels": 1, "f_min_hz": 0,
                                    "f_max_hz": 1, "top_db": 80}})  # fmt: skip
