import os
import pickle
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sed_model.audio.decoder_notes import without_notes
from sed_model.audio.decoding import UnreadableAudioError, decode, duration_s
from sed_model.audio.odd_lengths import OddLength
from sed_model.core.errors import AudioError
from tests.sed_model.mp3_in_wav import chunk, mp3_frames, write_mp3_in_wav

RATE = 32_000


def tone(duration_s: float, rate: int = RATE, frequency_hz: float = 1000.0, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(round(duration_s * rate)) / rate)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left = tone(1.0)
    soundfile.write(tmp_path / "x.wav", np.stack([left, np.zeros_like(left)], axis=1), RATE, subtype="FLOAT")
    wave = decode(tmp_path / "x.wav", RATE)
    assert wave.dtype == np.float32
    np.testing.assert_allclose(wave, left / 2, atol=1e-6)


@pytest.mark.parametrize("rate", [22_050, 48_000])
def test_other_rates_are_resampled(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "x.wav", tone(2.0, rate), rate, subtype="FLOAT")
    wave = decode(tmp_path / "x.wav", RATE)
    assert len(wave) == 2 * RATE
    inside = slice(RATE // 2, 3 * RATE // 2)
    np.testing.assert_allclose(wave[inside], tone(2.0)[inside], atol=1e-3)


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3", "wav"])
def test_every_format_is_read(tmp_path: Path, suffix: str) -> None:
    soundfile.write(tmp_path / f"x.{suffix}", tone(1.0), RATE)
    wave = decode(tmp_path / f"x.{suffix}", RATE)
    assert np.sqrt(np.mean(wave[3200:-3200] ** 2)) == pytest.approx(
        0.5 / np.sqrt(2), rel=0.12
    )  # mp3 and ogg lose a little


@pytest.mark.parametrize("subtype", ["PCM_U8", "ALAW", "ULAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"])
def test_old_codecs_at_an_odd_rate_are_read(tmp_path: Path, subtype: str) -> None:
    """3 s at 11,127 Hz, as old recorders and converters wrote WAV; a codec fills its last block up with silence."""
    soundfile.write(tmp_path / "x.wav", tone(3.0, 11_127), 11_127, subtype=subtype)
    wave = decode(tmp_path / "x.wav", RATE)
    assert 3 * RATE <= len(wave) + 1 <= 3.07 * RATE
    inside = wave[RATE : 2 * RATE]
    assert np.sqrt(np.mean(inside**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    assert np.abs(np.fft.rfft(inside)).argmax() == 1000


def test_a_part_is_cut_out_in_seconds(tmp_path: Path) -> None:
    ramp = np.linspace(0, 0.9, 4 * RATE)
    soundfile.write(tmp_path / "x.wav", ramp, RATE, subtype="FLOAT")
    wave = decode(tmp_path / "x.wav", RATE, max_s=0.5, start_s=1.5)
    np.testing.assert_allclose(wave, ramp[round(1.5 * RATE) : 2 * RATE], atol=1e-6)


def write_bad(path: Path) -> Path:
    """A file that is bad in the way that its stem says."""
    match path.stem:
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("no audio")
        case "silent":
            soundfile.write(path, np.zeros(0), RATE)
        case "nan" | "inf":
            soundfile.write(path, np.array([0.1, float(path.stem), 0.1]), RATE, subtype="FLOAT")
        case "broken":
            soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 6 * RATE), RATE)
            content = path.read_bytes()
            middle = len(content) // 2
            path.write_bytes(content[:middle] + bytes(2000) + content[middle + 2000 :])
    return path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.ogg", r"the file is empty \(0 bytes\)"), ("text.flac", "is no readable audio"),
        ("text.mp3", "is no readable audio"), ("silent.wav", "has no samples from 0 s on"),
        ("nan.wav", "holds NaN or Inf samples"), ("inf.wav", "holds NaN or Inf samples"),
        ("broken.flac", "is no readable audio .*lost sync"), ("broken.ogg", r"breaks off after 5\.\d\d of 6\.00 s"),
        ("gone.wav", "the file is not there"),
    ],
)  # fmt: skip
def test_bad_audio_is_an_error_with_path_and_reason(tmp_path: Path, name: str, reason: str) -> None:
    """Fault 14 of the reference: a failed file became a labelled silence."""
    path = write_bad(tmp_path / name)
    with pytest.raises(AudioError, match=rf"{name}: {reason}"):
        decode(path, RATE)


@pytest.mark.parametrize("suffix", ["wav", "aiff", "ogg", "flac"])
def test_the_first_half_of_a_file_is_no_shorter_recording(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 6 * RATE), RATE)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableAudioError, match=r"breaks off|lost sync"):
        decode(path, RATE)


def test_a_few_samples_less_than_announced_are_no_damage(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", tone(2.0), RATE)
    content = (tmp_path / "x.wav").read_bytes()
    (tmp_path / "x.wav").write_bytes(content[:-100])
    assert len(decode(tmp_path / "x.wav", RATE)) == 2 * RATE - 50


def test_a_start_past_the_end_is_an_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", tone(1.0), RATE)
    with pytest.raises(UnreadableAudioError, match="has no samples from 3 s on"):
        decode(tmp_path / "x.wav", RATE, start_s=3)


def test_a_folder_is_no_audio(tmp_path: Path) -> None:
    with pytest.raises(UnreadableAudioError, match="is no readable audio"):
        decode(tmp_path, RATE)


def test_the_error_crosses_processes() -> None:
    error = pickle.loads(pickle.dumps(UnreadableAudioError("x.ogg", "is short")))  # noqa: S301
    assert str(error) == "x.ogg: is short; replace or remove the file."


def test_duration_comes_from_the_header(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.flac", tone(1.5), RATE)
    assert duration_s(tmp_path / "x.flac") == 1.5
    assert duration_s(tmp_path / "gone.flac") == 0.0


@pytest.fixture
def mp3_stream(tmp_path: Path) -> bytes:
    """1.15 s at 8 kHz: 16 frames of 576 samples, each of 288 bytes; 9,216 samples."""
    frames = mp3_frames(tmp_path / "x.mp3", tone(0.98, 8_000, 440.0) + tone(0.98, 8_000, 1700.0) / 4, 8_000)
    assert [len(frame) for frame in frames] == [288] * 16
    return b"".join(frames)


def test_an_mp3_in_wav_that_lacks_its_padding_is_read_and_counted(tmp_path: Path, mp3_stream: bytes) -> None:
    """The length comes from the bytes; half of the last frame is no frame: 8,640 of 9,272 samples, 0.932 of them."""
    path = tmp_path / "y.wav"
    write_mp3_in_wav(path, mp3_stream[:-30], 8_000)
    told: list[OddLength] = []
    assert len(decode(path, 8_000, on_odd=told.append)) == 15 * 576
    assert soundfile.info(path).frames == 9_272
    assert told == [OddLength(padding_s=(9_272 - 8_640) / 8_000)]
    write_mp3_in_wav(path, mp3_stream, 8_000)
    assert len(decode(path, 8_000, on_odd=told.append)) == 16 * 576
    assert len(told) == 1


@pytest.mark.parametrize("n_lost", [1_500, 4_000])
def test_an_mp3_in_wav_that_is_cut_off_is_an_error(tmp_path: Path, mp3_stream: bytes, n_lost: int) -> None:
    path = tmp_path / "y.wav"
    write_mp3_in_wav(path, mp3_stream[:-n_lost], 8_000, n_announced=len(mp3_stream))
    with pytest.raises(UnreadableAudioError, match=rf"breaks off: {4_608 - n_lost} of 4608 bytes of sound are there"):
        decode(path, 8_000)
    # As a download that was broken off on a disk that had reserved the room.
    write_mp3_in_wav(path, mp3_stream[:-n_lost] + bytes(n_lost), 8_000)
    with pytest.raises(UnreadableAudioError, match=r"is no readable audio|breaks off after"):
        decode(path, 8_000)


METADATA = {
    "JUNK before the format": {"first": chunk(b"JUNK", bytes(6_000))},
    "LIST before the sound": {"between": chunk(b"LIST", b"INFOICMT" + b"x" * 2_992)},
    "LIST behind the sound": {"last": chunk(b"LIST", b"INFOICMT" + b"x" * 2_992)},
    "id3 behind the sound": {"last": chunk(b"id3 ", b"ID3" + b"x" * 19_997)},
}


@pytest.mark.parametrize("where", METADATA)
def test_an_mp3_in_wav_is_read_among_metadata(
    tmp_path: Path, mp3_stream: bytes, where: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """libsndfile by itself takes the whole file for MP3, and finds less than the header promises."""
    write_mp3_in_wav(tmp_path / "plain.wav", mp3_stream, 8_000)
    path = tmp_path / "y.wav"
    write_mp3_in_wav(path, mp3_stream, 8_000, **METADATA[where])
    told: list[OddLength] = []

    assert np.array_equal(decode(path, 8_000, on_odd=told.append), decode(tmp_path / "plain.wav", 8_000))
    assert duration_s(path) == duration_s(tmp_path / "plain.wav")
    assert (told, capfd.readouterr().err) == ([], "")


def test_an_mp3_in_wav_that_is_cut_off_is_an_error_among_metadata(tmp_path: Path, mp3_stream: bytes) -> None:
    path = tmp_path / "y.wav"
    write_mp3_in_wav(path, mp3_stream[:-1_500], 8_000, len(mp3_stream), first=chunk(b"JUNK", bytes(6_000)))
    with pytest.raises(UnreadableAudioError, match=r"breaks off: 3108 of 4608 bytes of sound are there"):
        decode(path, 8_000)
    last = chunk(b"LIST", b"INFOICMT" + b"x" * 2_992)
    write_mp3_in_wav(path, mp3_stream[:-1_500] + bytes(1_500), 8_000, last=last)
    with pytest.raises(UnreadableAudioError, match=r"is no readable audio|breaks off after"):
        decode(path, 8_000)


def test_notes_on_mp3_whose_format_comes_late_stay_out_of_the_terminal(
    tmp_path: Path, mp3_stream: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "y.wav"
    write_mp3_in_wav(path, mp3_stream + bytes(300), 8_000, first=chunk(b"JUNK", bytes(6_000)))
    assert len(decode(path, 8_000)) == 16 * 576
    assert capfd.readouterr().err == ""


def write_open_wav(path: Path, n_announced: int, n_riff: int, n_extra: int = 0) -> np.ndarray:
    """Noise of one second in 16 bits, with these lengths in the header; `n_extra` chunks behind an empty one."""
    samples = np.random.default_rng(0).integers(-9_000, 9_000, RATE).astype("<i2")
    form = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16))
    behind = chunk(b"LIST", b"INFOICMT" + b"x" * 100) * n_extra if n_extra else samples.tobytes()
    head = form + chunk(b"LIST", b"INFOISFT" + b"x" * 26) + b"data" + struct.pack("<I", n_announced)
    path.write_bytes(b"RIFF" + struct.pack("<I", n_riff) + b"WAVE" + head + behind)
    return samples / np.float32(32_768)


@pytest.mark.parametrize(
    ("n_announced", "n_riff"),
    [(2**32 - 1, 2**32 - 1), (0x7FFFF000, 0x7FFFF024), (0, 0), (0, 78), (0, 64_078)],
    ids=["FFmpeg", "SoX", "GStreamer", "killed", "data alone"],
)
def test_a_wav_of_open_length_is_read_to_its_end_and_counted(tmp_path: Path, n_announced: int, n_riff: int) -> None:
    path = tmp_path / "y.wav"
    samples = write_open_wav(path, n_announced, n_riff)
    told: list[OddLength] = []

    np.testing.assert_array_equal(decode(path, RATE, on_odd=told.append), samples)
    assert told == [OddLength(is_open=True)]
    assert duration_s(path) == 1.0


def test_a_wav_without_sound_is_not_read_as_the_metadata_behind_it(tmp_path: Path) -> None:
    write_open_wav(tmp_path / "y.wav", 0, 312, n_extra=2)
    with pytest.raises(UnreadableAudioError, match="has no samples from 0 s on"):
        decode(tmp_path / "y.wav", RATE)


def test_an_mp3_in_wav_of_open_length_is_read_to_its_end(tmp_path: Path, mp3_stream: bytes) -> None:
    path = tmp_path / "y.wav"
    write_mp3_in_wav(path, mp3_stream, 8_000, n_announced=2**32 - 1)
    told: list[OddLength] = []
    assert len(decode(path, 8_000, on_odd=told.append)) == 16 * 576
    assert told == [OddLength(is_open=True)]


def test_the_notes_of_the_decoder_stay_out_of_the_terminal_and_nothing_else_does(
    tmp_path: Path, mp3_stream: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "y.wav"
    write_mp3_in_wav(path, mp3_stream + bytes(300), 8_000)
    with soundfile.SoundFile(path) as file:
        file.read()
    assert "Note: Illegal Audio-MPEG-Header" in capfd.readouterr().err  # what libsndfile's decoder says by itself

    with ThreadPoolExecutor(4) as pool:
        waves = list(pool.map(lambda _: decode(path, 8_000), range(20)))
    assert duration_s(path) > 1
    print("from this side", file=sys.stderr)
    assert {len(wave) for wave in waves} == {16 * 576}
    assert capfd.readouterr().err == "from this side\n"

    with without_notes():
        os.write(2, b"one\nNote: Trying to resync...\ntwo\n")
        with without_notes():
            os.write(2, b"three")
    os.write(2, b"\nfour\n")
    assert capfd.readouterr().err == "one\ntwo\nthree\nfour\n"
