"""Every key that --set takes changes something, or is refused with the reason: all commands, all keys."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sed_model.clips.pseudo_clips import read_pseudo_labels
from sed_model.clips.training_data import open_training_data
from sed_model.config.sed_config import SedConfig, known_keys
from sed_model.config.stages import SUPERVISED_STAGES, plan_stages
from sed_model.config.tree import Section
from sed_model.core.errors import ConfigError
from sed_model.core.parquet import write_parquet
from sed_model.data.recordings import read_configured
from sed_model.labels import rules
from sed_model.model.checkpoint import load_model
from sed_model.model.devices import choose_runtime
from sed_model.train.fit import FitJob, fit
from tests.sed_model.teachers import ClassTeacher
from trainables import ensemble
from trainables.labelling.candidates import EnsembleJob
from trainables.labelling.job import predict_shard
from trainables.labelling.plan import plan_ensemble, with_rules
from trainables.labelling.write_labels import joined_windows
from trainables.searching.training import TrainOptions, command, training_config
from trainables.spaces.overrides import Use, unused_reason

USES = {
    "search": Use("search", SUPERVISED_STAGES),
    "student": Use("student", ("pseudo",)),
    "train all": Use("train", SUPERVISED_STAGES),
    "train one": Use("train", ("train_bce",)),
    "ensemble": Use("ensemble", ()),
    "power mean": Use("ensemble", (), method="power_mean"),
}
MIXING = {f"pseudo.{name}" for name in ("prob", "replace_share", "join_share", "loss_power")}
MIXING |= {f"pseudo.{name}" for name in ("same_class_share", "mass_cap", "consistency_weight")}
RULES = {name for name in known_keys() if name.startswith("pseudo.")} - MIXING
RULES |= {"inference.overlap", "inference.smoothing_centre"}
ASLEEP = {
    *("model.gem_p", "model.attention_heads", "optim.restarts", "augment.spec.filter_max_db"),
    *("augment.wave.background_min_snr_db", "augment.wave.background_max_snr_db", "data.soundscape_prob"),
    "loss.strong_weight",
    "distil.last_stage",
    *(name for name in known_keys() if name.startswith(("loss.focal", "loss.asym", "loss.soft"))),
}
"""By the defaults no pooling, scheduler, sound or loss asks for them."""
AWAKE = {
    "model.pool_type": "gem",
    "model.multi_head_attention": True,
    "optim.scheduler": "cosine_restarts",
    "distil.weight": 0.5,
    "augment.spec.filter_prob": 1.0,
    "augment.wave.background_folder": "sounds",
    "stages.train_bce.loss": "focal_bce",
    "stages.finetune.loss": "asymmetric",
    "data.validation": "folds",
}


def stage_keys(*stages: str) -> set[str]:
    return {name for name in known_keys() if name.startswith(tuple(f"stages.{stage}." for stage in stages))}


REFUSED: dict[str, set[str]] = {
    "search": MIXING | stage_keys("pseudo") | ASLEEP,
    "student": stage_keys(*SUPERVISED_STAGES) | {"model.pretrained", "model.weights"} | ASLEEP,
    "train all": MIXING | RULES | stage_keys("pseudo") | ASLEEP,
    "train one": MIXING | RULES | stage_keys("pretrain_ce", "finetune", "pseudo") | ASLEEP,
    "ensemble": {name for name in known_keys() if not name.startswith(("inference.", "pseudo."))}
    | MIXING
    | {"pseudo.mean_exponent"},
}
REFUSED["power mean"] = REFUSED["ensemble"] - {"pseudo.mean_exponent"}


@pytest.mark.parametrize("name", USES)
def test_each_key_is_used_or_refused_with_the_reason(name: str) -> None:
    reasons = {key: unused_reason(key, SedConfig(), USES[name]) for key in known_keys()}
    assert {key for key, reason in reasons.items() if reason} == REFUSED[name]
    assert all(reason.endswith(".") and len(reason) > 20 for reason in reasons.values() if reason)


def test_what_others_ask_for_is_used() -> None:
    config = SedConfig().with_overrides(AWAKE | {"stages.pretrain_ce.loss": "soft_auc", "data.soundscape_folds": 4})
    assert not {key for key in ASLEEP if unused_reason(key, config, USES["search"])}
    searched = Use("search", SUPERVISED_STAGES, ("model.pool_type", "stages.finetune.loss"))
    assert not unused_reason("model.gem_p", SedConfig(), searched)
    assert not unused_reason("loss.focal_gamma", SedConfig(), searched)


@pytest.mark.parametrize(
    ("key", "changes", "validation", "reason"),
    [
        ("data.fold", {}, "soundscapes", "data.validation is soundscapes, and only folds asks for it"),
        ("data.fold", {}, "folds", ""),
        ("data.fold", {"data.soundscape_folds": 4}, "soundscapes", ""),
        (
            "data.soundscape_folds",
            {"data.soundscape_folds": 4},
            "folds",
            "data.validation is folds",
        ),
        ("data.soundscape_prob", {}, "soundscapes", "data.soundscape_folds is 0, and only 4 asks for it"),
        ("loss.strong_weight", {}, "soundscapes", "data.soundscape_folds is 0, and only 4 asks for it; set data.sound"),
        ("loss.strong_weight", {"data.soundscape_folds": 4}, "soundscapes", ""),
        (
            "loss.strong_weight",
            {"data.soundscape_folds": 4, "data.soundscape_prob": 0.0},
            "soundscapes",
            "data.soundscape_prob is 0, so that no clip is a labelled soundscape; raise that too.",
        ),
        ("data.sampler_power", {"data.sampler": "uniform"}, None, "data.sampler is uniform"),
        ("model.pretrained", {"model.weights": "a.safetensors"}, None, "model.weights is a.safetensors, and only null"),
        ("augment.wave.gain_max_db", {"augment.wave.gain_prob": 0.0}, None, "augment.wave.gain_prob is 0"),
        ("augment.wave.noise_max_amplitude", {"augment.wave.snr_noise_prob": 0.0}, None, ""),
        ("augment.wave.pitch_max_semitones", {"augment.wave.prob": 0.0}, None, "augment.wave.prob is 0"),
        ("augment.spec.time_masks", {"augment.spec.prob": 0.0}, None, "augment.spec.prob is 0"),
        ("augment.mix.domain", {"augment.mix.prob": 0.0}, None, "augment.mix.prob is 0"),
        ("augment.mix.domain", {"augment.mix.cutmix_share": 1.0}, None, "augment.mix.cutmix_share is 1, so that"),
        ("data.split_seed", {}, "soundscapes", "data.validation is soundscapes, and only folds asks for it"),
        ("optim.min_steps_per_epoch", {"optim.batch_size": 8}, None, "optim.batch_size is 8, and only null asks"),
        ("optim.min_steps_per_epoch", {}, None, ""),
        ("stages.train_bce.min_lr", {"optim.scheduler": "constant"}, None, "optim.scheduler is constant, and only cos"),
        ("stages.train_bce.min_lr", {"optim.scheduler": "one_cycle"}, None, ""),
        ("stages.finetune.warmup_epochs", {"optim.scheduler": "one_cycle"}, None, "optim.scheduler is one_cycle"),
        ("stages.finetune.warmup_epochs", {"optim.scheduler": "constant"}, None, ""),
        ("stages.train_bce.mixup_alpha", {"augment.mix.cutmix_share": 1.0}, None, "augment.mix.cutmix_share is 1, so"),
        ("stages.train_bce.mixup_alpha", {"augment.mix.prob": 0.0}, None, "augment.mix.prob is 0, so that nothing is"),
        ("stages.train_bce.cutmix_alpha", {"augment.mix.cutmix_share": 0.0}, None, "augment.mix.cutmix_share is 0"),
        ("stages.train_bce.cutmix_alpha", {"augment.mix.cutmix_share": 1.0}, None, ""),
        ("augment.spec.time_mask_frames", {"augment.spec.time_masks": 0}, None, "augment.spec.time_masks is 0"),
        ("augment.spec.freq_masks", {"augment.spec.freq_mask_bands": 0}, None, "augment.spec.freq_mask_bands is 0"),
        ("augment.wave.room_max_rt60_s", {"augment.wave.room_folder": "rooms"}, None, "augment.wave.room_folder is ro"),
        ("augment.wave.room_max_rt60_s", {}, None, ""),
        ("distil.last_stage", {}, None, "distil.weight is 0, so that no stage is distilled"),
        ("distil.last_stage", {"distil.weight": 0.5}, None, ""),
        ("distil.weight", {"distil.weight": 0.5}, None, ""),
    ],
)
def test_what_nothing_asks_for_is_refused(
    key: str, changes: dict[str, Any], validation: str | None, reason: str
) -> None:
    use = Use("search", SUPERVISED_STAGES, validation=validation)
    said = unused_reason(key, SedConfig().with_overrides(changes), use)
    assert said.startswith(reason)
    assert bool(said) == bool(reason)


@pytest.mark.parametrize(
    ("key", "changes", "reason"),
    [
        ("pseudo.replace_share", {"pseudo.prob": 0.0}, "pseudo.prob is 0"),
        ("pseudo.loss_power", {"pseudo.prob": 0.0}, "pseudo.prob is 0"),
        ("pseudo.join_share", {"pseudo.replace_share": 1.0}, "pseudo.replace_share is 1, so that every clip"),
        ("pseudo.join_share", {}, ""),
        ("pseudo.same_class_share", {"pseudo.replace_share": 0.0}, "pseudo.replace_share is 0, so that no clip"),
        ("pseudo.same_class_share", {"pseudo.prob": 0.0}, "pseudo.prob is 0"),
        ("pseudo.mass_cap", {"pseudo.prob": 0.0}, "pseudo.prob is 0"),
        ("pseudo.consistency_weight", {"pseudo.prob": 0.0}, ""),
        ("pseudo.prob", {}, ""),
        ("distil.weight", {"distil.weight": 0.5}, "pseudo is the last stage, which trains without the teacher; set"),
        ("distil.weight", {"distil.weight": 0.5, "distil.last_stage": True}, ""),
    ],
)
def test_what_a_student_makes_no_use_of_is_refused(key: str, changes: dict[str, Any], reason: str) -> None:
    said = unused_reason(key, SedConfig().with_overrides(changes), Use("student", ("pseudo",)))
    assert said.startswith(reason)
    assert bool(said) == bool(reason)


@pytest.mark.parametrize(("stage", "is_used"), [("pretrain_ce", True), ("train_bce", True), ("finetune", False)])
def test_a_stage_that_is_trained_alone_is_distilled_where_another_follows(stage: str, is_used: bool) -> None:
    config = SedConfig().with_overrides({"distil.weight": 0.5})
    assert (unused_reason("distil.weight", config, Use("train", (stage,))) == "") == is_used


def test_the_ensemble_refuses_what_is_not_its_own() -> None:
    with pytest.raises(ConfigError, match=r"--set pseudo\.join_share=0\.3: would change nothing: only students train"):
        with_rules(SedConfig(), {"pseudo.join_share": 0.3}, "mean")
    with pytest.raises(ConfigError, match=r"--set model\.gem_p: belongs to the trained models"):
        with_rules(SedConfig(), {"model.gem_p": 2.0}, "mean")
    with pytest.raises(ConfigError, match=r"--method mean has no exponent; add --method power_mean"):
        with_rules(SedConfig(), {"pseudo.mean_exponent": 3.0}, "mean")


def test_train_refuses_what_its_stage_ignores_and_tells_the_next_without_it(tmp_path: Path) -> None:
    words = ["--stage", "train_bce", "--data", "d", "--set", "stages.train_bce.lr=0.01", "--set=seed=1"]
    options = TrainOptions(tuple(words), "train_bce", data=tmp_path, overrides=("stages.train_bce.lr=0.01", "seed=1"))
    assert training_config(options, ("train_bce",), None).stages.train_bce.lr == 0.01
    with pytest.raises(
        ConfigError, match=r"stages\.train_bce\.lr=0\.01: .* is not trained, but finetune; add the stage"
    ):
        training_config(options, ("finetune",), None)
    assert command(words, "finetune") == "python -m trainables.train --stage finetune --data d --set=seed=1"
    assert command(words, "train_bce").endswith("--set stages.train_bce.lr=0.01 --set=seed=1")


def test_named_members_take_no_number_of_the_best(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--top-k: --members names all of them"):
        ensemble.main(["--run", str(tmp_path), "--members", "trial_0000,trial_0001", "--top-k", "1"])


# --- what the work of the commands reads of a configuration


def reads_of(work: Callable[[], object]) -> set[str]:
    """Section.field of everything that is read while the work goes on, but for the configuration's own checks."""
    read: set[str] = set()
    get = object.__getattribute__

    def noted(self: Section, name: str) -> Any:
        reader = sys._getframe(1)
        while reader.f_back and isinstance(getattr(type(self), reader.f_code.co_name, None), property):
            reader = reader.f_back  # a chance that follows from two keys
        if not name.startswith("_") and reader.f_code.co_name != "_problems":
            read.add(f"{type(self).__name__}.{name}")
        return get(self, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Section, "__getattribute__", noted)
        work()
    return read


def section_field(key: str) -> str:
    """`augment.wave.prob` -> `WaveAugment.prob`."""
    section: Any = SedConfig()
    *parents, leaf = key.split(".")
    for parent in parents:
        section = getattr(section, parent)
    return f"{type(section).__name__}.{leaf}"


@pytest.fixture(scope="module")
def awake(tiny_base: SedConfig, tmp_path_factory: pytest.TempPathFactory) -> SedConfig:
    sounds = tmp_path_factory.mktemp("sounds")
    soundfile.write(sounds / "wind.wav", np.random.default_rng(0).normal(0, 0.1, 16_000), 8_000)
    wave = {f"augment.wave.{name}": value for name, value in (("prob", 1.0), ("band_pass_max_centre_hz", 3e3))}
    wave |= {"augment.wave.high_pass_max_hz": 3e3, "augment.wave.low_pass_max_hz": 3e3}
    epochs = {f"stages.{stage}.epochs": 1 for stage in (*SUPERVISED_STAGES, "pseudo")}
    always = {"augment.mix.prob": 1.0, "augment.mix.cutmix_share": 0.5, "augment.spec.prob": 1.0}
    rest = {"data.on_bad_audio": "skip", "data.n_folds": 4, "stages.pseudo.loss": "soft_auc", "pseudo.loss_power": 0.5}
    rest |= {"pseudo.mass_cap": 0.5, "pseudo.same_class_share": 0.5}
    sounds_key = {"augment.wave.background_folder": str(sounds)}
    return tiny_base.with_overrides(AWAKE | sounds_key | wave | epochs | always | rest)


def train(config: SedConfig, root: Path, stages: Sequence[str], folder: Path, run: Path | None = None) -> None:
    labels = None if run is None else read_pseudo_labels(run / "ensemble")
    folder_read = read_configured(root, config.data)
    data = open_training_data(folder_read, config, progress=False, pseudo=labels, embeddings=ClassTeacher())
    for _ in fit(FitJob(config, plan_stages(config, stages), folder), data):
        pass


@pytest.fixture(scope="module")
def trained(awake: SedConfig, tiny_root: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What three supervised stages read, a recording of which is damaged."""
    folder = tmp_path_factory.mktemp("read")
    root = Path(shutil.copytree(tiny_root, folder / "data"))
    (root / "train_audio" / "grekis" / "XC0.wav").write_bytes(b"damaged")
    return reads_of(lambda: train(awake, root, SUPERVISED_STAGES, folder / "model"))


@pytest.fixture(scope="module")
def labelled(finished_run: Path, tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What an ensemble reads."""
    out = tmp_path_factory.mktemp("ensemble")

    def label() -> None:
        plan = plan_ensemble(EnsembleJob(finished_run, tiny_root, out, method="power_mean"))
        shards, members = plan.shards(), plan.rules.load()
        for shard in shards:
            runtime = choose_runtime(members[0].config.optim)
            write_parquet(shard.part, predict_shard(members, shard, runtime))
        rules.apply_rules(joined_windows(plan, shards), plan.classes, plan.config.pseudo, 12)

    return reads_of(label)


@pytest.mark.slow
def test_what_train_and_search_accept_their_work_reads(awake: SedConfig, trained: set[str], labelled: set[str]) -> None:
    for name, read in (("train all", trained), ("search", trained | labelled)):
        accepted = {key for key in known_keys() if not unused_reason(key, awake, USES[name])}
        assert {key for key in accepted if section_field(key) not in read} == set()
    assert not {name for name in trained if name.startswith("Pseudo.")}  # which train refuses


@pytest.mark.slow
def test_what_an_ensemble_accepts_its_work_reads_and_it_refuses_nothing_of_it(
    awake: SedConfig, labelled: set[str]
) -> None:
    use = USES["power mean"]
    accepted = {section_field(key) for key in known_keys() if not unused_reason(key, awake, use)}
    assert accepted == {name for name in labelled if name.startswith(("Inference.", "Pseudo."))}


@pytest.mark.slow
def test_what_a_student_accepts_its_work_reads(
    awake: SedConfig, labelled: set[str], finished_run: Path, tiny_root: Path, cache_dir: Path, tmp_path: Path
) -> None:
    config = awake.with_overrides({"data.validation": "soundscapes"})
    read = reads_of(lambda: train(config, tiny_root, ("pseudo",), tmp_path, finished_run)) | labelled
    use = Use("student", ("pseudo",), validation="soundscapes")
    accepted = {key for key in known_keys() if not unused_reason(key, config, use)}
    assert {key for key in accepted if section_field(key) not in read} - {"data.on_bad_audio"} == set()
    assert load_model(tmp_path).lineage.stage == "pseudo"
