"""The configuration tree: typed, frozen, checked as a whole before anything starts.

`SedConfig` is changed by copying: `config.with_overrides({"model.pool_type": "gem"})` validates the result again.
Every key carries a description, a unit and its limits; reference documentation and error messages are made from them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from sed_model.errors import ConfigError
from sed_model.yaml_file import read_yaml

StageName = Literal["pretrain_ce", "train_bce", "finetune", "pseudo"]
LossName = Literal["ce", "bce", "focal_bce", "asymmetric", "soft_auc"]
STAGE_NAMES: tuple[str, ...] = get_args(StageName)

HEAD_DIM = 512
"""Width of the head's frame features; attention heads have to divide it."""
BACKBONE_STRIDE = 32
"""Time and frequency stride of the usual timm backbones."""


def key(default: Any, description: str, unit: str = "", **limits: Any) -> Any:
    """A configuration key; `unit` ("Hz", "s", "dB", "probability", ...) is shown in the reference and in errors."""
    return Field(default, description=description, json_schema_extra={"unit": unit}, **limits)


def probability(default: float, description: str) -> Any:
    return key(default, description, "probability", ge=0, le=1)


NUMBERS = (int, float, int | None, float | None)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads yes, no, on and off as truth values, and pydantic these as the numbers 1 and 0."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation in NUMBERS:
            raise ValueError(f"is {str(value).lower()}; give a number.")
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = list(self._problems())
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        """Combinations of values that cannot be, each with its repair."""
        yield from ()


class FrontEnd(_Frozen):
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


class Model(_Frozen):
    """Backbone, toggles and head."""

    backbone: str = key("seresnext26t_32x4d", "Any convolutional timm model, by timm's name.", min_length=1)
    pretrained: bool = key(True, "Start from timm's published weights (needs the model hub or its cache).")
    weights: Path | None = key(
        None,
        "Local safetensors file with pretrained weights of the backbone under timm's names; replaces `pretrained`.",
    )
    multi_resolution: bool = key(False, "Stack a second log-mel (n_fft x2, hop_length /2) as a second input channel.")
    multi_head_attention: bool = key(False, "Self-attention between frames before the scores.")
    attention_heads: int = key(4, "Heads of the self-attention; must divide 512.", "heads", ge=1, le=32)
    skip_connection: bool = key(False, "Add each head block's input to its output.")
    pool_type: Literal["avg", "max", "gem"] = key("avg", "Pooling over frequency (never over time).")
    gem_p: float = key(
        3.0, "First exponent of generalised-mean pooling; it is learned from there.", "exponent", ge=1, le=8
    )
    extra_norm: bool = key(False, "LayerNorm and dropout after frequency pooling.")
    drop_rate: float = key(0.2, "Dropout inside the backbone's own classifier and head.", "probability", ge=0, lt=1)
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


class WaveAugment(_Frozen):
    """Augmentation of single waveforms. Each `*_prob` holds once the outer `prob` has let the chain run.

    Filters fall by 12 to 24 dB an octave. Their ranges spare the call: over 40 recordings of birds the low-pass took
    more than 10 dB of it in 12 % of the draws and the band-pass in 26 %; with audiomentations' ranges, in 47 and 50 %.
    """

    prob: float = probability(0.8, "Chance that a clip passes through the chain at all.")
    gain_prob: float = probability(0.7, "Chance of a change of volume.")
    gain_max_db: float = key(12.0, "Largest change of volume, up or down.", "dB", ge=0, le=40)
    stretch_prob: float = probability(0.3, "Chance of a time stretch.")
    stretch_min_rate: float = key(0.8, "Slowest rate.", "ratio", ge=0.5, le=1)
    stretch_max_rate: float = key(1.25, "Fastest rate.", "ratio", ge=1, le=2)
    pitch_prob: float = probability(0.3, "Chance of a pitch shift.")
    pitch_max_semitones: float = key(4.0, "Largest pitch shift, up or down.", "semitones", ge=0, le=12)
    noise_prob: float = probability(0.5, "Chance of Gaussian noise of a given amplitude.")
    noise_min_amplitude: float = key(0.001, "Least noise amplitude.", "full scale", gt=0, le=1)
    noise_max_amplitude: float = key(0.015, "Greatest noise amplitude.", "full scale", gt=0, le=1)
    snr_noise_prob: float = probability(0.3, "Chance of Gaussian noise at a given signal-to-noise ratio.")
    snr_noise_min_db: float = key(5.0, "Least signal-to-noise ratio.", "dB", ge=-20, le=60)
    snr_noise_max_db: float = key(20.0, "Greatest signal-to-noise ratio.", "dB", ge=-20, le=60)
    band_pass_prob: float = probability(0.3, "Chance of a band-pass filter.")
    band_pass_min_centre_hz: float = key(500.0, "Lowest centre of the band.", "Hz", ge=20)
    band_pass_max_centre_hz: float = key(8_000.0, "Highest centre of the band.", "Hz", ge=20)
    band_pass_min_width: float = key(1.0, "Narrowest band.", "share of its centre", ge=0.05, le=1.99)
    band_pass_max_width: float = key(1.99, "Widest band.", "share of its centre", ge=0.05, le=1.99)
    high_pass_prob: float = probability(0.2, "Chance of a high-pass filter.")
    high_pass_min_hz: float = key(20.0, "Lowest cutoff of the high-pass.", "Hz", ge=10)
    high_pass_max_hz: float = key(2_000.0, "Highest cutoff of the high-pass.", "Hz", ge=10)
    low_pass_prob: float = probability(0.2, "Chance of a low-pass filter.")
    low_pass_min_hz: float = key(2_000.0, "Lowest cutoff of the low-pass.", "Hz", ge=100)
    low_pass_max_hz: float = key(8_000.0, "Highest cutoff of the low-pass.", "Hz", ge=100)
    room_prob: float = probability(0.2, "Chance of a room impulse response.")
    room_folder: Path | None = key(None, "Folder of impulse responses; without one they are generated.")
    room_min_rt60_s: float = key(0.1, "Shortest reverberation time of generated rooms.", "s", ge=0.02, le=2)
    room_max_rt60_s: float = key(1.0, "Longest reverberation time of generated rooms.", "s", ge=0.02, le=2)
    room_min_direct_db: float = key(-6.0, "Least direct sound over reverberation.", "dB", ge=-20, le=40)
    room_max_direct_db: float = key(12.0, "Most direct sound over reverberation.", "dB", ge=-20, le=40)
    limiter_prob: float = probability(0.3, "Chance of compression by a limiter.")
    limiter_min_db: float = key(-16.0, "Lowest limiter threshold.", "dB", ge=-40, le=0)
    limiter_max_db: float = key(-2.0, "Highest limiter threshold.", "dB", ge=-40, le=0)
    time_mask_prob: float = probability(0.4, "Chance of silencing a stretch of the clip.")
    time_mask_min_share: float = key(0.05, "Shortest silenced stretch.", "share of the clip", ge=0, le=1)
    time_mask_max_share: float = key(0.15, "Longest silenced stretch.", "share of the clip", ge=0, le=1)
    background_prob: float = probability(0.5, "Chance of background noise, when background_folder is given.")
    background_folder: Path | None = key(None, "Folder of background recordings.")
    background_min_snr_db: float = key(3.0, "Least signal-to-background ratio.", "dB", ge=-20, le=60)
    background_max_snr_db: float = key(30.0, "Greatest signal-to-background ratio.", "dB", ge=-20, le=60)

    def filters_above(self, nyquist_hz: float) -> list[str]:
        """Keys of the filters in use whose range goes beyond Nyquist, with their values."""
        filters = [
            (self.band_pass_prob, "band_pass_min_centre_hz", "band_pass_max_centre_hz"),
            (self.high_pass_prob, "high_pass_min_hz", "high_pass_max_hz"),
            (self.low_pass_prob, "low_pass_min_hz", "low_pass_max_hz"),
        ]
        return [
            f"augment.wave.{high}={getattr(self, high):g}"
            for prob, low, high in filters
            if prob * self.prob > 0 and (getattr(self, low) >= nyquist_hz or getattr(self, high) > nyquist_hz)
        ]

    def _problems(self) -> Iterator[str]:
        pairs = [
            ("noise_min_amplitude", "noise_max_amplitude"),
            ("snr_noise_min_db", "snr_noise_max_db"),
            ("band_pass_min_centre_hz", "band_pass_max_centre_hz"),
            ("band_pass_min_width", "band_pass_max_width"),
            ("high_pass_min_hz", "high_pass_max_hz"),
            ("low_pass_min_hz", "low_pass_max_hz"),
            ("room_min_rt60_s", "room_max_rt60_s"),
            ("room_min_direct_db", "room_max_direct_db"),
            ("limiter_min_db", "limiter_max_db"),
            ("time_mask_min_share", "time_mask_max_share"),
            ("background_min_snr_db", "background_max_snr_db"),
        ]
        for low, high in pairs:
            if getattr(self, low) > getattr(self, high):
                yield f"{low}={getattr(self, low):g} is above {high}={getattr(self, high):g}; swap them."


class SpecAugment(_Frozen):
    """Masks and filters on log-mels, per sample. SpecAugment: Park et al. 2019; FilterAugment: Nam et al. 2022."""

    prob: float = probability(0.6, "Chance that a sample is masked.")
    freq_masks: int = key(2, "Frequency masks a sample.", "masks", ge=0, le=10)
    freq_mask_bands: int = key(15, "Widest frequency mask.", "mel bands", ge=0, le=512)
    time_masks: int = key(2, "Time masks a sample.", "masks", ge=0, le=10)
    time_mask_frames: int = key(35, "Widest time mask.", "frames", ge=0, le=8192)
    filter_prob: float = probability(0.0, "Chance of a random frequency-wise gain (FilterAugment).")
    filter_max_db: float = key(6.0, "Largest gain of the random filter, up or down.", "dB", ge=0, le=24)


class MixAugment(_Frozen):
    """Mixing two samples of a batch; the stage gives the alphas. Mixup: Zhang et al. 2018; CutMix: Yun et al. 2019."""

    mixup_prob: float = probability(0.5, "Chance that a batch is mixed up.")
    cutmix_prob: float = probability(0.2, "Chance that a batch is cut and pasted along time.")
    domain: Literal["waveform", "spectrogram"] = key("waveform", "Where mixup adds: samples or log-mels.")
    labels: Literal["convex", "union"] = key("convex", "Targets weighted by the shares, or the larger of the two.")

    def _problems(self) -> Iterator[str]:
        total = self.mixup_prob + self.cutmix_prob
        if total > 1 + 1e-9:
            yield (
                f"mixup_prob={self.mixup_prob:g} + cutmix_prob={self.cutmix_prob:g} is {total:g}, above 1; "
                "lower one of them."
            )


class Augment(_Frozen):
    backend: Literal["audiomentations", "spectral"] = key(
        "audiomentations", "Exact waveform transforms, or the fast path folded into the spectrogram."
    )
    wave: WaveAugment = WaveAugment()
    spec: SpecAugment = SpecAugment()
    mix: MixAugment = MixAugment()


class Loss(_Frozen):
    """Settings of the losses that the stages name."""

    label_smoothing: float = key(0.0, "Share of each target moved to the other classes.", "share", ge=0, lt=0.5)
    clip_weight: float = key(
        0.5, "Weight of the clip loss; the rest is the loss of the loudest frame.", "share", ge=0, le=1
    )
    focal_gamma: float = key(2.0, "Focusing exponent of the focal part.", "exponent", ge=0, le=8)
    focal_alpha: float = key(0.25, "Weight of positives in the focal part.", "share", ge=0, le=1)
    asymmetric_gamma_neg: float = key(4.0, "Focusing exponent for negatives.", "exponent", ge=0, le=8)
    asymmetric_gamma_pos: float = key(1.0, "Focusing exponent for positives.", "exponent", ge=0, le=8)
    asymmetric_margin: float = key(
        0.05, "Probability margin below which negatives cost nothing.", "probability", ge=0, lt=1
    )
    soft_auc_bce_weight: float = key(0.25, "Share of BCE added to the soft AUC loss.", "share", ge=0, le=1)


class Stage(_Frozen):
    epochs: int = key(10, "Epochs of the stage, before --epochs-scale.", "epochs", ge=1, le=1000)
    lr: float = key(1e-4, "Highest learning rate of the head.", "rate", gt=0, le=1)
    min_lr: float = key(1e-7, "Learning rate at the end.", "rate", ge=0, le=1)
    warmup_epochs: float = key(1.0, "Linear warm-up at the start.", "epochs", ge=0)
    loss: LossName = key("bce", "Loss of the stage.")
    mixup_alpha: float = key(0.2, "Beta parameter of mixup; 0 turns it off.", "number", ge=0, le=10)
    cutmix_alpha: float = key(1.0, "Beta parameter of cutmix; 0 turns it off.", "number", ge=0, le=10)
    secondary_weight: float | None = key(
        None,
        "Target of secondary labels; 0 leaves them out of the loss; null counts them as absent.",
        "target",
        ge=0,
        le=1,
    )
    freeze_backbone: bool = key(False, "Train the head alone.")

    def _problems(self) -> Iterator[str]:
        if self.min_lr > self.lr:
            yield f"min_lr={self.min_lr:g} is above lr={self.lr:g}; lower min_lr."
        if self.loss == "ce" and self.secondary_weight is not None:
            yield (
                f"secondary_weight={self.secondary_weight:g} needs a multi-label loss, but loss is ce; "
                "set it to null or use bce."
            )


class Stages(_Frozen):
    """The chain. Each stage starts from the best weights of the one before."""

    pretrain_ce: Stage = Stage(epochs=30, lr=3e-4, min_lr=1e-6, loss="ce", mixup_alpha=0.2, cutmix_alpha=1.0)
    train_bce: Stage = Stage(
        epochs=25, lr=1e-4, min_lr=5e-7, loss="bce", mixup_alpha=0.3, cutmix_alpha=1.2, secondary_weight=0.9
    )
    finetune: Stage = Stage(
        epochs=15, lr=5e-5, min_lr=1e-7, loss="bce", mixup_alpha=0.1, cutmix_alpha=0.8, secondary_weight=0.95
    )
    pseudo: Stage = Stage(
        epochs=20, lr=1e-5, min_lr=1e-7, loss="bce", mixup_alpha=0.2, cutmix_alpha=0.8, secondary_weight=0.95
    )

    def __getitem__(self, name: str) -> Stage:
        stage: Stage = getattr(self, name)
        return stage


class Optim(_Frozen):
    optimizer: Literal["adamw", "radam", "sgd"] = key("adamw", "Optimiser.")
    weight_decay: float = key(1e-4, "Decoupled weight decay; none on norms and biases.", "rate", ge=0, le=1)
    scheduler: Literal["cosine", "cosine_restarts", "one_cycle", "constant"] = key(
        "cosine", "Course of the learning rate."
    )
    restarts: int = key(3, "Cycles of cosine_restarts in a stage.", "cycles", ge=1, le=20)
    backbone_lr_scale: float = key(1.0, "Learning rate of the backbone over that of the head.", "ratio", gt=0, le=10)
    batch_size: int = key(64, "Clips a step, shared out over the workers of a trial.", "clips", ge=1, le=4096)
    auto_batch: bool = key(
        False, "Halve a batch that does not fit into (GPU) memory, and accumulate twice as many; it says so."
    )
    min_steps_per_epoch: int = key(
        20, "Small sets get a smaller batch, so that an epoch has at least so many steps.", "steps", ge=1, le=1_000_000
    )
    accumulation_steps: int = key(1, "Batches summed up for one optimiser step.", "batches", ge=1, le=256)
    grad_clip_norm: float = key(5.0, "Largest gradient norm; 0 turns clipping off.", "norm", ge=0)
    ema_decay: float = key(
        0.999, "Decay of the averaged weights (with warm-up); 0 turns averaging off.", "share", ge=0, lt=1
    )
    early_stopping_epochs: int = key(
        5, "Stop a stage after so many epochs without a better score; 0 never stops.", "epochs", ge=0, le=1_000_000
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = key(
        "auto", "Autocast type; auto takes what the device is fast at."
    )
    channels_last: bool = key(True, "Store images channels-last: faster convolutions.")
    compile: bool = key(False, "torch.compile the model.")
    grad_checkpointing: bool = key(
        False, "Recompute activations in the backward pass: less memory, about a third slower."
    )


class Data(_Frozen):
    window_s: float = key(10.0, "Length of a training window, and the context of a prediction.", "s", gt=0, le=60)
    target_s: float = key(5.0, "Length of the window that a prediction is for.", "s", gt=0, le=60)
    crop_shift_s: float = key(2.0, "Random shift of the loudest window, either way.", "s", ge=0, le=60)
    validation: Literal["auto", "folds", "soundscapes"] = key(
        "auto", "Held-out recordings, or labelled soundscapes; auto takes the soundscapes when they are there."
    )
    n_folds: int = key(5, "Folds, grouped by author.", "folds", ge=2, le=20)
    fold: int = key(0, "Fold that validates.", "index", ge=0)
    min_rating: float = key(
        0.0, "Recordings rated lower are left out; 0 (not rated) is always kept.", "stars", ge=0, le=5
    )
    rating_weight: bool = key(False, "Weight the loss of a recording by rating / 5 (unrated: 0.6).")
    sampler: Literal["uniform", "inverse_frequency"] = key("inverse_frequency", "How recordings are drawn.")
    sampler_power: float = key(0.5, "Power of the inverse class frequency.", "exponent", ge=0, le=1)
    on_bad_audio: Literal["fail", "skip"] = key("fail", "Unreadable audio stops the run, or is skipped and counted.")
    max_recording_s: float = key(120.0, "Longer recordings are cached up to here.", "s", ge=5)
    cache_dir: Path | None = key(None, "Where decoded audio is kept; default $SED_CACHE_DIR or ~/.cache/sed-search.")
    num_workers: int = key(0, "Loader processes a trial; 0 loads in the trial itself.", "processes", ge=0, le=64)

    def _problems(self) -> Iterator[str]:
        if self.target_s > self.window_s:
            yield f"target_s={self.target_s:g} is longer than window_s={self.window_s:g}; lower target_s."
        if self.fold >= self.n_folds:
            yield (f"fold={self.fold} does not exist with n_folds={self.n_folds}; use 0 to {self.n_folds - 1}.")


class Inference(_Frozen):
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
        0.85, "Weight of a window itself against its two neighbours; 1 turns smoothing off.", "share", gt=0, le=1
    )


class Pseudo(_Frozen):
    keep_class: float = probability(0.6, "A class of a window is kept above this.")
    keep_window: float = probability(0.7, "A window is kept when its best class is above this.")
    trim: float = probability(0.1, "Classes below keep_class stay as soft targets above this; the others become 0.")
    power: float = key(
        1.0, "Kept probabilities are raised to this power; above 1 the unsure ones shrink.", "exponent", gt=0, le=10
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
    replace_prob: float = probability(0.2, "Chance that a student's clip is a pseudo-labelled window alone.")
    add_prob: float = probability(0.4, "Chance that a pseudo-labelled window is added to a student's clip.")
    join_prob: float = probability(0.1, "Chance that a student's clip goes on as a pseudo-labelled window.")
    loss_power: float = key(
        1.0, "Power of the confidence in the loss of pseudo-labels; 0: all alike.", "exponent", ge=0, le=10
    )

    def _problems(self) -> Iterator[str]:
        total = self.replace_prob + self.add_prob + self.join_prob
        if total > 1 + 1e-9:
            yield f"replace_prob + add_prob + join_prob = {total:g} is above 1; lower one of them."


class SedConfig(_Frozen):
    """Everything that decides a training run, except where the data lies."""

    seed: int = key(42, "Seed of every random draw.", "number", ge=0, lt=2**31)
    front_end: FrontEnd = FrontEnd()
    model: Model = Model()
    augment: Augment = Augment()
    loss: Loss = Loss()
    stages: Stages = Stages()
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
        if (
            self.augment.backend == "spectral"
            and self.augment.mix.domain == "waveform"
            and self.augment.mix.mixup_prob > 0
        ):
            yield (
                "augment.backend=spectral has no waveforms in its batches; set augment.mix.domain=spectrogram "
                "(or augment.mix.mixup_prob=0)."
            )
        if self.augment.backend == "spectral" and self.model.multi_resolution:
            yield (
                "augment.backend=spectral computes one log-mel; "
                "set model.multi_resolution=false or augment.backend=audiomentations."
            )

    def with_overrides(self, overrides: Mapping[str, Any]) -> SedConfig:
        """A checked copy with dotted keys replaced.

        Raises:
            ConfigError: naming every unknown key (with the nearest known one) and every refused value.
        """
        known = set(known_keys())
        unknown = [name for name in overrides if name not in known]
        if unknown:
            raise ConfigError("\n".join(unknown_key_message(str(name)) for name in unknown))
        tree = self.model_dump(mode="json")
        for name, value in overrides.items():
            *parents, leaf = name.split(".")
            branch = tree
            for parent in parents:
                branch = branch[parent]
            branch[leaf] = value
        return config_from_dict(tree)

    def flat(self) -> dict[str, Any]:
        """Dotted key -> JSON value, in the order of the tree."""
        return dict(_flatten(self.model_dump(mode="json")))


def n_frames_in(duration_s: float, front_end: FrontEnd) -> int:
    """Log-mel frames of a clip (frames are centred, so there is one at each end)."""
    return 1 + round(duration_s * front_end.sample_rate_hz) // front_end.hop_length


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def known_keys() -> list[str]:
    """Every dotted key of the configuration, in order."""
    return list(SedConfig().flat())


def unknown_key_message(name: str) -> str:
    near = difflib.get_close_matches(name, known_keys(), n=1, cutoff=0.5)
    if not near:
        leaf = name.rsplit(".", 1)[-1]
        near = [known for known in known_keys() if known.rsplit(".", 1)[-1] == leaf][:1]
    hint = f"; did you mean {near[0]}?" if near else "; see search_spaces/base.yaml for the known keys."
    return f"{name}: unknown configuration key{hint}"


def config_from_dict(tree: Mapping[str, Any], source: str = "") -> SedConfig:
    """Check a nested mapping; keys that it leaves out keep their defaults, each stage its own.

    Raises:
        ConfigError: all problems at once, a line each, with `source` in front when it is given.
    """
    try:
        return SedConfig.model_validate(_merged(SedConfig().model_dump(mode="json"), tree))
    except ValidationError as error:
        lines = [_problem(detail) for detail in error.errors()]
        head = f"{source}:\n" if source else ""
        raise ConfigError(head + "\n".join(lines)) from None


def _merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` laid over `defaults`, branch by branch."""
    result = dict(defaults)
    for name, value in given.items():
        default = defaults.get(name)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            result[name] = _merged(default, value)
        else:
            result[name] = value
    return result


def _problem(detail: Any) -> str:
    name = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return unknown_key_message(name)
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":
        return "\n".join(f"{name}: {line}" if name else line for line in message.splitlines())
    return f"{name}={detail['input']!r}: {message[0].lower()}{message[1:]}."


def load_config(path: Path) -> SedConfig:
    """The configuration in a YAML file; keys that it leaves out keep their defaults.

    Raises:
        ConfigError: the file cannot be read, or is empty (as one that was cut off is), or what it says is refused.
    """
    tree = read_yaml(path)
    if not tree:
        raise ConfigError(f"{path}: is empty; write at least one key, or name search_spaces/base.yaml.")
    return config_from_dict(tree, source=str(path))
