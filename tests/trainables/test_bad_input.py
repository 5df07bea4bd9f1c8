"""Wrong input: status 2, one message that names thing, value and repair, and nothing written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
from huggingface_hub import constants

from trainables import cli, ensemble, search, train

COMMANDS: dict[str, Any] = {"search": search.main, "train": train.main, "ensemble": ensemble.main}
Outcome = tuple[int, str]


@pytest.fixture
def refused(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command that has to fail before Ray starts; its message comes back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    if not ray.is_initialized():
        monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray was started for input that is wrong"))

    def run(command: str, *arguments: object) -> str:
        before = set(tmp_path.rglob("*"))
        with pytest.raises(SystemExit) as leaving:
            cli.run(lambda _: COMMANDS[command]([str(argument) for argument in arguments]))
        message = capfd.readouterr().err
        assert leaving.value.code == 2
        assert message.startswith("error: ")
        assert "Traceback" not in message
        assert set(tmp_path.rglob("*")) == before
        return message

    return run


@pytest.fixture
def data(tiny_root: Path, tmp_path: Path) -> Path:
    """A copy of the tiny data folder, free to be damaged."""
    return Path(shutil.copytree(tiny_root, tmp_path / "data"))


@pytest.fixture
def space_with(tmp_path: Path, tiny_space: Path) -> Callable[[str], Path]:
    """Writes a space of its own beside the tiny base."""

    def write(text: str) -> Path:
        shutil.copy(tiny_space.parent / "base.yaml", tmp_path)
        path = tmp_path / "space.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


# --- what the arguments say

ARGUMENTS = {
    "no trials": (["--num-trials", "0"], ["--num-trials", "'0'", "from 1"]),
    "trials in words": (["--num-trials", "ten"], ["--num-trials", "'ten'"]),
    "too many trials": (["--num-trials", "99999999"], ["num_trials=99999999", "1000000"]),
    "half a trial at a time": (["--max-concurrent", "0.5"], ["--max-concurrent", "'0.5'"]),
    "time without unit": (["--time-budget", "soon"], ["--time-budget", "'soon'", "30m"]),
    "negative time": (["--time-budget=-5m"], ["--time-budget", "'-5m'"]),
    "endless time": (["--time-budget", "inf"], ["--time-budget", "'inf'"]),
    "scale of zero": (["--epochs-scale", "0"], ["--epochs-scale", "'0'", "above 0"]),
    "scale that is no number": (["--epochs-scale", "nan"], ["--epochs-scale", "'nan'"]),
    "scale beyond all use": (["--epochs-scale", "1000"], ["epochs_scale=1000.0", "100"]),
    "negative seed": (["--seed=-1"], ["--seed", "'-1'"]),
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
    "unknown flag": (["--trials", "3"], ["--trials"]),
    "misspelt flag": (["--num-trails", "3"], ["--num-trails", "did you mean --num-trials?"]),
    "misspelt stage": (["--stages", "pretrain"], ["pretrain", "pretrain_ce"]),
    "no stage": (["--stages", ","], ["stages", "pretrain_ce"]),
    "stages in the wrong order": (["--stages", "train_bce,pretrain_ce"], ["train_bce", "order"]),
    "a stage left out": (["--stages", "pretrain_ce,finetune"], ["finetune", "train_bce"]),
    "a search without its first stage": (["--stages", "train_bce,finetune"], ["pretrain_ce", "put it first"]),
    "a stage that needs pseudo-labels": (
        ["--stages", "pretrain_ce,train_bce,finetune,pseudo"],
        ["pseudo-labels", "leave it out"],
    ),
    "unknown key": (["--set", "model.pool=gem"], ["model.pool", "model.pool_type"]),
    "key without value": (["--set", "model.pool_type"], ["model.pool_type", "key=value"]),
    "key set twice": (["--set", "seed=1", "--set", "seed=2"], ["seed", "twice"]),
    "value out of range": (["--set", "model.drop_rate=1.5"], ["model.drop_rate", "1.5", "less than 1"]),
    "value that is no number": (["--set", "data.window_s=.nan"], ["data.window_s", "nan"]),
    "value of another kind": (["--set", "optim.batch_size=many"], ["optim.batch_size", "many"]),
    "band above Nyquist": (["--set", "front_end.f_max_hz=5000"], ["5000", "4000", "sample_rate_hz"]),
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
    "value in another spelling": (["--set", "model.pool_type=GEM"], ["model.pool_type", "'GEM'", "gem"]),
    "value of a whole section": (["--set", "optim=adam"], ["optim", "unknown configuration key"]),
    "fraction for a whole number": (["--set", "optim.batch_size=2.5"], ["optim.batch_size", "2.5"]),
    "no mel bands": (["--set", "front_end.n_mels=0"], ["front_end.n_mels", "0"]),
    "mel bands without a frequency": (["--set", "front_end.n_mels=256"], ["n_mels=256", "n_fft"]),
    "hop beyond the window": (["--set", "front_end.hop_length=4096"], ["hop_length", "4096", "n_fft"]),
    "band upside down": (["--set", "front_end.f_min_hz=4000"], ["f_min_hz", "f_max_hz"]),
    "stage that there is not": (["--set", "stages.train_ce.lr=0.1"], ["stages.train_ce", "train_bce"]),
    "learning rate of zero": (["--set", "stages.pretrain_ce.lr=0"], ["stages.pretrain_ce.lr", "0"]),
    "no epochs": (["--set", "stages.pretrain_ce.epochs=0"], ["stages.pretrain_ce.epochs", "0"]),
    "fold that there is not": (["--set", "data.validation=folds", "--set", "data.fold=7"], ["fold", "7"]),
    "value that is a list": (["--set", "model.gem_p=[1, 2]"], ["model.gem_p", "[1, 2]"]),
    "value that is no YAML": (["--set", "model.gem_p={"], ["model.gem_p"]),
    "key of the search space that is fixed badly": (["--set", "model.gem_p=-3"], ["model.gem_p", "-3"]),
    "target longer than window": (["--set", "data.target_s=3"], ["target_s=3", "window_s=1.5"]),
    "missing space": (["--space", "nowhere.yaml"], ["nowhere.yaml", "arch.yaml"]),
    "missing data": (["--data", "nowhere"], ["nowhere", "train.csv"]),
    "name that is a path": (["--name", "a/b"], ["--name", "'a/b'", "--out"]),
    "name that leaves the folder": (["--name", ".."], ["--name", "'..'"]),
    "empty name": (["--name", ""], ["--name", "''"]),
    "out that is a file": (["--out", "/dev/null"], ["/dev/null", "is a file"]),
    "unknown cost": (["--cost", "watts"], ["--cost", "'watts'", "params_m"]),
    "folds in words": (["--refit-folds", "all"], ["--refit-folds", "'all'"]),
    "warm start from nowhere": (["--warm-start", "nowhere"], ["nowhere", "no run folder"]),
    "storage of an unknown kind": (["--storage", "ftp://host/runs"], ["--storage", "ftp://host/runs", "s3://"]),
    "searcher that knows no conditions": (["--searcher", "gp"], ["gp", "model.gem_p", "--set"]),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "expected"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_search_refuses(
    refused: Callable[..., str], tiny_space: Path, tiny_root: Path, cache_dir: Path, arguments: list[str],
    expected: list[str],
) -> None:  # fmt: skip
    message = refused("search", "--space", tiny_space, "--data", tiny_root, "--name", "new", *arguments)

    assert [text for text in expected if text not in message] == []


# --- what the files say

SPACES = {
    "no YAML": ("space: {a: [", ["space.yaml", "not valid YAML"]),
    "a list": ("- 1\n", ["space.yaml", "mapping"]),
    "a configuration": ("model: {pool_type: avg}\n", ["no search space", "trainables.train --config space.yaml"]),
    "no space": ("base: base.yaml\n", ["space", "at least one key"]),
    "unknown section": ("spaces: {}\n", ["spaces", "did you mean space"]),
    "missing base": ("base: other.yaml\nspace: {model.pool_type: {choice: [avg]}}\n", ["other.yaml", "no such file"]),
    "NaN": ("base: base.yaml\nspace: {model.gem_p: {uniform: [1, .nan]}}\n", ["model.gem_p", "nan", "finite"]),
    "reversed range": ("base: base.yaml\nspace: {model.gem_p: {uniform: [6, 1]}}\n", ["model.gem_p", "[1, 6]"]),
    "range beyond the key's": ("base: base.yaml\nspace: {model.gem_p: {uniform: [1, 20]}}\n", ["model.gem_p", "20.0"]),
    "key twice": (
        "base: base.yaml\nspace:\n  model.gem_p: {uniform: [1, 2]}\n  model.gem_p: {uniform: [1, 3]}\n",
        ["model.gem_p", "twice"],
    ),
    "empty file": ("", ["space.yaml"]),
    "text": ("model.pool_type\n", ["space.yaml", "mapping"]),
    "tabs": ("space:\n\tmodel.pool_type: {choice: [avg]}\n", ["not valid YAML"]),
    "space that is a list": ("base: base.yaml\nspace: [model.pool_type]\n", ["space", "choice"]),
    "unknown key": ("base: base.yaml\nspace: {model.pooling: {choice: [avg]}}\n", ["model.pooling", "model.pool_type"]),
    "value for a distribution": ("base: base.yaml\nspace: {model.gem_p: 3}\n", ["model.gem_p", "is 3", "uniform"]),
    "unknown distribution": ("base: base.yaml\nspace: {model.gem_p: {normal: [1, 2]}}\n", ["'normal'", "uniform"]),
    "two distributions": (
        "base: base.yaml\nspace: {model.gem_p: {uniform: [1, 2], choice: [3]}}\n",
        ["model.gem_p", "exactly one"],
    ),
    "empty choice": ("base: base.yaml\nspace: {model.pool_type: {choice: []}}\n", ["model.pool_type", "at least one"]),
    "choice twice": ("base: base.yaml\nspace: {model.pool_type: {choice: [avg, avg]}}\n", ["'avg' twice"]),
    "choice that is refused": ("base: base.yaml\nspace: {model.pool_type: {choice: [avg, mean]}}\n", ["'mean'", "avg"]),
    "three ends": ("base: base.yaml\nspace: {model.gem_p: {uniform: [1, 2, 3]}}\n", ["model.gem_p", "3 numbers"]),
    "range of words": ("base: base.yaml\nspace: {model.gem_p: {uniform: [low, high]}}\n", ["'low'", "number"]),
    "empty range": ("base: base.yaml\nspace: {model.gem_p: {uniform: [2, 2]}}\n", ["model.gem_p", "empty"]),
    "logarithm of zero": (
        "base: base.yaml\nspace: {stages.pretrain_ce.lr: {loguniform: [0, 1.0e-3]}}\n",
        ["loguniform", "above 0"],
    ),
    "fractions in randint": ("base: base.yaml\nspace: {optim.batch_size: {randint: [1.5, 4]}}\n", ["randint", "1.5"]),
    "step beyond the end": (
        "base: base.yaml\nspace: {model.gem_p: {quniform: [1, 2, 0.3]}}\n",
        ["quniform", "1.9"],
    ),
    "condition on a key outside": (
        "base: base.yaml\nspace: {model.gem_p: {uniform: [1, 2], when: {model.pool_type: gem}}}\n",
        ["model.gem_p", "when model.pool_type", "not in this space"],
    ),
    "condition that never holds": (
        "base: base.yaml\nspace: {model.pool_type: {choice: [avg, max]}, "
        "model.gem_p: {uniform: [1, 2], when: {model.pool_type: gem}}}\n",
        ["'gem'", "never is"],
    ),
    "condition on itself": (
        "base: base.yaml\nspace: {model.pool_type: {choice: [avg, gem], when: {model.pool_type: gem}}}\n",
        ["model.pool_type", "circle"],
    ),
    "code for a value": (
        "base: base.yaml\nspace: {model.gem_p: !!python/object/apply:os.system [ls]}\n",
        ["not valid YAML"],
    ),
    "no trials": (
        "base: base.yaml\nsearch: {num_trials: 0}\nspace: {model.pool_type: {choice: [avg]}}\n",
        ["search.num_trials", "0"],
    ),
    "unknown setting": (
        "base: base.yaml\nsearch: {trials: 3}\nspace: {model.pool_type: {choice: [avg]}}\n",
        ["search.trials", "num_trials"],
    ),
    "scheduler that we do not have": (
        "base: base.yaml\nsearch: {scheduler: pbt}\nspace: {model.pool_type: {choice: [avg]}}\n",
        ["'pbt'", "asha"],
    ),
    "a repair that is no list": (
        "base: base.yaml\nrepair: {front_end.n_mels: 16}\nspace: {model.pool_type: {choice: [avg]}}\n",
        ["repair.front_end.n_mels", "list"],
    ),
    "metric that nobody reports": (
        "base: base.yaml\nsearch: {metric: accuracy}\nspace: {model.pool_type: {choice: [avg]}}\n",
        ["search.metric", "accuracy"],
    ),
    "metric in the wrong direction": (
        "base: base.yaml\nsearch: {mode: min}\nspace: {model.pool_type: {choice: [avg]}}\n",
        ["mode", "max"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), SPACES.values(), ids=SPACES)
def test_search_refuses_a_space(
    refused: Callable[..., str], space_with: Callable[[str], Path], tiny_root: Path, text: str, expected: list[str]
) -> None:
    message = refused("search", "--space", space_with(text), "--data", tiny_root)

    assert [text for text in expected if text not in message] == []


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_quick_checks_come_before_slow_ones(
    refused: Callable[..., str], space_with: Callable[[str], Path], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder before weights are fetched; and the hub is asked once for all models."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(data / "cache"))
    space = space_with("base: base.yaml\nspace: {model.backbone: {choice: [resnet10t, resnet18]}}\n")
    words = ("search", "--space", space, "--set", "model.pretrained=true", "--data")

    assert refused(*words, data / "nowhere").startswith(f"error: {data / 'nowhere'} is not a folder")
    assert "weights of resnet10t" in (asked := refused(*words, data))
    assert "resnet18" not in asked


DAMAGES: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "no train.csv": (lambda root: (root / "train.csv").unlink(), ["train.csv"]),
    "empty train.csv": (lambda root: (root / "train.csv").write_bytes(b""), ["train.csv"]),
    "only a header": (
        lambda root: (root / "train.csv").write_text("primary_label,filename\n"), ["train.csv", "no rows"]
    ),
    "train.csv in another encoding": (
        lambda root: (root / "train.csv").write_bytes(b"primary_label,filename\ngrekis,\xe9"), ["train.csv"]
    ),
    "train.csv that is an archive": (lambda root: (root / "train.csv").write_bytes(bytes(range(256))), ["train.csv"]),
    "train.csv that is a folder": (
        lambda root: ((root / "train.csv").unlink(), (root / "train.csv").mkdir()), ["train.csv"]
    ),
    "a column twice": (
        lambda root: replace_in(root / "train.csv", "rating,author", "author,author"), ["train.csv", "author"]
    ),
    "an empty label": (lambda root: replace_in(root / "train.csv", "\ngrekis,", "\n,"), ["train.csv"]),
    "an absolute path": (
        lambda root: replace_in(root / "train.csv", "grekis/XC0.wav", "/etc/passwd"), ["/etc/passwd", "train_audio/"]
    ),
    "a row twice": (lambda root: replace_in(root / "train.csv", "grekis/XC1", "grekis/XC0"), ["grekis/XC0.wav"]),
    "rating in words": (lambda root: replace_in(root / "train.csv", "XC0.wav,1", "XC0.wav,good"), ["'good'"]),
    "no audio folder": (lambda root: shutil.rmtree(root / "train_audio"), ["train_audio"]),
    "taxonomy without labels": (
        lambda root: (root / "taxonomy.csv").write_text("scientific_name\nAvis\n"), ["taxonomy.csv", "primary_label"]
    ),
    "a class twice": (
        lambda root: replace_in(root / "taxonomy.csv", "grekis,", "abethr1,"), ["taxonomy.csv", "abethr1 is in line 3"]
    ),
    "truncated audio": (
        lambda root: (root / "train_audio/grekis/XC0.wav").write_bytes(b"RIFF\0\0"), ["grekis/XC0.wav"]
    ),
    "labels that are no numbers": (
        lambda root: replace_in(root / "train_soundscapes_labels.csv", "L0_1,1", "L0_1,yes"), ["yes"]
    ),
    "labels of an unknown class": (
        lambda root: replace_in(root / "train_soundscapes_labels.csv", "grekis", "gull"),
        ["train_soundscapes_labels.csv", "grekis"],
    ),
    "row_id without a second": (
        lambda root: replace_in(root / "train_soundscapes_labels.csv", "L0_1,", "L0,"), ["L0"]
    ),
    "missing column": (lambda root: replace_in(root / "train.csv", "primary_label", "label"), ["primary_label"]),
    "unknown label": (lambda root: replace_in(root / "train.csv", "\ngrekis,", "\nnone,"), ["none", "taxonomy.csv"]),
    "missing file": (lambda root: (root / "train_audio/grekis/XC0.wav").unlink(), ["grekis/XC0.wav"]),
    "path out of the folder": (
        lambda root: replace_in(root / "train.csv", "grekis/XC0.wav", "../x.wav"),
        ["../x.wav", "train_audio/"],
    ),
    "label list that is code": (
        lambda root: replace_in(root / "train.csv", "['grekis']", "print(1)"),
        ["print(1)", "secondary_labels"],
    ),
    "rating of six stars": (lambda root: replace_in(root / "train.csv", "XC0.wav,1", "XC0.wav,6"), ["'6'", "5"]),
    "unreadable audio": (
        lambda root: (root / "train_audio/grekis/XC0.wav").write_text("this is no audio"),
        ["grekis/XC0.wav", "on_bad_audio=skip"],
    ),
    "labels of no soundscape": (
        lambda root: replace_in(root / "train_soundscapes_labels.csv", "L0_1,", "L9_1,"),
        ["L9_1"],
    ),
    "labels beyond the end": (
        lambda root: replace_in(root / "train_soundscapes_labels.csv", "L0_4,", "L0_40,"),
        ["L0", "39"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "expected"), DAMAGES.values(), ids=DAMAGES)
def test_search_refuses_data(
    refused: Callable[..., str], tiny_space: Path, data: Path, cache_dir: Path, damage: Callable[[Path], Any],
    expected: list[str],
) -> None:  # fmt: skip
    damage(data)
    message = refused("search", "--space", tiny_space, "--data", data)

    assert [text for text in expected if text not in message] == []


def test_every_bad_file_is_listed(
    refused: Callable[..., str], tiny_space: Path, data: Path, cache_dir: Path
) -> None:  # fmt: skip
    for label in ("grekis", "abethr1"):
        (data / "train_audio" / label / "XC1.wav").write_bytes(b"")
    message = refused("search", "--space", tiny_space, "--data", data)

    assert "2 of 14 audio files" in message
    assert "grekis/XC1.wav" in message
    assert "abethr1/XC1.wav" in message


def test_weights_of_another_backbone_are_refused(
    refused: Callable[..., str], tiny_space: Path, tiny_root: Path, tmp_path: Path
) -> None:
    import timm
    from safetensors.torch import save_file

    save_file(timm.create_model("resnet10t", num_classes=0).state_dict(), tmp_path / "resnet10t.safetensors")
    message = refused(
        "search", "--space", tiny_space, "--data", tiny_root, "--set", "model.weights=resnet10t.safetensors"
    )

    assert "resnet10t.safetensors" in message
    assert "mobilenetv3_small_050" in message


# --- runs that are there, or not


def test_a_run_is_not_overwritten(
    refused: Callable[..., str], tiny_space: Path, tiny_root: Path, tmp_path: Path
) -> None:
    (tmp_path / "runs" / "old").mkdir(parents=True)
    (tmp_path / "runs" / "old" / "notes.txt").write_text("mine")
    message = refused("search", "--space", tiny_space, "--data", tiny_root, "--out", "runs", "--name", "old")

    assert "--resume --name old" in message


def test_search_without_a_space_is_refused(refused: Callable[..., str]) -> None:
    assert "--space" in refused("search")


RESUMES = {
    "nothing": ([], ["--resume", "no run folder", "--name"]),
    "no such run": (["--name", "lost"], ["lost", "no run folder"]),
    "with other settings": (["--set", "seed=3", "--seed", "3"], ["--set", "--seed", "leave out"]),
    "with a space": (["--space", "arch.yaml"], ["--space", "leave out"]),
}


@pytest.mark.parametrize(("arguments", "expected"), RESUMES.values(), ids=RESUMES)
def test_search_refuses_to_resume(refused: Callable[..., str], arguments: list[str], expected: list[str]) -> None:
    message = refused("search", "--resume", *arguments)

    assert [text for text in expected if text not in message] == []


def test_a_damaged_search_yaml_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "runs" / "old").mkdir(parents=True)
    (tmp_path / "runs" / "old" / "search.yaml").write_text("space_name: tiny\n")

    assert "data.folder" in refused("search", "--resume", "--name", "old")


# --- train


TRAIN = {
    "unknown stage": (["--stage", "pretrain"], ["--stage", "'pretrain'", "pretrain_ce"]),
    "a stage without its parent": (["--stage", "train_bce"], ["train_bce", "pretrain_ce", "out/pretrain_ce"]),
    "missing configuration": (["--stage", "all", "--config", "mine.yaml"], ["mine.yaml", "base.yaml"]),
    "unknown key": (["--stage", "all", "--set", "optim.rate=1"], ["optim.rate", "unknown"]),
    "out that is a file": (["--stage", "all", "--out", "/dev/null"], ["/dev/null", "is a file"]),
    "no worker": (["--stage", "all", "--workers", "0"], ["--workers", "'0'"]),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "expected"), TRAIN.values(), ids=TRAIN)
def test_train_refuses(
    refused: Callable[..., str], tiny_space: Path, tiny_root: Path, arguments: list[str], expected: list[str]
) -> None:
    config = tiny_space.parent / "base.yaml"
    message = refused("train", "--config", config, "--data", tiny_root, "--out", "out", *arguments)

    assert [text for text in expected if text not in message] == []


def test_the_search_before_a_stage_is_offered(refused: Callable[..., str], tiny_root: Path, tmp_path: Path) -> None:
    message = refused("train", "--stage", "finetune", "--data", tiny_root, "--out", "out")

    assert f"finetune starts from the model of train_bce: {tmp_path / 'out' / 'train_bce'}: no trained model" in message
    assert f"python -m trainables.train --stage train_bce --data {tiny_root} --out out" in message


# --- ensemble


def test_an_ensemble_needs_a_run(refused: Callable[..., str], tmp_path: Path) -> None:
    assert f"{tmp_path / 'nowhere'}: is no run folder" in refused("ensemble", "--run", "nowhere")


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


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "expected"), ENSEMBLES.values(), ids=ENSEMBLES)
def test_ensemble_refuses(
    refused: Callable[..., str], finished_run: Path, arguments: list[str], expected: list[str]
) -> None:
    message = refused("ensemble", "--run", finished_run, *arguments)

    assert [text for text in expected if text not in message] == []
