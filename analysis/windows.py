"""The best and the worst predicted windows of a model: which they are, what they look and sound like."""

import base64
import io
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile as sf

from sed_model.core.files import read_file
from sed_model.core.paths import is_file
from sed_model.run_folder.metrics import POSITIVE_FROM
from sed_model.run_folder.predictions import OutOfFold

N_EACH = 4
MP3_RATES_HZ = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
WINDOW_COLUMNS = ("place", "filename", "start_s", "end_s", "margin", "labels", "top_class", "top_score", "row")
N_TICKS = 5
RATES_HZ = (1_000, 1_000_000)
"""A header that says another sample rate is damaged."""
LIMITS: dict[str, tuple[float, float]] = {
    "sample_rate_hz": (8_000, 96_000),
    "n_fft": (128, 16_384),
    "hop_length": (32, 8_192),
    "n_mels": (1, 512),
    "f_min_hz": (0, 48_000),
    "f_max_hz": (0, 48_000),
    "top_db": (20, 120),
}
"""As the configuration has them; beyond, a picture could take all memory."""


@dataclass(frozen=True)
class Clip:
    """The sound of a window: mono float32 samples in -1..1."""

    waveform: np.ndarray
    rate_hz: int


@dataclass(frozen=True)
class FrontEnd:
    """The numbers of a configuration that its log-mel depends on."""

    sample_rate_hz: int
    n_fft: int
    hop_length: int
    n_mels: int
    f_min_hz: float
    f_max_hz: float
    top_db: float


def choose_windows(oof: OutOfFold, n_each: int = N_EACH) -> pd.DataFrame:
    """The windows that the model tells best and worst, at most one a file and end.

    The margin of a window is the lowest probability among the classes that are in it, minus the highest among those
    that are not: 1 at best, -1 at worst. Windows without a class, or with all of them, have none.

    Returns:
        place (best|worst), filename, start_s, end_s, margin, labels (list), top_class, top_score, row (in the
        predictions); best ones first, then the worst one first.
    """
    positive = oof.targets >= POSITIVE_FROM
    has_margin = positive.any(axis=1) & ~positive.all(axis=1)
    lowest_present = np.where(positive, oof.probabilities, np.inf).min(axis=1)
    highest_absent = np.where(positive, -np.inf, oof.probabilities).max(axis=1)
    windows = pd.DataFrame(list(oof.windows), columns=["filename", "start_s", "end_s"])
    windows = windows.assign(row=range(len(windows)), margin=lowest_present - highest_absent)
    windows = windows.iloc[np.flatnonzero(has_margin)]
    best = windows.sort_values("margin", ascending=False, kind="stable").drop_duplicates("filename").head(n_each)
    rest = windows[~windows["row"].isin(best["row"])]
    worst = rest.sort_values("margin", kind="stable").drop_duplicates("filename").head(n_each)
    table = pd.concat([best.assign(place="best"), worst.assign(place="worst")], ignore_index=True)
    top = oof.probabilities[table["row"]].argmax(axis=1)
    table["labels"] = [[oof.classes[place] for place in np.flatnonzero(positive[row])] for row in table["row"]]
    table["top_class"] = [oof.classes[place] for place in top]
    table["top_score"] = oof.probabilities[table["row"], top]
    return table[list(WINDOW_COLUMNS)]


def front_end_of(config: dict[str, Any]) -> FrontEnd:
    """The front end of a trial's config.json.

    Raises:
        ValueError: a number is missing, is none, or is out of its limits.
    """
    section = config.get("front_end")
    if not isinstance(section, dict):
        raise ValueError("config.json has no front_end")
    missing = [name for name in LIMITS if not isinstance(section.get(name), int | float)]
    if missing:
        raise ValueError(f"front_end lacks {', '.join(missing)}")
    for name, (low, high) in LIMITS.items():
        if not low <= section[name] <= high:
            raise ValueError(f"front_end.{name} is not within {low:g} and {high:g}")
    numbers = {name: section[name] for name in LIMITS}
    whole = {name: int(numbers[name]) for name in ("sample_rate_hz", "n_fft", "hop_length", "n_mels")}
    front_end = FrontEnd(**numbers | whole)
    if not front_end.f_min_hz < front_end.f_max_hz <= front_end.sample_rate_hz / 2:
        raise ValueError("front_end.f_min_hz and f_max_hz are no band below half the sample rate")
    return front_end


def read_front_end(run: Path, trial_id: str) -> FrontEnd:
    """The front end of a trial of the run folder at `run`.

    Raises:
        OSError, ValueError: its config.json is missing or damaged, see `front_end_of`.
    """
    config = json.loads(read_file(run / "trials" / trial_id / "config.json", run))
    return front_end_of(config if isinstance(config, dict) else {})


def file_below(folder: Path, name: str) -> Path:
    """A file that a table names, in the data folder.

    Raises:
        ValueError: the name, or a link, leads out of the folder.
    """
    try:
        file = (folder / name).resolve()
    except (OSError, RuntimeError):  # a name that no file can have, a link to itself
        raise ValueError("there is no such file") from None
    if not file.is_relative_to(folder.resolve()):
        raise ValueError("it lies outside the data folder")
    return file


def read_clip(file: Path, start_s: float, end_s: float) -> Clip:
    """The window of a recording, its channels averaged.

    By libsndfile as it is: training reads some more (MP3 among the metadata of a WAV file), of which a window may
    be refused here.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no file (a pipe would block), is damaged or beyond libsndfile, or nothing of the window lies
            within it.
    """
    if not is_file(file):
        raise ValueError("there is no such file")
    try:
        samples, rate_hz = _read(file, start_s, end_s)
    except sf.SoundFileError as error:
        reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
        raise ValueError(f"libsndfile alone, which plays sounds here, cannot read it ({reason})") from None
    if not len(samples):
        raise ValueError(f"it ends before {start_s:g} s")
    if not np.isfinite(samples).all():
        raise ValueError("it holds NaN or Inf samples")
    return Clip(samples.mean(axis=1), rate_hz)


def _read(file: Path, start_s: float, end_s: float) -> tuple[np.ndarray, int]:
    """Samples [samples, channels] and their rate."""
    with sf.SoundFile(file) as sound:
        if not RATES_HZ[0] <= sound.samplerate <= RATES_HZ[1]:
            raise ValueError(f"its header says that its sample rate is {sound.samplerate} Hz")
        sound.seek(min(round(start_s * sound.samplerate), sound.frames))
        samples = sound.read(round((end_s - start_s) * sound.samplerate), dtype="float32", always_2d=True)
        return samples, sound.samplerate


def resampled(clip: Clip, rate_hz: int) -> Clip:
    """The clip at another rate; any two rates go together (torchaudio's filter grows with their common multiple)."""
    import soxr

    return clip if clip.rate_hz == rate_hz else Clip(soxr.resample(clip.waveform, clip.rate_hz, rate_hz), rate_hz)


def log_mel(clip: Clip, front_end: FrontEnd) -> np.ndarray:
    """What the model saw of the clip alone: float32 [mels, frames], 0..1; 1 is the loudest point, 0 is top_db below."""
    import torch  # heavy, and only needed where there is sound to show
    from torchaudio.transforms import MelSpectrogram

    waveform = torch.from_numpy(np.ascontiguousarray(resampled(clip, front_end.sample_rate_hz).waveform))
    if len(waveform) <= front_end.n_fft // 2:  # the reflected edges want more
        waveform = torch.nn.functional.pad(waveform, (0, front_end.n_fft))
    with warnings.catch_warnings():
        # A band so narrow that no frequency falls into it is a dark line in the picture.
        warnings.filterwarnings("ignore", "At least one mel filterbank", UserWarning)
        mel = MelSpectrogram(
            sample_rate=front_end.sample_rate_hz,
            n_fft=front_end.n_fft,
            hop_length=front_end.hop_length,
            n_mels=front_end.n_mels,
            f_min=front_end.f_min_hz,
            f_max=front_end.f_max_hz,
            power=2.0,
        )
    level_db = 10 * mel(waveform).clamp(min=1e-10).log10()
    shown: np.ndarray = (1 + (level_db - level_db.max()) / front_end.top_db).clamp(0, 1).numpy()
    return shown


def picture_uri(levels: np.ndarray) -> str:
    """The log-mel as a PNG in a data URI, lowest band at the bottom."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    # The noise floor is black: lines are drawn over the picture.
    floor = float(np.quantile(levels, 0.05))
    imsave(buffer, levels, cmap="gray", origin="lower", vmin=min(floor, 0.9), vmax=1, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def sound_uri(clip: Clip) -> str:
    """The clip as MP3 in a data URI, at 32 kHz where MP3 lacks its rate, made as loud as it goes."""
    clip = clip if clip.rate_hz in MP3_RATES_HZ else resampled(clip, 32000)
    peak = float(np.abs(clip.waveform).max(initial=0.0))
    buffer = io.BytesIO()
    sf.write(buffer, clip.waveform * (0.9 / peak if peak > 0 else 1.0), clip.rate_hz, format="MP3")
    return "data:audio/mpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def frequency_ticks(front_end: FrontEnd) -> dict[float, str]:
    """Height in the picture (0..1) -> kilohertz as text, evenly spaced on the mel scale (HTK's, as torchaudio's)."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (front_end.f_min_hz, front_end.f_max_hz))
    heights = np.linspace(0, 1, N_TICKS)
    hertz = 700 * (10 ** ((low + heights * (high - low)) / 2595) - 1)
    return {float(height): f"{hz / 1000:.2g}" for height, hz in zip(heights, hertz, strict=True)}
