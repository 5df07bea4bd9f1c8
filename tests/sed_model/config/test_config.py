"""The configuration tree: every key documented, every impossible value refused, all problems in one report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torchaudio
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from sed_model.config.sed_config import (
    FrontEnd,
    SedConfig,
    config_from_dict,
    empty_mel_filters,
    known_keys,
    load_config,
    n_frames_in,
)
from sed_model.core.errors import ConfigError

UNITS = {
    "", "Hz", "samples", "bands", "mel bands", "dB", "heads", "probability", "ratio", "semitones", "full scale",
    "share of the clip", "share of its centre", "share", "masks", "frames", "epochs", "target", "cycles", "clips",
    "steps", "batches", "s", "folds", "stars", "processes", "windows", "exponent", "rate", "norm", "index", "number",
}  # fmt: skip


def fields(model: type[BaseModel], prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted key -> its field, down to the leaves."""
    found = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += fields(field.annotation, f"{prefix}{name}.")
        else:
            found.append((prefix + name, field))
    return found


LEAVES = fields(SedConfig)


def test_the_keys_are_the_leaves_of_the_tree() -> None:
    assert known_keys() == [name for name, _ in LEAVES]
    assert len(known_keys()) == len(set(known_keys())) > 100


@pytest.mark.parametrize(("name", "field"), LEAVES, ids=[name for name, _ in LEAVES])
def test_every_key_has_a_description_and_a_unit(name: str, field: Any) -> None:
    assert field.description, f"{name} has no description"
    assert field.description[0].isupper() or field.description.startswith(("timm", "torch"))
    assert field.description.endswith((".", ")"))
    assert field.json_schema_extra["unit"] in UNITS


def test_defaults_are_those_of_the_reference() -> None:
    config = SedConfig()
    assert (config.front_end.sample_rate_hz, config.front_end.n_fft, config.front_end.hop_length) == (32_000, 2048, 512)
    assert (config.data.window_s, config.data.target_s, config.front_end.top_db) == (10, 5, 80)
    stages = [
        (s.epochs, s.lr, s.min_lr, s.loss, s.mixup_alpha, s.cutmix_alpha, s.secondary_weight)
        for s in (config.stages["pretrain_ce"], config.stages["train_bce"], config.stages["finetune"])
    ]
    assert stages == [
        (30, 3e-4, 1e-6, "ce", 0.2, 1.0, None),
        (25, 1e-4, 5e-7, "bce", 0.3, 1.2, 0.9),
        (15, 5e-5, 1e-7, "bce", 0.1, 0.8, 0.95),
    ]


# --- refused values


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"front_end.f_max_hz": 17_000}, r"front_end: f_max_hz=17000 is above Nyquist 16000 Hz; raise sample_rate_hz"),
        ({"front_end.f_min_hz": 16_000}, r"f_min_hz=16000 is not below f_max_hz=16000; lower f_min_hz"),
        ({"front_end.hop_length": 4096}, r"hop_length=4096 is longer than n_fft=2048.*lower hop_length"),
        ({"front_end.n_fft": 512, "front_end.n_mels": 256}, r"leaves \d+ mel filters without.*lower n_mels"),
        ({"model.attention_heads": 3}, r"attention_heads=3 does not divide.*512; use 1, 2, 4, 8, 16 or 32"),
        ({"model.weights": "w.pth"}, r"weights=w\.pth is not a \.safetensors file; convert it"),
        ({"augment.wave.noise_min_amplitude": 0.5}, r"noise_min_amplitude=0\.5 is above noise_max_amplitude=0\.015"),
        ({"augment.wave.snr_noise_min_db": 30}, r"snr_noise_min_db=30 is above snr_noise_max_db=20"),
        ({"augment.wave.limiter_min_db": -1}, r"limiter_min_db=-1 is above limiter_max_db=-2"),
        ({"augment.wave.time_mask_min_share": 0.2}, r"time_mask_min_share=0\.2 is above time_mask_max_share=0\.15"),
        ({"augment.wave.background_min_snr_db": 31}, r"background_min_snr_db=31 is above background_max_snr_db=30"),
        (
            {"augment.mix.mixup_prob": 0.9},
            r"augment\.mix\.mixup_prob: was replaced; use augment\.mix\.prob .*cutmix_share",
        ),
        (
            {"pseudo.join_prob": 0.1},
            r"pseudo\.join_prob: was replaced; use pseudo\.prob .*replace_share and .*join_share",
        ),
        ({"stages.finetune.min_lr": 0.1}, r"stages\.finetune: min_lr=0\.1 is above lr=5e-05; lower min_lr"),
        ({"stages.pretrain_ce.secondary_weight": 0.9}, r"secondary_weight=0\.9 needs a multi-label loss.*use bce"),
        (
            {"pseudo.mass_cap": 1, "pseudo.prob": 1, "pseudo.replace_share": 1},
            r"pseudo: mass_cap=1 goes by the recordings that stay, but prob=1 and replace_share=1 leave none",
        ),
        (
            {"pseudo.consistency_weight": 1, "stages.pseudo.loss": "ce", "stages.pseudo.secondary_weight": None},
            r"pseudo\.consistency_weight=1 compares .*but stages\.pseudo\.loss is ce; use bce",
        ),
        ({"data.target_s": 11}, r"target_s=11 is longer than window_s=10; lower target_s"),
        ({"data.fold": 5}, r"fold=5 does not exist with n_folds=5; use 0 to 4"),
        ({"data.window_s": 0.4, "data.target_s": 0.4}, r"gives 26 frames, outside 32 to 8192; change window_s"),
        ({"model.multi_resolution": True, "front_end.hop_length": 501}, r"hop_length=501 is odd.*make it even"),
        ({"model.pool_type": "mean"}, r"model\.pool_type='mean': input should be 'avg', 'max' or 'gem'"),
        ({"optim.batch_size": 0}, r"optim\.batch_size=0: input should be greater than or equal to 1"),
        ({"stages.train_bce.lr": "fast"}, r"stages\.train_bce\.lr='fast': input should be a valid number"),
        ({"loss.clip_weight": float("nan")}, r"loss\.clip_weight=nan"),
        ({"optim.weight_decay": float("inf")}, r"optim\.weight_decay=inf"),
        ({"front_end.n_mels": 64.5}, r"front_end\.n_mels=64\.5: input should be a valid integer"),
    ],
)
def test_an_impossible_value_is_refused_with_its_repair(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SedConfig().with_overrides(overrides)


def test_limits_themselves_are_allowed() -> None:
    config = SedConfig().with_overrides(
        {
            "front_end.f_max_hz": 16_000,
            "augment.mix.prob": 1,
            "augment.mix.cutmix_share": 1,
            "data.target_s": 10,
            "data.fold": 4,
            "stages.finetune.min_lr": 5e-5,
        }
    )
    assert config.data.target_s == 10


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        config_from_dict(
            {
                "seeed": 1,
                "front_end": {"f_max_hz": 99_000, "hop_length": 8_192},
                "model": {"pool_type": "median", "attention_heads": 3},
                "augment": {"wave": {"limiter_min_db": -1, "snr_noise_min_db": 50}},
                "optim": {"batch_size": -4},
            },
            source="my.yaml",
        )
    message = str(error.value)
    assert message.startswith("my.yaml:\n")
    for problem in (
        "seeed: unknown configuration key (did you mean seed?).",
        "front_end: f_max_hz=99000",
        "front_end: hop_length=8192",
        "model.pool_type='median'",
        "augment.wave: limiter_min_db=-1",
        "augment.wave: snr_noise_min_db=50",
        "optim.batch_size=-4",
    ):
        assert problem in message


def test_problems_between_groups_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        SedConfig().with_overrides(
            {
                "model.multi_resolution": True,
                "front_end.hop_length": 501,
                "pseudo.consistency_weight": 1,
                "stages.pseudo.loss": "ce",
                "stages.pseudo.secondary_weight": None,
            }
        )
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("model.pooltype", " (did you mean model.pool_type?)."),
        ("lr", " (did you mean stages.pretrain_ce.lr?)."),
        ("stages.pretrain.lr", " (did you mean stages.pretrain_ce.lr?)."),
        ("zzzzzz", "; see search_spaces/base.yaml"),
    ],
)
def test_unknown_keys_are_errors_with_the_nearest_known_one(name: str, hint: str) -> None:  # fault 7
    with pytest.raises(ConfigError) as error:
        SedConfig().with_overrides({name: 1})
    assert str(error.value).startswith(f"{name}: unknown configuration key{hint}")


# --- changing by copying


def test_overrides_give_a_checked_copy() -> None:
    base = SedConfig()
    changed = base.with_overrides({"model.pool_type": "gem", "stages.train_bce.lr": 2e-3, "data.window_s": 5})
    assert (changed.model.pool_type, changed.stages.train_bce.lr, changed.data.window_s) == ("gem", 2e-3, 5.0)
    assert base == SedConfig()
    assert changed.stages.pretrain_ce == base.stages.pretrain_ce


def test_a_configuration_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SedConfig().seed = 1  # type: ignore[misc]


def test_the_flat_form_makes_the_same_configuration_again() -> None:
    config = SedConfig().with_overrides({"model.weights": "w.safetensors", "stages.finetune.secondary_weight": None})
    assert SedConfig().with_overrides(config.flat()) == config


def test_a_stage_of_another_name_is_no_stage() -> None:
    with pytest.raises(AttributeError):
        SedConfig().stages["train_bse"]


def test_yaml_gives_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    # YAML 1.1 reads 1e-4 without a point as text.
    path.write_text("stages: {train_bce: {lr: 1e-4, min_lr: 1e-8}}\nmodel: {pretrained: false}\n")
    config = load_config(path)
    assert config.stages.train_bce.lr == 1e-4
    assert config.stages.train_bce.secondary_weight == 0.9  # the stage's own default stays
    assert not config.model.pretrained


def test_an_error_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model: {pool_type: mean}\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml:\nmodel\.pool_type='mean'"):
        load_config(path)


@pytest.mark.parametrize("tree", [{"model": 3}, {"model": None}, {"model": ["gem"]}, {"stages": {"train_bce": "fast"}}])
def test_a_branch_has_to_be_a_mapping(tree: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"model|stages\.train_bce"):
        config_from_dict(tree)


# --- mel filters and frames


def test_bands_wider_than_the_bins_leave_no_mel_filter_empty() -> None:
    """Bins every 15.625 Hz; 32 bands from 0 to 4000 Hz are at least 32 Hz wide each."""
    settings = {"sample_rate_hz": 8_000, "n_mels": 32, "f_min_hz": 0.0, "f_max_hz": 4_000.0, "n_fft": 512}
    assert empty_mel_filters(FrontEnd(hop_length=128, **settings)) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(("n_fft", "n_mels", "f_min_hz"), [(1024, 160, 0.0), (1024, 256, 20.0), (512, 128, 50.0)])
def test_empty_mel_filters_are_those_of_torchaudio(n_fft: int, n_mels: int, f_min_hz: float) -> None:
    settings = FrontEnd.model_construct(
        sample_rate_hz=32_000, n_fft=n_fft, hop_length=512, n_mels=n_mels, f_min_hz=f_min_hz, f_max_hz=16_000.0
    )
    with pytest.warns(UserWarning, match="all zero values"):
        filters = torchaudio.functional.melscale_fbanks(n_fft // 2 + 1, f_min_hz, 16_000.0, n_mels, 32_000)
    n_empty = int((filters.amax(dim=0) == 0).sum())
    assert empty_mel_filters(settings) == n_empty > 0


@given(st.floats(0.1, 60), st.sampled_from([320, 500, 512, 1252]))
def test_the_number_of_frames_is_that_of_a_centred_transform(duration_s: float, hop_length: int) -> None:
    n_samples = round(duration_s * 32_000)
    assert n_frames_in(duration_s, FrontEnd(hop_length=hop_length)) == len(range(0, n_samples + 1, hop_length))


# --- keys of earlier releases


def test_the_chances_of_earlier_releases_are_read() -> None:
    """Models of earlier releases have them in their config.json."""
    tree = {
        "augment": {"mix": {"mixup_prob": 0.6, "cutmix_prob": 0.2, "domain": "waveform"}},
        "pseudo": {"replace_prob": 0.5, "add_prob": 0.3, "join_prob": 0.1, "trim": 0.2},
    }
    config = config_from_dict(tree)
    assert (config.augment.mix.prob, config.augment.mix.cutmix_share) == pytest.approx((0.8, 0.25))
    assert (config.augment.mix.mixup_prob, config.augment.mix.cutmix_prob) == pytest.approx((0.6, 0.2))
    pseudo = config.pseudo
    assert (pseudo.replace_prob, pseudo.add_prob, pseudo.join_prob) == pytest.approx((0.5, 0.3, 0.1))
    assert pseudo.trim == 0.2


def test_an_earlier_chance_alone_stands_beside_the_earlier_default_of_the_other() -> None:
    mix = config_from_dict({"augment": {"mix": {"cutmix_prob": 0}}}).augment.mix
    assert (mix.mixup_prob, mix.cutmix_prob) == (0.5, 0)
    assert config_from_dict({"augment": {"mix": {"mixup_prob": 0, "cutmix_prob": 0}}}).augment.mix.prob == 0


@pytest.mark.parametrize("mix", [{"mixup_prob": 0.9}, {"mixup_prob": "x"}, {"mixup_prob": 0.1, "prob": 0.5}])
def test_earlier_chances_that_cannot_be_are_refused_by_name(mix: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"augment\.mix\.mixup_prob: was replaced; use augment\.mix\.prob"):
        config_from_dict({"augment": {"mix": mix}})
