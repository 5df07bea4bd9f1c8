"""The chain of waveform transforms: what each does, and that none is ever a silent no-op."""

import importlib.util
import pickle
import random
from pathlib import Path
from typing import Any

import audiomentations
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import soundfile

from sed_model.augment.sound_folders import MAX_RESPONSE_S, open_rooms
from sed_model.augment.wave import WaveAugmenter
from sed_model.config.augment import WaveAugment
from sed_model.core.errors import ConfigError

RATE_HZ = 16_000
PROBS = [name for name in WaveAugment.model_fields if name.endswith("_prob") and name != "background_prob"]
OFF = WaveAugment(prob=1, **dict.fromkeys(PROBS, 0.0))


def only(**changes: Any) -> WaveAugment:
    return OFF.model_copy(update=changes)


def clip(n_samples: int = RATE_HZ, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def db(ratio: float) -> float:
    return 20 * float(np.log10(ratio))


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x.astype(np.float64) ** 2)))


def seed_globals(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (what audiomentations draws from)


@pytest.mark.parametrize("prob", PROBS)
def test_every_transform_can_be_built_and_does_something(prob: str) -> None:  # fault 4
    augment = WaveAugmenter(only(**{prob: 1.0}), RATE_HZ)
    out = augment(clip(), seed=3)
    assert out.shape == (RATE_HZ,)
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    assert not np.array_equal(out, clip())


@pytest.mark.parametrize("rate", [0.8, 1.25])
def test_what_sounds_at_a_moment_sounds_at_that_over_the_rate(rate: float) -> None:
    """A burst from 0.9 to 1.1 s of two."""
    wave = np.zeros(2 * RATE_HZ, np.float32)
    wave[round(0.9 * RATE_HZ) : round(1.1 * RATE_HZ)] = clip(round(0.2 * RATE_HZ) + 1)[: round(0.2 * RATE_HZ)]
    augment = WaveAugmenter(
        only(stretch_prob=1.0, stretch_min_rate=min(rate, 1), stretch_max_rate=max(rate, 1)), RATE_HZ
    )
    out, told = augment.stretched(wave, seed=0)
    power = np.square(out, dtype=np.float64)
    assert told != 1
    centre_s = float((power * np.arange(len(out))).sum() / power.sum()) / RATE_HZ
    assert centre_s == pytest.approx(1 / told, abs=0.03)


def test_a_clip_that_the_chain_leaves_alone_is_told_as_not_stretched() -> None:
    """Also after one that it has stretched."""
    augment = WaveAugmenter(only(prob=0.5, stretch_prob=1.0), RATE_HZ)
    told = [
        (np.array_equal(out, clip()), rate) for out, rate in (augment.stretched(clip(), seed) for seed in range(12))
    ]
    assert {same for same, _ in told} == {True, False}
    assert all((rate == 1) == same for same, rate in told)


@pytest.mark.parametrize("n_samples", [1, 100, 4001, 40_000])
def test_all_transforms_together_keep_any_length(n_samples: int) -> None:
    augment = WaveAugmenter(WaveAugment(prob=1, **dict.fromkeys(PROBS, 1.0)), RATE_HZ)
    out = augment(clip(n_samples), seed=0)
    assert out.shape == (n_samples,)
    assert np.isfinite(out).all()


def test_silence_stays_finite() -> None:
    augment = WaveAugmenter(WaveAugment(prob=1, **dict.fromkeys(PROBS, 1.0)), RATE_HZ)
    assert np.isfinite(augment(np.zeros(RATE_HZ, np.float32), seed=0)).all()


def test_a_seed_decides_the_result() -> None:
    augment = WaveAugmenter(WaveAugment(prob=1), RATE_HZ)
    first, other, again = augment(clip(), 7), augment(clip(), 8), augment(clip(), 7)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_input_is_left_alone() -> None:
    waveform = clip()
    WaveAugmenter(WaveAugment(prob=1, **dict.fromkeys(PROBS, 1.0)), RATE_HZ)(waveform, 1)
    np.testing.assert_array_equal(waveform, clip())


def test_global_random_states_are_left_alone() -> None:
    seed_globals(5)
    WaveAugmenter(WaveAugment(prob=1), RATE_HZ)(clip(), seed=1)
    after = (random.random(), np.random.rand())  # noqa: NPY002
    seed_globals(5)
    assert after == (random.random(), np.random.rand())  # noqa: NPY002


@pytest.mark.parametrize("settings", [WaveAugment(prob=0), OFF])
def test_nothing_switched_on_costs_nothing(settings: WaveAugment) -> None:
    waveform = clip()
    assert WaveAugmenter(settings, RATE_HZ)(waveform, 0) is waveform


def test_the_outer_probability_holds() -> None:  # fault 7
    augment = WaveAugmenter(only(prob=0.25, gain_prob=1.0), RATE_HZ)
    waveform = clip(8)
    changed = sum(not np.array_equal(augment(waveform, seed), waveform) for seed in range(400))
    assert 70 < changed < 130


def test_it_can_be_sent_to_a_loader_process() -> None:
    augment = WaveAugmenter(WaveAugment(prob=1), RATE_HZ)
    sent = pickle.loads(pickle.dumps(augment))  # noqa: S301 (made a line above)
    np.testing.assert_array_equal(sent(clip(), 2), augment(clip(), 2))


def plain_chain(settings: WaveAugment) -> audiomentations.Compose:
    """The chain of library transforms; those that are switched off draw nothing."""
    a, s = audiomentations, settings
    moved = [a.TimeStretch(0.8, 1.25, p=s.stretch_prob), a.PitchShift(-4, 4, p=s.pitch_prob)]
    rest = [
        a.BandPassFilter(500, 8000, 1.0, 1.99, p=s.band_pass_prob),
        a.HighPassFilter(20, 2000, p=s.high_pass_prob),
        a.LowPassFilter(2000, 8000, p=s.low_pass_prob),
        a.Limiter(-16, -2, p=s.limiter_prob),
        a.TimeMask(0.05, 0.15, p=s.time_mask_prob),
    ]
    gain = a.Gain(-12, 12, p=s.gain_prob)
    if s.stretch_prob == s.pitch_prob == 0:
        moved = []
    return a.Compose([*(t for t in [gain] if t.p > 0), *moved, *(t for t in rest if t.p > 0)], p=s.prob)


@pytest.mark.parametrize("moved", [{}, {"stretch_prob": 0.7}, {"pitch_prob": 0.7}], ids=str)
@pytest.mark.parametrize("seed", range(6))
def test_equal_to_the_plain_audiomentations_chain(seed: int, moved: dict[str, float]) -> None:
    """Same seed, same draws, same samples; noise and rooms draw in a way of their own."""
    off = dict.fromkeys(["noise_prob", "snr_noise_prob", "room_prob", "stretch_prob", "pitch_prob"], 0.0)
    settings = WaveAugment(**off | moved)
    seed_globals(seed)
    wanted = plain_chain(settings)(samples=clip(3 * RATE_HZ), sample_rate=RATE_HZ)
    np.testing.assert_allclose(WaveAugmenter(settings, RATE_HZ)(clip(3 * RATE_HZ), seed), wanted, atol=1e-6)


def test_stretch_and_pitch_in_one_pass_sound_like_two() -> None:
    """Mean levels of 64 ms x 125 Hz cells within 60 dB of the loudest: the same draws, within 1 dB."""
    time_s = np.arange(3 * RATE_HZ) / RATE_HZ
    phase = 2 * np.pi * (800 * time_s + 20 * np.sin(2 * np.pi * time_s))
    call = sum(np.sin(k * phase) / k for k in range(1, 6)) * np.clip(np.sin(6 * time_s), 0, 1)
    sound = (0.1 * call + 0.1 * clip(3 * RATE_HZ)).astype(np.float32)
    settings = only(stretch_prob=1.0, pitch_prob=1.0)

    def level_db(x: np.ndarray) -> np.ndarray:
        power = np.abs(scipy.signal.stft(x, RATE_HZ, nperseg=512)[2][:, 20:-20]) ** 2
        return 10 * np.log10(scipy.ndimage.uniform_filter(power, 4) + 1e-12)

    changes_db = []
    for seed in range(3):
        seed_globals(seed)
        wanted = level_db(plain_chain(settings)(samples=sound, sample_rate=RATE_HZ))
        got = level_db(WaveAugmenter(settings, RATE_HZ)(sound, seed))
        heard = wanted > wanted.max() - 60
        assert np.abs(got - wanted)[heard].mean() < 1.5
        changes_db.append(float(np.abs(level_db(sound) - wanted)[heard].mean()))
    assert max(changes_db) > 3, "the comparison sees nothing"


def test_gain_is_one_factor_within_its_range() -> None:
    ratio = WaveAugmenter(only(gain_prob=1.0, gain_max_db=12.0), RATE_HZ)(clip(), 0) / clip()
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    assert abs(db(ratio[0])) <= 12


def test_noise_has_the_amplitude_asked_for() -> None:
    augment = WaveAugmenter(only(noise_prob=1.0, noise_min_amplitude=0.01, noise_max_amplitude=0.01), RATE_HZ)
    assert rms(augment(clip(), 0) - clip()) == pytest.approx(0.01, rel=0.03)


def test_snr_noise_has_the_ratio_asked_for() -> None:
    augment = WaveAugmenter(only(snr_noise_prob=1.0, snr_noise_min_db=10.0, snr_noise_max_db=10.0), RATE_HZ)
    assert db(rms(clip()) / rms(augment(clip(), 0) - clip())) == pytest.approx(10, abs=0.2)


def test_stretch_and_pitch_move_what_they_should() -> None:
    """A 1 kHz tone that stops in the middle, at half the speed: it fills the clip at another pitch."""
    time_s = np.arange(RATE_HZ) / RATE_HZ
    tone = (0.3 * np.sin(2 * np.pi * 1000 * time_s) * (time_s < 0.5)).astype(np.float32)
    settings = only(stretch_prob=1.0, stretch_min_rate=0.5, stretch_max_rate=0.5, pitch_prob=1.0)
    for seed in range(50):
        out = WaveAugmenter(settings, RATE_HZ)(tone, seed)
        peak_hz = int(np.abs(np.fft.rfft(out)).argmax())
        assert 1000 * 2 ** (-4 / 12) - 20 < peak_hz < 1000 * 2 ** (4 / 12) + 20
        assert rms(out[12_000:14_000]) > 0.15
        if abs(peak_hz - 1000) > 100:
            return
    pytest.fail("no seed shifted the pitch")


def test_time_mask_silences_the_share_asked_for() -> None:
    settings = only(time_mask_prob=1.0, time_mask_min_share=0.25, time_mask_max_share=0.25)
    silent = WaveAugmenter(settings, RATE_HZ)(clip(), 0) == 0
    assert silent.mean() == pytest.approx(0.25 - 2 * 0.005, abs=0.001)  # faded over 5 ms at either end


@pytest.mark.parametrize(
    ("prob", "edges", "passes_hz"),
    [
        ("low_pass_prob", {"low_pass_min_hz": 1000.0, "low_pass_max_hz": 1000.0}, (0, 1000)),
        ("high_pass_prob", {"high_pass_min_hz": 1000.0, "high_pass_max_hz": 1000.0}, (1000, 8000)),
        (
            "band_pass_prob",
            {
                "band_pass_min_centre_hz": 2000.0,
                "band_pass_max_centre_hz": 2000.0,
                "band_pass_min_width": 1.0,
                "band_pass_max_width": 1.0,
            },
            (1000, 3000),
        ),
    ],
)
def test_a_filter_lies_where_its_range_says(prob: str, edges: dict[str, float], passes_hz: tuple[float, float]) -> None:
    """Half power at the edges, whatever its order; white noise, smoothed over 100 Hz."""
    noise = clip(20 * RATE_HZ)
    out = WaveAugmenter(only(**{prob: 1.0}, **edges), RATE_HZ)(noise, 1)
    frequency_hz, after = scipy.signal.welch(out, RATE_HZ, nperseg=512)
    gain = after / scipy.signal.welch(noise, RATE_HZ, nperseg=512)[1]
    passed_hz = frequency_hz[gain > 0.5]
    assert passed_hz[0] == pytest.approx(passes_hz[0], abs=63)
    assert passed_hz[-1] == pytest.approx(passes_hz[1], abs=63)


def test_room_folder_convolves_and_scales_to_half(tmp_path: Path) -> None:
    response = np.zeros(100, np.float32)
    response[[0, 50]] = [1, -0.5]
    soundfile.write(tmp_path / "room.wav", response, RATE_HZ, subtype="FLOAT")
    out = WaveAugmenter(only(room_prob=1.0, room_folder=tmp_path), RATE_HZ)(clip(), 0)
    wet = clip().astype(np.float64)
    wet[50:] -= 0.5 * clip()[:-50]
    np.testing.assert_allclose(out, wet * 0.5 / np.abs(wet).max(), atol=1e-5)


def test_generated_rooms_decay_and_differ() -> None:
    rooms = open_rooms(WaveAugment(), RATE_HZ)
    responses = [rooms.response(number) for number in range(len(rooms))]
    assert len({len(r) for r in responses}) > 20
    for response in responses:
        quarter = len(response) // 4
        fall_db = db(rms(response[1:quarter]) / rms(response[-quarter:]))
        assert fall_db == pytest.approx(45, abs=6)  # 60 dB over the whole length
        assert len(response) <= MAX_RESPONSE_S * RATE_HZ


def test_generated_rooms_have_the_time_and_the_direct_sound_asked_for() -> None:
    settings = WaveAugment(room_min_rt60_s=0.3, room_max_rt60_s=0.3, room_min_direct_db=6, room_max_direct_db=6)
    response = open_rooms(settings, RATE_HZ).response(5)
    assert len(response) == 0.3 * RATE_HZ
    assert db((1 / rms(response[1:])) / np.sqrt(len(response) - 1)) == pytest.approx(6, abs=0.1)


def test_background_has_the_ratio_asked_for_and_repeats_when_short(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "wind.wav", clip(1000, seed=4), RATE_HZ)
    settings = only(background_prob=1.0, background_folder=tmp_path)
    settings = settings.model_copy(update={"background_min_snr_db": 6.0, "background_max_snr_db": 6.0})
    added = WaveAugmenter(settings, RATE_HZ)(clip(), 0) - clip()
    assert db(rms(clip()) / rms(added)) == pytest.approx(6, abs=0.1)
    np.testing.assert_allclose(added[:1000], added[1000:2000], atol=1e-6)


def test_background_of_another_rate_is_resampled(tmp_path: Path) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(2 * 44_100) / 44_100)
    soundfile.write(tmp_path / "hum.flac", np.stack([tone, tone], axis=1), 44_100)
    added = WaveAugmenter(only(background_prob=1.0, background_folder=tmp_path), RATE_HZ)(clip(), 0) - clip()
    assert int(np.abs(np.fft.rfft(added)).argmax()) == pytest.approx(440, abs=1)


@pytest.mark.parametrize("name", ["room", "background"])
@pytest.mark.parametrize("state", ["missing", "empty", "unreadable"])
def test_a_folder_that_cannot_be_used_is_an_error_at_start(tmp_path: Path, name: str, state: str) -> None:  # fault 4
    folder = tmp_path / "sounds"
    if state != "missing":
        folder.mkdir()
        (folder / "notes.txt").write_text("no audio")
    if state == "unreadable":
        (folder / "broken.wav").write_bytes(b"RIFF")
    settings = only(**{f"{name}_prob": 1.0, f"{name}_folder": folder})
    with pytest.raises(ConfigError, match=f"augment.wave.{name}_folder") as error:
        WaveAugmenter(settings, RATE_HZ)
    assert str(folder) in str(error.value)
    assert ("broken.wav" in str(error.value)) == (state == "unreadable")


@pytest.mark.parametrize(
    ("module", "repair"),
    [("numpy_audio_limiter", "limiter_prob=0"), ("audiomentations", "augment.wave.prob=0")],
)
def test_a_missing_package_is_an_error_at_start(monkeypatch: pytest.MonkeyPatch, module: str, repair: str) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else found(name))
    with pytest.raises(ConfigError, match=repair) as error:
        WaveAugmenter(WaveAugment(), RATE_HZ)
    assert f"pip install {module.replace('_', '-')}" in str(error.value)


def test_a_package_that_is_not_used_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "numpy_audio_limiter" else found(name)
    )
    WaveAugmenter(WaveAugment(limiter_prob=0), RATE_HZ)
