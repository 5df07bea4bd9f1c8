"""Fault 3: a clip's log-mel is a function of that clip alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from sed_model.config.sed_config import FrontEnd, n_frames_in
from sed_model.model.fast_mel import shared_fast_mel, shared_short_mel, short_transform
from sed_model.model.frontend import InputImages, LogMel, scale_power

SETTINGS = FrontEnd(sample_rate_hz=8_000, n_fft=512, hop_length=128, n_mels=32, f_min_hz=50, f_max_hz=4_000)


def tone(pitch_hz: float, amplitude: float, duration_s: float = 1.0, noise: float = 0.01) -> Tensor:
    n_samples = round(duration_s * 8_000)
    time_s = torch.arange(n_samples) / 8_000
    generator = torch.Generator().manual_seed(round(pitch_hz))
    return amplitude * (
        torch.sin(2 * math.pi * pitch_hz * time_s) + noise * torch.randn(n_samples, generator=generator)
    )


def test_a_loud_neighbour_changes_nothing() -> None:
    log_mel, quiet = LogMel(SETTINGS), tone(500, 0.01)
    alone = log_mel(quiet[None])
    for neighbours in ([tone(900, 1.0)], [tone(900, 1.0)] * 8, [torch.zeros(8_000)]):
        torch.testing.assert_close(log_mel(torch.stack([*neighbours, quiet]))[-1:], alone)


def test_volume_changes_nothing() -> None:
    log_mel, clip = LogMel(SETTINGS), tone(500, 0.1)
    gained = log_mel(torch.stack([clip, clip * 10 ** (6 / 20), clip * 10 ** (-6 / 20)]))
    torch.testing.assert_close(gained[1], gained[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(gained[2], gained[0], atol=1e-4, rtol=0)


def test_silence_is_zero() -> None:
    assert torch.equal(LogMel(SETTINGS)(torch.zeros(2, 8_000)), torch.zeros(2, 32, 63))


def test_noise_below_the_floor_is_not_made_loud() -> None:
    assert float(LogMel(SETTINGS)(tone(500, 1e-6)[None]).max()) < 0.5


def test_the_loudest_point_is_one_and_nothing_is_below_zero() -> None:
    image = LogMel(SETTINGS)(tone(500, 0.3, noise=0)[None])
    assert float(image.max()) == 1
    assert float(image.min()) >= 0


def test_decibels_are_scaled_by_hand() -> None:
    # 0 dB is the loudest point; -40 dB is half of 80 dB below it; -90 dB is cut off.
    power = torch.tensor([[[1.0, 1e-4, 1e-9]]])
    torch.testing.assert_close(scale_power(power, 80.0), torch.tensor([[[1.0, 0.5, 0.0]]]))
    torch.testing.assert_close(scale_power(power, 40.0), torch.tensor([[[1.0, 0.0, 0.0]]]))


def test_decibels_are_relative_to_the_clip_not_to_its_batch() -> None:
    """-10 dB is the loudest point of the second clip, and -50 dB half of 80 dB below it."""
    power = torch.tensor([[[1.0, 1e-4]], [[0.1, 1e-5]]])
    torch.testing.assert_close(scale_power(power, 80.0), torch.tensor([[[1.0, 0.5]], [[1.0, 0.5]]]))


@pytest.mark.parametrize("duration_s", [1.0, 0.37, 2.5])
def test_the_number_of_frames_is_the_one_that_is_reckoned_with(duration_s: float) -> None:
    clip = torch.zeros(1, round(duration_s * 8_000))
    assert LogMel(SETTINGS)(clip).shape == (1, 32, n_frames_in(duration_s, SETTINGS))


def test_a_tone_is_in_the_band_that_holds_its_pitch() -> None:
    image = LogMel(SETTINGS)(tone(1_000, 0.3)[None])[0]
    band = int(image.mean(dim=1).argmax())
    mels = torch.linspace(2595 * math.log10(1 + 50 / 700), 2595 * math.log10(1 + 4_000 / 700), 34)
    edges_hz = 700 * (10 ** (mels / 2595) - 1)
    assert edges_hz[band] < 1_000 < edges_hz[band + 2]


def test_a_later_call_is_a_later_frame() -> None:
    clip = torch.cat([torch.zeros(8_000), tone(500, 0.3), torch.zeros(8_000)])[None]
    loud = LogMel(SETTINGS)(clip)[0].amax(dim=0) > 0.5
    frames = loud.nonzero().flatten() * SETTINGS.hop_length / 8_000
    assert 0.9 < float(frames[0]) < 1.1
    assert 1.9 < float(frames[-1]) < 2.1


def test_multi_resolution_stacks_a_second_log_mel_of_the_same_shape() -> None:  # fault 2
    clips = torch.stack([tone(500, 0.3), tone(900, 0.1)])
    both = InputImages(SETTINGS, multi_resolution=True)
    images = both(clips)
    assert images.shape == (2, 2, 32, 63)
    assert both.n_channels == 2
    assert torch.equal(images[:, :1], InputImages(SETTINGS, multi_resolution=False)(clips))
    assert not torch.equal(images[:, 0], images[:, 1])


def n_loud(levels: Tensor) -> int:
    """Cells within 20 dB of the loudest."""
    return int((levels > levels.max() - 20 / 80).sum())


def test_the_second_log_mel_tells_when_the_first_tells_which() -> None:
    click = torch.zeros(8_000)
    click[4_000] = 1.0
    hum = tone(1_000, 0.3, noise=0)
    long, short = InputImages(SETTINGS, multi_resolution=True)(torch.stack([click, hum])).transpose(0, 1)
    # A click lies in the 4 frames whose 512 samples hold it; in the short ones in the 2 whose steps do.
    assert n_loud(long[0].amax(dim=0)) >= 3
    assert n_loud(short[0].amax(dim=0)) <= 2
    # A tone lies in fewer bands of the long transform (bins of 16 Hz) than of the short one (62 Hz).
    assert n_loud(long[1][:, 31]) < n_loud(short[1][:, 31])


@pytest.mark.parametrize("hop_length", [512, 800])
def test_the_second_log_mel_transforms_at_most_six_tenths_of_the_points(hop_length: int) -> None:
    """Two transforms of 512 points a frame, against one of 2,048: half of them; its time is about that share."""
    settings = FrontEnd(hop_length=hop_length)
    clip = np.zeros(10 * settings.sample_rate_hz, np.float32)
    long = len(shared_fast_mel(settings).mel_power(clip)) * settings.n_fft
    short = len(shared_short_mel(settings).mel_power(clip)) * short_transform(settings).n_fft
    assert short <= 0.6 * long


@pytest.mark.parametrize("place", range(4_000, 4_128, 16))
def test_no_click_lies_between_short_frames(place: int) -> None:
    clip = 1e-3 * torch.randn(1, 8_000, generator=torch.Generator().manual_seed(0))
    clip[0, place] = 1.0
    with_click = LogMel(SETTINGS, short=True)(clip)[0]
    # Loudest at the click, wherever it lies in the hop of 128 samples.
    assert abs(int(with_click.sum(dim=0).argmax()) - place / 128) <= 1
    assert with_click.sum(dim=0).max() > 1.2 * with_click.sum(dim=0).median()


def test_noise_is_as_loud_in_both_resolutions() -> None:
    """The levels that the floor of quiet clips goes by are those of the first log-mel."""
    noise = 0.1 * torch.randn(1, 80_000, generator=torch.Generator().manual_seed(0))
    long, short = LogMel(SETTINGS)._power, LogMel(SETTINGS, short=True)._power
    ratio = short(noise).mean(dim=-1) / long(noise).mean(dim=-1)
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=0, atol=0.15)


def test_autocast_leaves_the_log_mel_in_float32() -> None:
    clip, log_mel = tone(500, 0.3)[None], LogMel(SETTINGS)
    with torch.autocast("cpu", torch.bfloat16):
        image = log_mel(clip)
    assert torch.equal(image, log_mel(clip))
