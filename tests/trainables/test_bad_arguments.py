"""Arguments that make no sense: status 2, one message that names thing, value and repair, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from trainables.spaces.load import load_space

# --- search

ARGUMENTS = {
    "no trials": (["--num-trials", "0"], ["--num-trials", "'0'", "from 1"]),
    "too many trials": (["--num-trials", "99999999"], ["num_trials=99999999", "1000000"]),
    "half a trial at a time": (["--max-concurrent", "0.5"], ["--max-concurrent", "'0.5'"]),
    "time without unit": (["--time-budget", "soon"], ["--time-budget", "'soon'", "30m"]),
    "scale of zero": (["--epochs-scale", "0"], ["--epochs-scale", "'0'", "above 0"]),
    "scale beyond all use": (["--epochs-scale", "1000"], ["epochs_scale=1000.0", "100"]),
    "seed too large": (["--seed", "4294967296"], ["--seed", "2^31"]),
    "negative GPUs": (["--gpus-per-trial=-1"], ["--gpus-per-trial", "'-1'"]),
    "no CPU": (["--cpus-per-trial", "0"], ["--cpus-per-trial", "'0'"]),
    "workers in words": (["--workers-per-trial", "many"], ["--workers-per-trial", "'many'"]),
    "CPUs beyond the machine": (["--cpus-per-trial", "100000"], ["100000 CPUs", "--cpus-per-trial"]),
    "GPUs beyond the machine": (["--gpus-per-trial", "1000"], ["1000 GPUs", "--gpus-per-trial"]),
    "workers without a dashboard": (
        ["--workers-per-trial", "1", "--no-dashboard"],
        ["--no-dashboard", "--workers-per-trial 0"],
    ),
    "unknown searcher": (["--searcher", "bayes"], ["--searcher", "'bayes'", "optuna"]),
    "misspelt flag": (["--num-trails", "3"], ["--num-trails", "did you mean --num-trials?"]),
    "misspelt stage": (["--stages", "pretrain"], ["pretrain", "pretrain_ce"]),
    "stages in the wrong order": (["--stages", "train_bce,pretrain_ce"], ["train_bce", "order"]),
    "a stage left out": (["--stages", "pretrain_ce,finetune"], ["finetune", "train_bce"]),
    "a search without its first stage": (["--stages", "train_bce,finetune"], ["pretrain_ce", "put it first"]),
    "a stage that needs pseudo-labels": (
        ["--stages", "pretrain_ce,train_bce,finetune,pseudo"],
        ["pseudo-labels", "leave it out"],
    ),
    "key set twice": (["--set", "seed=1", "--set", "seed=2"], ["seed", "twice"]),
    "value out of range": (["--set", "model.drop_rate=1.5"], ["model.drop_rate", "1.5", "less than 1"]),
    "unknown backbone": (["--set", "model.backbone=resnet19"], ["resnet19", "resnet18"]),
    "backbone of fixed size": (["--set", "model.backbone=vit_tiny_patch16_224"], ["vit_tiny", "convolutional"]),
    "missing weights": (["--set", "model.weights=no.safetensors"], ["no.safetensors", "no such file"]),
    "missing background sounds": (
        [
            *("--set", "augment.wave.prob=0.5", "--set", "augment.wave.background_folder=nowhere"),
            *("--set", "augment.wave.band_pass_prob=0", "--set", "augment.wave.low_pass_prob=0"),
        ],
        ["background_folder", "nowhere"],
    ),
    "fold that there is not": (["--set", "data.validation=folds", "--set", "data.fold=7"], ["fold", "7"]),
    "missing space": (["--space", "nowhere.yaml"], ["nowhere.yaml", "arch.yaml"]),
    "missing data": (["--data", "nowhere"], ["nowhere", "train.csv"]),
    "name that is a path": (["--name", "a/b"], ["--name", "'a/b'", "--out"]),
    "out that is a file": (["--out", "/dev/null"], ["/dev/null", "is a file"]),
    "unknown cost": (["--cost", "watts"], ["--cost", "'watts'", "params_m"]),
    "finalists that nothing takes": (
        ["--top-k", "5", "--no-pseudo-labels"],
        ["--top-k 5", "--no-pseudo-labels", "--refit-folds 0,1,2"],
    ),
    "finalists of too few labelled soundscapes": (
        ["--finalists", "5"],
        ["--finalists 5", "2 labelled soundscapes", "take 8", "leave it out, or label more"],
    ),
    "finalists of folds": (
        ["--finalists", "5", "--set", "data.validation=folds"],
        ["--finalists 5", "data.validation=folds", "leave one of the two out"],
    ),
    "finalists and folds": (
        ["--finalists", "5", "--refit-folds", "0,1"],
        ["--finalists 5", "--refit-folds", "leave one of the two out"],
    ),
    "a weight without a teacher": (
        ["--set", "distil.weight=1"],
        ["distil.weight=1", "trainables.probe", "--teacher", "set distil.weight=0"],
    ),
    "times without events": (
        ["--set", "loss.strong_weight=0.5", "--set", "data.soundscape_folds=2"],
        ["loss.strong_weight=0.5", "train_soundscapes_events.csv", "sed_model.import_annotations", "strong_weight=0"],
    ),
    "folds in words": (["--refit-folds", "all"], ["--refit-folds", "'all'"]),
    "warm start from nowhere": (["--warm-start", "nowhere"], ["nowhere", "no run folder"]),
    "storage of an unknown kind": (["--storage", "ftp://host/runs"], ["--storage", "ftp://host/runs", "s3://"]),
    "searcher that knows no conditions": (["--searcher", "gp"], ["gp", "model.gem_p", "--set"]),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "expected"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_search_refuses(
    refusal_of: Callable[..., str], tiny_space: Path, tiny_root: Path, cache_dir: Path, arguments: list[str],
    expected: list[str],
) -> None:  # fmt: skip
    message = refusal_of("search", "--space", tiny_space, "--data", tiny_root, "--name", "new", *arguments)

    assert [text for text in expected if text not in message] == []


# --- runs that are there, or not


def test_a_run_is_not_overwritten(
    refusal_of: Callable[..., str], tiny_space: Path, tiny_root: Path, tmp_path: Path
) -> None:
    (tmp_path / "runs" / "old").mkdir(parents=True)
    (tmp_path / "runs" / "old" / "notes.txt").write_text("mine")
    message = refusal_of("search", "--space", tiny_space, "--data", tiny_root, "--out", "runs", "--name", "old")

    assert "--resume --name old" in message


def test_search_without_a_space_is_refused(refusal_of: Callable[..., str]) -> None:
    assert "--space" in refusal_of("search")


RESUMES = {
    "nothing": ([], ["--resume", "no run folder", "--name"]),
    "no such run": (["--name", "lost"], ["lost", "no run folder"]),
    "with other settings": (["--set", "seed=3", "--seed", "3"], ["--set", "--seed", "leave out"]),
    "with a space": (["--space", "arch.yaml"], ["--space", "leave out"]),
}


@pytest.mark.parametrize(("arguments", "expected"), RESUMES.values(), ids=RESUMES)
def test_search_refuses_to_resume(refusal_of: Callable[..., str], arguments: list[str], expected: list[str]) -> None:
    message = refusal_of("search", "--resume", *arguments)

    assert [text for text in expected if text not in message] == []


def test_a_damaged_search_yaml_is_refused(refusal_of: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "runs" / "old").mkdir(parents=True)
    (tmp_path / "runs" / "old" / "search.yaml").write_text("space_name: tiny\n")

    assert "data.folder" in refusal_of("search", "--resume", "--name", "old")


def test_a_search_of_an_earlier_release_with_repairs_is_refused(
    refusal_of: Callable[..., str], tiny_space: Path, tmp_path: Path
) -> None:
    """Its trials did not run with the values that the study knows."""
    record = {"space_name": "old", "data": {"folder": "data", "fingerprint": "0"}, **load_space(tiny_space).as_dict()}
    record |= {"repair": {"model.gem_p": [2]}}
    record["space"] |= {"augment.mix.mixup_prob": {"uniform": [0, 1]}}
    (tmp_path / "runs" / "old").mkdir(parents=True)
    (tmp_path / "runs" / "old" / "search.yaml").write_text(yaml.safe_dump(record))
    message = refusal_of("search", "--resume", "--name", "old")

    assert "repair: there is no such section any more" in message
    assert "space.augment.mix.mixup_prob: was replaced; use augment.mix.prob" in message


# --- train


TRAIN = {
    "unknown stage": (["--stage", "pretrain"], ["--stage", "'pretrain'", "pretrain_ce"]),
    "a stage without its parent": (["--stage", "train_bce"], ["train_bce", "pretrain_ce", "out/pretrain_ce"]),
    "missing configuration": (["--stage", "all", "--config", "mine.yaml"], ["mine.yaml", "base.yaml"]),
    "unknown key": (["--stage", "all", "--set", "optim.rate=1"], ["optim.rate", "unknown"]),
    "out that is a file": (["--stage", "all", "--out", "/dev/null"], ["/dev/null", "is a file"]),
    "a weight without a teacher": (["--stage", "all", "--set", "distil.weight=1"], ["distil.weight=1", "--teacher"]),
    "times without parts": (
        ["--stage", "all", "--set", "loss.strong_weight=1"], ["loss.strong_weight=1", "set data.soundscape_folds=4"]
    ),
    "a teacher that is no run": (
        ["--stage", "all", "--teacher", "runs/mine", "--set", "distil.weight=1"],
        ["runs/mine", "is no run folder"],
    ),
    "no worker": (["--stage", "all", "--workers", "0"], ["--workers", "'0'"]),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "expected"), TRAIN.values(), ids=TRAIN)
def test_train_refuses(
    refusal_of: Callable[..., str], tiny_space: Path, tiny_root: Path, arguments: list[str], expected: list[str]
) -> None:
    config = tiny_space.parent / "base.yaml"
    message = refusal_of("train", "--config", config, "--data", tiny_root, "--out", "out", *arguments)

    assert [text for text in expected if text not in message] == []


def test_the_search_before_a_stage_is_offered(refusal_of: Callable[..., str], tiny_root: Path, tmp_path: Path) -> None:
    message = refusal_of("train", "--stage", "finetune", "--data", tiny_root, "--out", "out")

    assert f"finetune starts from the model of train_bce: {tmp_path / 'out' / 'train_bce'}: no trained model" in message
    assert f"python -m trainables.train --stage train_bce --data {tiny_root} --out out" in message


# --- ensemble


def test_an_ensemble_needs_a_run(refusal_of: Callable[..., str], tmp_path: Path) -> None:
    assert f"{tmp_path / 'nowhere'}: is no run folder" in refusal_of("ensemble", "--run", "nowhere")


ENSEMBLES = {
    "unknown method": (["--method", "median"], ["--method", "'median'", "mean"]),
    "missing soundscapes": (["--soundscapes", "nowhere"], ["--soundscapes", "nowhere", "no such folder"]),
    "soundscapes without audio": (["--soundscapes", "."], ["no unlabelled soundscape", ".wav"]),
    "no member": (["--top-k", "0"], ["--top-k", "'0'"]),
    "a key of the models": (["--set", "model.pool_type=avg"], ["model.pool_type", "pseudo."]),
    "a threshold above one": (["--set", "pseudo.keep_window=1.5"], ["pseudo.keep_window", "1.5"]),
    "two selections": (["--method", "greedy", "--select", "top"], ["--method greedy", "--select top"]),
    "a member twice": (["--members", "trial_0000,trial_0000"], ["--members", "different names"]),
    "an unknown member": (["--members", "trial_1234"], ["--members trial_1234", "no trial with a score"]),
    "damaged audio by a key": (["--set", "data.on_bad_audio=fail"], ["data.on_bad_audio", "--fail-on-bad-audio"]),
}


@pytest.mark.parametrize(("arguments", "expected"), ENSEMBLES.values(), ids=ENSEMBLES)
def test_ensemble_refuses(
    refusal_of: Callable[..., str], written_run: Path, arguments: list[str], expected: list[str]
) -> None:
    message = refusal_of("ensemble", "--run", written_run, *arguments)

    assert [text for text in expected if text not in message] == []
