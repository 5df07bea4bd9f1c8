"""The spectral backend: each transform against audiomentations on the waveform, and its draws."""

import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import audiomentations as a
import numpy as np
import pytest
import scipy.signal
import soundfile
import soxr
import torch
from torchaudio.functional import phase_vocoder

from sed_model.audio.decoding import decode
from sed_model.augment.sound_folders import open_rooms
from sed_model.augment.spectral import SpectralFrontEnd, SpectralImages
from sed_model.augment.wave_draw import Background, Filter, Limit, Span, WaveDraw, draw_wave, filter_power
from sed_model.config.augment import WaveAugment
from sed_model.config.sed_config import FrontEnd
from sed_model.core.errors import ConfigError
from sed_model.model.fast_mel import shared_fast_mel, shared_short_mel

RATE_HZ = 32_000
N_SAMPLES = 3 * RATE_HZ
OFF = {name: 0.0 for name in WaveAugment.model_fields if name.endswith("_prob")}
EDGE_FRAMES = 4


@pytest.fixture(scope="module")
def spectral() -> SpectralFrontEnd:
    return SpectralFrontEnd(FrontEnd(), WaveAugment(prob=1))


@pytest.fixture(scope="module")
def short_spectral() -> SpectralFrontEnd:
    return SpectralFrontEnd(FrontEnd(), WaveAugment(prob=1), short=True)


def plain_log_mel(waveform: np.ndarray, short: bool = False) -> np.ndarray:
    """Without augmentation."""
    return (shared_short_mel if short else shared_fast_mel)(FrontEnd()).log_mel(waveform)


@pytest.fixture(scope="module")
def calls() -> list[np.ndarray]:
    """Calls over a noise floor: swept harmonics, rapid pulses and filtered bursts."""
    rng = np.random.default_rng(0)
    time_s = np.arange(N_SAMPLES) / RATE_HZ
    clips = []
    for pitch_hz, wobble_hz, beat_hz in [(900, 5, 3), (2500, 2, 7), (400, 1, 1.5)]:
        phase = 2 * np.pi * (pitch_hz * time_s + 0.03 * pitch_hz * np.sin(2 * np.pi * wobble_hz * time_s) / wobble_hz)
        harmonics = sum(np.sin(k * phase) / k for k in range(1, 6))
        rhythm = np.clip(np.sin(2 * np.pi * beat_hz * time_s), 0, 1) ** 2
        floor = np.cumsum(rng.standard_normal(N_SAMPLES))
        floor = scipy.signal.sosfilt(scipy.signal.butter(2, 100, "highpass", fs=RATE_HZ, output="sos"), floor)
        clips.append(0.2 * harmonics * rhythm + 0.003 * floor + 0.003 * rng.standard_normal(N_SAMPLES))
    return [clip.astype(np.float32) for clip in clips]


def difference_db(got: np.ndarray, wanted: np.ndarray, range_db: float = 60.0) -> float:
    """Mean absolute difference of two log-mels over what lies within `range_db` of the loudest point in either."""
    heard = np.maximum(got, wanted) > 1 - range_db / 80
    heard[:, :EDGE_FRAMES] = heard[:, -EDGE_FRAMES:] = False
    return 80 * float(np.abs(got - wanted)[heard].mean())


def mean_difference_db(
    spectral: SpectralFrontEnd, clips: list[np.ndarray], by_wave: Callable[..., np.ndarray], draw: WaveDraw
) -> float:
    pairs = [(spectral.render(c, draw), plain_log_mel(by_wave(c, RATE_HZ), spectral.short)) for c in clips]
    return float(np.mean([difference_db(got, wanted) for got, wanted in pairs]))


def room(number: int) -> Callable[[np.ndarray, int], np.ndarray]:
    return lambda x, rate_hz: scipy.signal.oaconvolve(x, open_rooms(WaveAugment(), rate_hz).response(number))[: len(x)]


# Limits are what was measured on these clips, rounded up. On 32 real recordings (bird calls and ESC-10, 5 s each) the
# means were 0.9-1.5 dB for pitch, 0.9-1.7 for stretch, 0.1-0.2 for filters, 0.8-1.9 for rooms, 0.9-2.5 for the limiter.
CASES: list[tuple[str, Any, WaveDraw, float]] = [
    ("pitch -4", a.PitchShift(-4, -4, p=1), WaveDraw(pitch_semitones=-4.0), 1.8),
    ("pitch -1", a.PitchShift(-1, -1, p=1), WaveDraw(pitch_semitones=-1.0), 1.8),
    ("pitch +4", a.PitchShift(4, 4, p=1), WaveDraw(pitch_semitones=4.0), 1.8),
    ("stretch 0.8", a.TimeStretch(0.8, 0.8, p=1), WaveDraw(stretch_rate=0.8), 1.8),
    ("stretch 1.25", a.TimeStretch(1.25, 1.25, p=1), WaveDraw(stretch_rate=1.25), 1.8),
    (
        "low-pass",
        a.LowPassFilter(3000, 3000, 12, 12, p=1),
        WaveDraw(filters=(Filter("low_pass", 2, 0.0, 3000.0),)),
        0.3,
    ),
    ("high-pass", a.HighPassFilter(1500, 1500, 24, 24, p=1), WaveDraw(filters=(Filter("high_pass", 4, 1500.0),)), 0.3),
    (
        "band-pass",
        a.BandPassFilter(2000, 2000, 1.0, 1.0, 18, 18, p=1),
        WaveDraw(filters=(Filter("band_pass", 3, 1000.0, 3000.0),)),
        0.3,
    ),
    ("room", room(3), WaveDraw(room=3), 2.0),
    ("limiter", a.Limiter(-10, -10, 0.005, 0.005, 0.3, 0.3, p=1), WaveDraw(limit=Limit(-10.0, 0.3)), 2.0),
]


@pytest.mark.parametrize(("name", "by_wave", "draw", "limit_db"), CASES, ids=[case[0] for case in CASES])
def test_close_to_the_transform_of_the_waveform(
    spectral: SpectralFrontEnd, calls: list[np.ndarray], name: str, by_wave: Any, draw: WaveDraw, limit_db: float
) -> None:
    assert mean_difference_db(spectral, calls, by_wave, draw) < limit_db
    assert mean_difference_db(spectral, calls, by_wave, WaveDraw()) > 1.5 * limit_db, "the comparison sees nothing"


@pytest.mark.parametrize(("name", "by_wave", "draw", "limit_db"), CASES, ids=[case[0] for case in CASES])
def test_the_short_log_mel_is_close_too(
    short_spectral: SpectralFrontEnd, calls: list[np.ndarray], name: str, by_wave: Any, draw: WaveDraw, limit_db: float
) -> None:
    """Its bins are four times as wide, so that twice the difference is allowed (a pitch shift of +4: 2.6 dB)."""
    got_db = mean_difference_db(short_spectral, calls, by_wave, draw)
    assert got_db < 2.1 * limit_db
    assert mean_difference_db(short_spectral, calls, by_wave, WaveDraw()) > got_db


def vocoder_shift(clip: np.ndarray, semitones: float) -> np.ndarray:
    """Pitch shift in the way of librosa, whose import compiles for 17 s: a phase vocoder's stretch, then resampling."""
    window, rate = torch.hann_window(2048), 2 ** (-semitones / 12)
    spectrum = torch.stft(torch.from_numpy(clip), 2048, 512, window=window, return_complex=True)
    advance = torch.linspace(0, math.pi * 512, 1025)[:, None]
    stretched = torch.istft(
        phase_vocoder(spectrum, rate, advance), 2048, 512, window=window, length=round(len(clip) / rate)
    )
    return np.resize(soxr.resample(stretched.numpy(), RATE_HZ / rate, RATE_HZ), len(clip))


def test_pitch_and_stretch_on_real_recordings(spectral: SpectralFrontEnd, shared_data: Path) -> None:
    """Closer to signalsmith than a phase vocoder, the other method that audiomentations offers: 1.1 dB against 2.7."""
    paths = sorted(shared_data.glob("birds_mini/train_audio/*/*"))[::26]
    clips = [np.resize(decode(path, RATE_HZ, 5.0), 5 * RATE_HZ) for path in paths]
    shift = a.PitchShift(3, 3, p=1)
    ours = mean_difference_db(spectral, clips, shift, WaveDraw(pitch_semitones=3.0))
    theirs = [difference_db(plain_log_mel(vocoder_shift(c, 3)), plain_log_mel(shift(c, RATE_HZ))) for c in clips]
    assert ours < min(1.5, float(np.mean(theirs)))
    assert mean_difference_db(spectral, clips, a.TimeStretch(0.9, 0.9, p=1), WaveDraw(stretch_rate=0.9)) < 1.5


@pytest.mark.parametrize("kind", ["amplitude", "snr"])
def test_noise_has_the_level_of_the_waveform_transform(
    spectral: SpectralFrontEnd, calls: list[np.ndarray], kind: str
) -> None:
    """Cells are random on both sides, so bands are compared over time."""
    by_wave = a.AddGaussianNoise(0.02, 0.02, p=1) if kind == "amplitude" else a.AddGaussianSNR(8, 8, p=1)
    draw = WaveDraw(noise_amplitude=0.02) if kind == "amplitude" else WaveDraw(snr_noise_db=8.0)
    for clip in calls:
        got_db = 80 * spectral.render(clip, draw).mean(axis=1)
        wanted_db = 80 * plain_log_mel(by_wave(clip, RATE_HZ)).mean(axis=1)
        assert np.abs(got_db - wanted_db).mean() < 0.6
        assert np.abs(got_db - 80 * plain_log_mel(clip).mean(axis=1)).mean() > 3


def test_both_log_mels_hear_the_same_noise(spectral: SpectralFrontEnd, short_spectral: SpectralFrontEnd) -> None:
    """Its level rises and falls in both: frame by frame, summed over the bands."""
    silence, draw = np.zeros(N_SAMPLES, np.float32), WaveDraw(noise_amplitude=0.02, noise_seed=5)
    loud = [one.render(silence, draw).mean(axis=0) for one in (spectral, short_spectral)]
    other = short_spectral.render(silence, WaveDraw(noise_amplitude=0.02, noise_seed=6)).mean(axis=0)
    assert np.corrcoef(*loud)[0, 1] > 0.6
    assert abs(np.corrcoef(loud[0], other)[0, 1]) < 0.3


def test_noise_is_a_different_slice_for_each_seed(spectral: SpectralFrontEnd, calls: list[np.ndarray]) -> None:
    one, other = (spectral.render(calls[0], WaveDraw(snr_noise_db=0.0, noise_seed=seed)) for seed in (1, 2))
    assert difference_db(one, other) > 1


def test_gain_raises_a_clip_over_noise(spectral: SpectralFrontEnd, calls: list[np.ndarray]) -> None:
    louder = spectral.render(calls[0], WaveDraw(gain_db=6.0, noise_amplitude=0.02))
    wanted = spectral.render(2 * calls[0], WaveDraw(noise_amplitude=0.02))
    np.testing.assert_allclose(louder, wanted, atol=0.03 / 80)  # 20 log10(2) is 6.02 dB


def test_a_mask_silences_its_frames(spectral: SpectralFrontEnd, calls: list[np.ndarray]) -> None:
    masked = calls[2].copy()
    masked[N_SAMPLES // 4 : N_SAMPLES // 2] = 0
    got = spectral.render(calls[2], WaveDraw(time_mask=Span(0.25, 0.25)))
    assert difference_db(got, plain_log_mel(masked)) < 0.6
    inside = slice(math.ceil((N_SAMPLES / 4 + 1024) / 512), int((N_SAMPLES / 2 - 1024) / 512))
    assert got[:, inside].max() == 0


def test_background_is_added_at_its_ratio(tmp_path: Path, calls: list[np.ndarray]) -> None:
    rng = np.random.default_rng(3)
    soundfile.write(tmp_path / "wind.wav", 0.1 * rng.standard_normal(RATE_HZ), RATE_HZ)
    settings = WaveAugment(background_folder=tmp_path)
    got = SpectralFrontEnd(FrontEnd(), settings).render(calls[0], WaveDraw(background=Background(0, 0.0, 5.0)))
    wanted = plain_log_mel(a.AddGaussianSNR(5, 5, p=1)(calls[0], RATE_HZ))
    assert np.abs(got.mean(axis=1) - wanted.mean(axis=1)).mean() * 80 < 0.6


@pytest.mark.parametrize("kind", ["band_pass", "high_pass", "low_pass"])
@pytest.mark.parametrize("order", [2, 3, 4])
def test_filter_power_is_that_of_scipy(kind: str, order: int) -> None:
    frequencies_hz = np.linspace(10, 15_900, 300)
    edges = {"band_pass": [700, 3000], "high_pass": 700, "low_pass": 3000}[kind]
    sos = scipy.signal.butter(order, edges, kind.replace("_", ""), fs=RATE_HZ, output="sos")
    wanted = np.abs(scipy.signal.freqz_sos(sos, frequencies_hz, fs=RATE_HZ)[1]) ** 2
    got = filter_power(Filter(kind, order, 700.0, 3000.0), frequencies_hz, RATE_HZ)  # type: ignore[arg-type]
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-12)


def test_a_seed_decides_the_result(spectral: SpectralFrontEnd, calls: list[np.ndarray]) -> None:
    for seed in range(5):
        once, again = (spectral.augmented_log_mel(calls[0], seed) for _ in range(2))
        np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, spectral.augmented_log_mel(calls[0], 99))


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_shape_range_and_type(spectral: SpectralFrontEnd, kind: type) -> None:
    clip = (1000 * np.random.default_rng(0).standard_normal(20_000)).astype(kind)
    for seed in range(20):
        out = spectral.augmented_log_mel(clip, seed)
        assert out.shape == (128, 1 + 20_000 // 512)
        assert out.dtype == np.float32
        assert 0 <= out.min() <= out.max() <= 1


def test_silence_stays_finite(spectral: SpectralFrontEnd) -> None:
    for seed in range(20):
        assert np.isfinite(spectral.augmented_log_mel(np.zeros(20_000, np.float32), seed)).all()


def test_probability_zero_leaves_the_plain_log_mel(calls: list[np.ndarray]) -> None:
    for settings in (WaveAugment(prob=0), WaveAugment(prob=1, **OFF)):
        spectral = SpectralFrontEnd(FrontEnd(), settings)
        np.testing.assert_array_equal(spectral.augmented_log_mel(calls[0], 0), plain_log_mel(calls[0]))


def draws(settings: WaveAugment, n: int, n_backgrounds: int = 1) -> list[WaveDraw]:
    rng = np.random.default_rng(0)
    return [draw_wave(settings, 4, n_backgrounds, rng) for _ in range(n)]


def test_every_transform_comes_with_its_probability() -> None:  # fault 7
    settings = WaveAugment(prob=0.5)
    some = draws(settings, 2000)
    plain = WaveDraw()
    expected = {
        "gain_db": settings.gain_prob,
        "stretch_rate": settings.stretch_prob,
        "pitch_semitones": settings.pitch_prob,
        "noise_amplitude": settings.noise_prob,
        "snr_noise_db": settings.snr_noise_prob,
        "room": settings.room_prob,
        "limit": settings.limiter_prob,
        "time_mask": settings.time_mask_prob,
        "background": settings.background_prob,
        "filters": 1 - (1 - settings.band_pass_prob) * (1 - settings.high_pass_prob) * (1 - settings.low_pass_prob),
    }
    assert set(expected) == {field.name for field in fields(WaveDraw)} - {"noise_seed"}
    for name, prob in expected.items():
        share = np.mean([getattr(draw, name) != getattr(plain, name) for draw in some])
        assert share == pytest.approx(0.5 * prob, abs=0.03), name


def test_draws_stay_within_their_ranges() -> None:
    ranges = {"band_pass_min_centre_hz": 600, "band_pass_max_centre_hz": 900, "band_pass_min_width": 0.5}
    ranges |= {"band_pass_max_width": 1.5, "high_pass_min_hz": 200, "high_pass_max_hz": 300}
    ranges |= {"low_pass_min_hz": 3000, "low_pass_max_hz": 4000}
    for draw in draws(WaveAugment(prob=1, **dict.fromkeys(OFF, 1.0), **ranges), 500):
        assert abs(draw.gain_db) <= 12
        assert 0.8 <= draw.stretch_rate <= 1.25
        assert abs(draw.pitch_semitones) <= 4
        assert 0.001 <= draw.noise_amplitude <= 0.015
        assert draw.snr_noise_db is not None
        assert 5 <= draw.snr_noise_db <= 20
        assert draw.limit is not None
        assert -16 <= draw.limit.threshold_db <= -2
        assert draw.time_mask is not None
        assert 0.05 <= draw.time_mask.length <= 0.15
        assert 0 <= draw.time_mask.start <= 1 - draw.time_mask.length
        band, high, low = draw.filters
        centre_hz, width_hz = (band.low_hz + band.high_hz) / 2, band.high_hz - band.low_hz
        assert 600 <= centre_hz <= 900
        assert 0.5 * centre_hz <= width_hz <= 1.5 * centre_hz
        assert 200 <= high.low_hz <= 300
        assert 3000 <= low.high_hz <= 4000


def test_no_background_without_a_folder() -> None:
    assert all(draw.background is None for draw in draws(WaveAugment(prob=1, background_prob=1), 50, n_backgrounds=0))


@pytest.mark.parametrize("name", ["room", "background"])
def test_a_folder_that_cannot_be_used_is_an_error_at_start(tmp_path: Path, name: str) -> None:  # fault 4
    with pytest.raises(ConfigError, match=f"augment.wave.{name}_folder"):
        SpectralFrontEnd(FrontEnd(), WaveAugment(**{f"{name}_folder": tmp_path / "missing"}))


def test_the_rate_that_is_told_is_the_one_that_was_drawn() -> None:
    """A burst in the middle of a clip is at half the clip over the rate."""
    front_end = FrontEnd()
    settings = WaveAugment(prob=1, **{f"{name}_prob": 0.0 for name in ("gain", "pitch", "noise", "snr_noise", "room")})
    settings = settings.model_copy(update={"stretch_prob": 1.0, "limiter_prob": 0.0, "time_mask_prob": 0.0})
    settings = settings.model_copy(update={f"{name}_pass_prob": 0.0 for name in ("band", "high", "low")})
    wave = np.zeros(4 * front_end.sample_rate_hz, np.float32)
    wave[len(wave) // 2 - 800 : len(wave) // 2 + 800] = np.random.default_rng(0).normal(0, 0.1, 1600)
    image, rate = SpectralImages(front_end, settings, multi_resolution=True).stretched(wave, seed=1)
    assert rate != 1
    for log_mel in image:
        assert int(log_mel.sum(axis=0).argmax()) / log_mel.shape[1] == pytest.approx(0.5 / rate, abs=0.02)
