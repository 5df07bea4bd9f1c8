"""The configuration as a whole, and its sections but those of `config_augment` and `config_training`.

`SedConfig` is frozen and changed by copying: `config.with_overrides({"model.pool_type": "gem"})` validates the result
again. Every key carries a description, a unit and its limits; reference documentation and error messages are made of
them, by `config_tree`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from sed_model.config.augment import Augment
from sed_model.config.earlier import renewed
from sed_model.config.training import Distil, Loss, Optim, Stages
from sed_model.config.tree import (
    Section,
    flattened,
    key,
    merged,
    probability,
    problem_text,
    replaced,
    unknown_key_message,
)
from sed_model.core.errors import ConfigError
from sed_model.core.yaml_file import read_yaml

HEAD_DIM = 512
"""Width of the head's frame features; attention heads have to divide it."""
MAX_POWER = 10.0
"""Exponent of pseudo-labels' probabilities: 0.9 becomes 0.35."""
BACKBONE_STRIDE = 32
"""Time and frequency stride of the usual timm backbones."""


class FrontEnd(Section):
    """Waveform to log-mel."""

    sample_rate_hz: int = key(32_000, "Sample rate that all audio is resampled to.", "Hz", ge=8_000, le=96_000)
    n_fft: int = key(2048, "Length of the Fourier transform and its Hann window.", "samples", ge=128, le=16_384)
    hop_length: int = key(512, "Step between frames.", "samples", ge=32, le=8_192)
    n_mels: int = key(128, "Number of mel bands (HTK scale).", "bands", ge=32, le=512)
    f_min_hz: float = key(20.0, "Lower edge of the lowest mel band.", "Hz", ge=0)
    f_max_hz: float = key(16_000.0, "Upper edge of the highest mel band.", "Hz", gt=0)
    top_db: float = key(80.0, "Dynamic range kept below the loudest point of each clip.", "dB", ge=20, le=120)

    def _problems(self) -> Iterator[str]:
        nyquist_hz = self.sample_rate_hz / 2
        if self.f_max_hz > nyquist_hz:
            yield (
                f"f_max_hz={self.f_max_hz:g} is above Nyquist {nyquist_hz:g} Hz; "
                "raise sample_rate_hz or lower f_max_hz."
            )
        if self.f_min_hz >= self.f_max_hz:
            yield f"f_min_hz={self.f_min_hz:g} is not below f_max_hz={self.f_max_hz:g}; lower f_min_hz."
        if self.hop_length > self.n_fft:
            yield (
                f"hop_length={self.hop_length} is longer than n_fft={self.n_fft}, so samples would be skipped; "
                "lower hop_length."
            )
        empty = empty_mel_filters(self) if self.f_min_hz < self.f_max_hz else 0
        if empty:
            yield (
                f"n_mels={self.n_mels} with n_fft={self.n_fft} leaves {empty} mel filters without a single "
                "frequency bin; "
                "lower n_mels, or raise n_fft or f_min_hz."
            )


def empty_mel_filters(front_end: FrontEnd) -> int:
    """Number of HTK mel triangles that contain no bin of the Fourier transform."""
    mel_edges = np.linspace(_hz_to_mel(front_end.f_min_hz), _hz_to_mel(front_end.f_max_hz), front_end.n_mels + 2)
    edges_hz = 700.0 * (10 ** (mel_edges / 2595.0) - 1)
    bins_hz = np.linspace(0, front_end.sample_rate_hz / 2, front_end.n_fft // 2 + 1)
    first_inside = np.searchsorted(bins_hz, edges_hz[:-2], side="right")
    end_inside = np.searchsorted(bins_hz, edges_hz[2:], side="left")
    return int((end_inside <= first_inside).sum())


def _hz_to_mel(frequency_hz: float) -> float:
    return float(2595.0 * np.log10(1 + frequency_hz / 700.0))


class Model(Section):
    """Backbone, toggles and head."""

    backbone: str = key(
        "seresnext26t_32x4d",
        "A convolutional timm model, by timm's name; a few families need the data.window_s that a refusal names.",
        min_length=1,
    )
    pretrained: bool = key(True, "Start from timm's published weights (needs the model hub or its cache).")
    weights: Path | None = key(
        None,
        "Local safetensors file with pretrained weights of the backbone under timm's names; replaces `pretrained`.",
    )
    multi_resolution: bool = key(
        False, "A second input channel: a log-mel of transforms a quarter as long, which tells when."
    )
    multi_head_attention: bool = key(
        False, "Self-attention between frames decides how much each counts in the clip score."
    )
    attention_heads: int = key(4, "Heads of the self-attention; must divide 512.", "heads", ge=1, le=32)
    skip_connection: bool = key(False, "Add each head block's input to its output.")
    pool_type: Literal["avg", "max", "gem"] = key("avg", "Pooling over frequency (never over time).")
    gem_p: float = key(
        3.0, "First exponent of generalised-mean pooling; it is learned from there.", "exponent", ge=1, le=8
    )
    extra_norm: bool = key(False, "LayerNorm after frequency pooling.")
    drop_rate: float = key(
        0.2, "Dropout of the pooled features, before the head's first layer.", "probability", ge=0, lt=1
    )
    drop_path_rate: float = key(0.2, "Stochastic depth of the backbone.", "probability", ge=0, lt=1)
    final_dropout: float = key(0.1, "Dropout before the frame scores.", "probability", ge=0, lt=1)

    def _problems(self) -> Iterator[str]:
        if HEAD_DIM % self.attention_heads:
            yield (
                f"attention_heads={self.attention_heads} does not divide the head's width {HEAD_DIM}; "
                "use 1, 2, 4, 8, 16 or 32."
            )
        if self.weights is not None and self.weights.suffix != ".safetensors":
            yield f"weights={self.weights} is not a .safetensors file; convert it with safetensors.torch.save_file."


class Data(Section):
    window_s: float = key(10.0, "Length of a training window, and the context of a prediction.", "s", gt=0, le=60)
    target_s: float = key(5.0, "Length of the window that a prediction is for.", "s", gt=0, le=60)
    crop_shift_s: float = key(2.0, "Random shift of the loudest window, either way.", "s", ge=0, le=60)
    validation: Literal["auto", "folds", "soundscapes"] = key(
        "auto", "Held-out recordings, or labelled soundscapes; auto takes the soundscapes when they are there."
    )
    n_folds: int = key(5, "Folds, grouped by author.", "folds", ge=2, le=20)
    fold: int = key(0, "Fold that validates.", "index", ge=0)
    split_seed: int = key(42, "Seed of the folds alone; `seed` leaves them as they are.", "number", ge=0, lt=2**31)
    soundscape_folds: int = key(
        0,
        "Parts of the labelled soundscapes, by site or file: the part `fold` validates and the others train; 0: all of "
        "them validate.",
        "folds",
        ge=0,
        le=50,
    )
    soundscape_prob: float = probability(
        0.5,
        "Chance that a training clip is a labelled soundscape window, with soundscape_folds (not in stages with ce).",
    )
    min_rating: float = key(
        0.0, "Recordings rated lower are left out; 0 (not rated) is always kept.", "stars", ge=0, le=5
    )
    rating_weight: bool = key(False, "Weight the loss of a recording by rating / 5 (unrated: 0.6).")
    sampler: Literal["uniform", "inverse_frequency"] = key("inverse_frequency", "How recordings are drawn.")
    sampler_power: float = key(0.5, "Power of the inverse class frequency.", "exponent", ge=0, le=1)
    leave_out: Path | None = key(
        None, "Text file of recordings and soundscapes to leave out, a path from the data folder a line (check_data)."
    )
    follow_links: bool = key(False, "Links of the data folder to audio files elsewhere are followed, not refused.")
    on_bad_audio: Literal["fail", "skip"] = key("fail", "Unreadable audio stops the run, or is skipped and counted.")
    max_recording_s: float = key(120.0, "Longer recordings are cached up to here.", "s", ge=5)
    cache_dir: Path | None = key(None, "Where decoded audio is kept; default $SED_CACHE_DIR or ~/.cache/sed-search.")
    num_workers: int = key(0, "Loader processes a trial; 0 loads in the trial itself.", "processes", ge=0, le=64)

    def _problems(self) -> Iterator[str]:
        if self.target_s > self.window_s:
            yield f"target_s={self.target_s:g} is longer than window_s={self.window_s:g}; lower target_s."
        if self.soundscape_folds == 1:
            yield "soundscape_folds=1 leaves no labelled soundscape to train on; use 0 (none trains), or 2 and more."
        name = "soundscape_folds" if self.soundscape_folds else "n_folds"
        n_folds = getattr(self, name)
        if self.fold >= n_folds:
            yield f"fold={self.fold} does not exist with {name}={n_folds}; use 0 to {n_folds - 1}."


class Inference(Section):
    batch_size: int = key(32, "Windows predicted at a time.", "windows", ge=1, le=4096)
    frame_share: float = probability(
        0.5,
        "Share of its best frame in the score of a target window; the rest is the clip's. A short call counts more.",
    )
    overlap: float = key(0.5, "Overlap of pseudo-label windows.", "share", ge=0, lt=1)
    silence_rms: float = key(
        0.001, "Windows at or below this level are silence: all probabilities 0.", "full scale", ge=0
    )
    smoothing_centre: float = key(
        0.85, "Weight of a pseudo-label window against its two neighbours; 1 turns smoothing off.", "share", gt=0, le=1
    )


class Pseudo(Section):
    keep_class: float = probability(0.6, "A class of a window is kept above this.")
    keep_window: float = probability(0.7, "A window is kept when its best class is above this.")
    trim: float = probability(0.1, "Classes below keep_class stay as soft targets above this; the others become 0.")
    power: float = key(
        1.0,
        "Kept probabilities are raised to this power; above 1 the unsure ones shrink.",
        "exponent",
        gt=0,
        le=MAX_POWER,
    )
    power_growth: float = key(
        1.0,
        "Factor of power for each round of students after the first; later ones shrink what is unsure by more.",
        "ratio",
        gt=0,
        le=10,
    )
    keep_top_share: float = key(
        0.0,
        "A window is also kept when it is among the best of its best class, so many of those above trim; 0: none is.",
        "share",
        ge=0,
        le=1,
    )
    max_disagreement: float = key(
        0.5,
        "Windows whose members differ more are left out (standard deviation); 0.5 keeps all.",
        "probability",
        ge=0,
        le=0.5,
    )
    max_share: float = key(0.3, "At most this many windows for each real recording.", "ratio", ge=0)
    max_per_class: int = key(
        0, "At most this many windows for each class; 0 sets no limit.", "windows", ge=0, le=1_000_000
    )
    balance: bool = key(True, "Fill max_share with each class in turn; false: with the most confident windows.")
    mean_exponent: float = key(
        2.0, "Exponent of the power mean over members: 1 is the mean, a large one the maximum.", "exponent", gt=0, le=32
    )
    prob: float = probability(0.7, "Chance that a pseudo-labelled window replaces, is added to or continues a clip.")
    replace_share: float = key(
        0.3, "Share of these clips that are a pseudo-labelled window alone.", "share", ge=0, le=1
    )
    join_share: float = key(
        0.2, "Share of the others that go on as the window; to the rest it is added.", "share", ge=0, le=1
    )
    same_class_share: float = key(
        0.0,
        "Share of the clips that are a window alone in which its best class is that of the recording it replaces.",
        "share",
        ge=0,
        le=1,
    )
    mass_cap: float = key(
        0.0,
        "Most targets that pseudo-labels bring of each class, over those of the recordings that stay; 0: no cap.",
        "ratio",
        ge=0,
    )
    loss_power: float = key(
        1.0, "Power of the confidence in the loss of pseudo-labels; 0: all alike.", "exponent", ge=0, le=10
    )
    consistency_weight: float = key(
        0.0,
        "Weight of the term that pulls two views of each clip together, which doubles the time of a step; 0: one view.",
        "number",
        ge=0,
        le=10,
    )

    def _problems(self) -> Iterator[str]:
        if self.mass_cap > 0 and self.replace_prob == 1:
            yield (
                f"mass_cap={self.mass_cap:g} goes by the recordings that stay, but prob=1 and replace_share=1 leave "
                "none; lower one of these, or set mass_cap=0."
            )

    @property
    def replace_prob(self) -> float:
        """Chance that a student's clip is a pseudo-labelled window alone."""
        return self.prob * self.replace_share

    @property
    def join_prob(self) -> float:
        """Chance that a student's clip goes on as a pseudo-labelled window."""
        return self.prob * (1 - self.replace_share) * self.join_share

    @property
    def add_prob(self) -> float:
        """Chance that a pseudo-labelled window is added to a student's clip."""
        return self.prob * (1 - self.replace_share) * (1 - self.join_share)


class SedConfig(Section):
    """Everything that decides a training run, except where the data lies."""

    seed: int = key(42, "Seed of every random draw but that of the folds.", "number", ge=0, lt=2**31)
    front_end: FrontEnd = FrontEnd()
    model: Model = Model()
    augment: Augment = Augment()
    loss: Loss = Loss()
    stages: Stages = Stages()
    distil: Distil = Distil()
    optim: Optim = Optim()
    data: Data = Data()
    inference: Inference = Inference()
    pseudo: Pseudo = Pseudo()

    def _problems(self) -> Iterator[str]:
        n_frames = n_frames_in(self.data.window_s, self.front_end)
        if not BACKBONE_STRIDE <= n_frames <= 8192:
            yield (
                f"data.window_s={self.data.window_s:g} with front_end.hop_length={self.front_end.hop_length} gives "
                f"{n_frames} "
                f"frames, outside {BACKBONE_STRIDE} to 8192; change window_s or hop_length."
            )
        nyquist_hz = self.front_end.sample_rate_hz / 2
        if too_high := self.augment.wave.filters_above(nyquist_hz):
            yield (
                f"{', '.join(too_high)}: no filter can lie above Nyquist {nyquist_hz:g} Hz; lower the range, "
                "raise front_end.sample_rate_hz, or set the filter's probability to 0."
            )
        if self.model.multi_resolution and self.front_end.hop_length % 2:
            yield (
                f"front_end.hop_length={self.front_end.hop_length} is odd, but model.multi_resolution halves it; "
                "make it even."
            )
        if self.pseudo.consistency_weight > 0 and self.stages.pseudo.loss == "ce":
            yield (
                f"pseudo.consistency_weight={self.pseudo.consistency_weight:g} compares the probabilities of a "
                "multi-label loss, but stages.pseudo.loss is ce; use bce, or set the weight to 0."
            )

    def with_overrides(self, overrides: Mapping[str, Any]) -> SedConfig:
        """A checked copy with dotted keys replaced.

        Raises:
            ConfigError: naming every unknown key (with the nearest known one) and every refused value.
        """
        known = known_keys()
        unknown = overrides.keys() - set(known)
        if unknown:
            raise ConfigError("\n".join(unknown_key_message(str(name), known) for name in overrides if name in unknown))
        return config_from_dict(replaced(self.model_dump(mode="json"), overrides))

    def flat(self) -> dict[str, Any]:
        """Dotted key -> JSON value, in the order of the tree."""
        return dict(flattened(self.model_dump(mode="json")))


def n_frames_in(duration_s: float, front_end: FrontEnd) -> int:
    """Log-mel frames of a clip (frames are centred, so there is one at each end)."""
    return 1 + round(duration_s * front_end.sample_rate_hz) // front_end.hop_length


def known_keys() -> list[str]:
    """Every dotted key of the configuration, in order."""
    return list(SedConfig().flat())


def config_from_dict(tree: Mapping[str, Any], source: str = "") -> SedConfig:
    """Check a nested mapping; keys that it leaves out keep their defaults, each stage its own; earlier ones are read.

    Raises:
        ConfigError: all problems at once, a line each, with `source` in front when it is given.
    """
    try:
        return SedConfig.model_validate(merged(SedConfig().model_dump(mode="json"), renewed(tree)))
    except ValidationError as error:
        known = known_keys()
        lines = [problem_text(detail, known) for detail in error.errors()]
        head = f"{source}:\n" if source else ""
        raise ConfigError(head + "\n".join(lines)) from None


def load_config(path: Path) -> SedConfig:
    """The configuration in a YAML file; keys that it leaves out keep their defaults.

    Raises:
        ConfigError: the file cannot be read, or is empty (as one that was cut off is), or what it says is refused.
    """
    tree = read_yaml(path)
    if not tree:
        raise ConfigError(f"{path}: is empty; write at least one key, or name search_spaces/base.yaml.")
    return config_from_dict(tree, source=str(path))
