"""Stages one at a time through Ray Train."""

from __future__ import annotations

import io
import re
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import ray

from analysis.tables import read_run
from sed_model.clips.training_data import open_training_data
from sed_model.config.sed_config import load_config
from sed_model.config.stages import plan_stages
from sed_model.core.errors import CheckpointError, ConfigError
from sed_model.core.files import sha256_of
from sed_model.data.recordings import read_data_folder
from sed_model.model.checkpoint import read_lineage
from sed_model.train.fit import FitJob, fit
from sed_model.train.progress import EpochResult
from trainables import train
from trainables.on_ray import repairs
from trainables.searching import training
from trainables.trials.stage_trainer import RayTrainJob, fit_with_ray_train

pytestmark = pytest.mark.slow
Train = Callable[..., str]


@pytest.fixture(scope="module")
def train_stage(ray_cluster: None, tiny_root: Path, tiny_space: Path) -> Train:
    """Runs the train command on the tiny data; what it prints comes back."""

    def run(out: Path, stage: str, *arguments: object) -> str:
        words = ["--config", tiny_space.parent / "base.yaml", "--data", tiny_root, "--out", out, "--stage", stage]
        with redirect_stdout(io.StringIO()) as output:
            train.main([str(word) for word in (*words, *arguments)])
        return output.getvalue()

    return run


@pytest.fixture(scope="module")
def pretrained(
    train_stage: Train, tiny_root: Path, tiny_space: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A folder with a trained first stage, broken off after its first epoch; and what its second one printed."""
    out = tmp_path_factory.mktemp("train")
    config = load_config(tiny_space.parent / "base.yaml")
    data = open_training_data(read_data_folder(tiny_root, config.data.target_s), config, progress=False)
    plans = plan_stages(config, ["pretrain_ce"])
    next(fit(FitJob(config, plans, out / "pretrain_ce", checkpoint_every_s=0.0), data))
    for name in ("train_pretrain_ce", "train_finetune"):  # as Ray Train leaves them when it is killed
        (out / ".ray_train" / name).mkdir(parents=True)
        (out / ".ray_train" / name / "checkpoint_manager_snapshot.json").write_text("{}")
    return out, train_stage(out, "pretrain_ce", "--resume")


@pytest.fixture(scope="module")
def trained(train_stage: Train, pretrained: tuple[Path, str]) -> tuple[Path, str]:
    """The folder with its second stage, of two epochs; and what that printed."""
    out, _ = pretrained
    return out, train_stage(out, "train_bce", "--set", "stages.train_bce.epochs=2")


def epoch_lines(output: str) -> list[str]:
    return [line.split("  loss")[0] for line in output.splitlines() if "  loss " in line]


def test_training_that_was_broken_off_goes_on(pretrained: tuple[Path, str]) -> None:
    out, output = pretrained

    assert read_lineage(out / "pretrain_ce").stage == "pretrain_ce"
    assert read_lineage(out / "pretrain_ce").parent is None
    assert epoch_lines(output) == ["pretrain_ce  pretrain_ce epoch   2/2"]


def test_a_stage_leaves_its_model_and_one_line_an_epoch(trained: tuple[Path, str]) -> None:
    out, output = trained

    assert read_lineage(out / "train_bce").stage == "train_bce"
    assert epoch_lines(output) == ["train_bce  train_bce   epoch   1/2", "train_bce  train_bce   epoch   2/2"]
    assert list(out.rglob("state.*")) == []
    # None of Ray Train's records, nor those of the training that was killed.
    assert sorted(path.name for path in out.iterdir()) == ["pretrain_ce", "train_bce"]
    assert len(list((out / "train_bce").glob("events.out.tfevents.*"))) == 1


def test_each_stage_says_how_it_starts_and_which_one_follows(
    pretrained: tuple[Path, str], trained: tuple[Path, str]
) -> None:
    (out, first), (_, second) = pretrained, trained

    assert "pretrain_ce starts: 2 epochs; 1 worker, " in first
    assert f"--out {out} --stage train_bce\n" in first
    assert f"--out {out} --stage finetune\n" in second  # without the keys of a stage that is over
    assert f"trainables.predict --model {out / 'train_bce'} --soundscapes " in second


def test_a_stage_broken_off_before_its_first_state_is_not_done(pretrained: tuple[Path, str], tmp_path: Path) -> None:
    stage = Path(shutil.copytree(pretrained[0] / "pretrain_ce", tmp_path / "pretrain_ce"))
    config = load_config(stage / "config.json")
    assert training.is_done(stage, config, resume=True)
    (stage / training.UNFINISHED).touch()
    assert not training.is_done(stage, config, resume=True)


def test_workers_wait_until_an_epoch_is_heard_and_its_error_ends_them(
    ray_cluster: None, tiny_root: Path, tiny_space: Path, tmp_path: Path
) -> None:
    """Else a trial that is stopped would leave a model of an epoch that nobody knows of."""
    config = load_config(tiny_space.parent / "base.yaml").with_overrides({"stages.pretrain_ce.epochs": 500})
    job = RayTrainJob(config, tiny_root, tmp_path / "pretrain_ce", ("pretrain_ce",))
    written = []

    def on_epoch(result: EpochResult) -> None:
        time.sleep(1.0)  # fifty epochs
        (events,) = job.folder.glob("events.*")
        written.append(events.stat().st_size)
        if result.epoch == 2:
            raise OSError("the output is closed")

    with pytest.raises(OSError, match="the output is closed"):
        fit_with_ray_train(job, on_epoch)

    (events,) = job.folder.glob("events.*")
    assert len(written) == 2
    assert written[0] < written[1] == events.stat().st_size


class InterruptingOutput(io.StringIO):
    """Presses Ctrl-C when it is told of the first epoch."""

    n_epochs = 0

    def write(self, text: str) -> int:
        if "  loss " in text:
            self.n_epochs += 1
            if self.n_epochs == 1:
                signal.raise_signal(signal.SIGINT)
        return super().write(text)


def test_ctrl_c_ends_a_training_with_the_command_that_goes_on(
    ray_cluster: None, tiny_root: Path, tiny_space: Path, tmp_path: Path
) -> None:
    """Within seconds of the first epoch of many, when there is a model and no state yet; the CPUs are given back."""
    words = ["--config", tiny_space.parent / "base.yaml", "--data", tiny_root, "--out", tmp_path / "out"]
    words += ["--stage", "pretrain_ce", "--set", "stages.pretrain_ce.epochs=500"]
    words += ["--set", "optim.early_stopping_epochs=0"]
    command = re.escape(" ".join(map(str, ["python -m trainables.train", *words, "--resume"])))
    output = InterruptingOutput()
    with redirect_stdout(output), pytest.raises(KeyboardInterrupt, match=f"^go on with: {command}$"):
        train.main(list(map(str, words)))

    assert (tmp_path / "out/pretrain_ce" / training.UNFINISHED).is_file()
    assert output.n_epochs < 20
    end_s = time.monotonic() + 30
    while ray.available_resources().get("CPU") != 2.0:
        assert time.monotonic() < end_s, "the training keeps its CPUs"
        time.sleep(0.1)


def test_the_next_stage_starts_from_the_model_of_the_one_before(trained: tuple[Path, str]) -> None:
    out, _ = trained

    parent = read_lineage(out / "train_bce").parent
    assert parent is not None
    assert parent.stage == "pretrain_ce"
    assert parent.weights_sha256 == sha256_of(out / "pretrain_ce" / "model.safetensors")


def test_a_model_is_not_overwritten(train_stage: Train, pretrained: tuple[Path, str]) -> None:
    out, _ = pretrained
    with pytest.raises(ConfigError, match=r"holds a model already; .*--resume"):
        train_stage(out, "pretrain_ce")


def test_a_stage_that_is_done_is_not_trained_again(train_stage: Train, pretrained: tuple[Path, str]) -> None:
    out, _ = pretrained
    before = sha256_of(out / "pretrain_ce" / "model.safetensors")
    output = train_stage(out, "pretrain_ce", "--resume")

    assert "pretrain_ce is done already" in output
    assert sha256_of(out / "pretrain_ce" / "model.safetensors") == before


def test_resume_with_other_settings_is_refused(train_stage: Train, pretrained: tuple[Path, str]) -> None:
    out, _ = pretrained
    with pytest.raises(ConfigError, match=r"another configuration: stages.pretrain_ce.lr=0.5 \(was 0.002\)"):
        train_stage(out, "pretrain_ce", "--resume", "--set", "stages.pretrain_ce.lr=0.5")


def test_a_parent_that_does_not_fit_is_refused(
    train_stage: Train, pretrained: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Ray has anything to do with it."""
    monkeypatch.setattr(training, "ray_session", lambda *_, **__: pytest.fail("Ray was asked for"))
    shutil.copytree(pretrained[0] / "pretrain_ce", tmp_path / "pretrain_ce")
    with pytest.raises(CheckpointError, match=r"does not fit model.backbone=resnet10t"):
        train_stage(tmp_path, "train_bce", "--set", "model.backbone=resnet10t")


def test_more_workers_than_the_cluster_has_are_refused(train_stage: Train, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--workers 3 with 1 CPUs .* does not fit the cluster"):
        train_stage(tmp_path, "pretrain_ce", "--workers", "3")


def test_a_missing_gpu_is_told_before_audio_is_decoded(train_stage: Train, tiny_root: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(tiny_root, tmp_path / "data"))
    (data / "train_audio/grekis/XC0.wav").write_bytes(b"RIFF")
    words = ("--data", data, "--cpus-per-worker", 1, "--gpus-per-worker", 1000)
    with pytest.raises(ConfigError, match="--workers 1 with 1 CPUs and 1000 GPUs each does not fit the cluster"):
        train_stage(tmp_path / "out", "pretrain_ce", *words)


def test_trials_can_train_in_ray_train(
    run_search: Callable[..., str], tiny_space: Path, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them well, one with an error in its worker; and the search looks for what killed trials have reserved."""
    remove, looks = repairs.remove_abandoned_groups, []
    monkeypatch.setattr(repairs, "remove_abandoned_groups", lambda: looks.append(remove()))
    (tmp_path / "base.yaml").write_text((tiny_space.parent / "base.yaml").read_text(encoding="utf-8"))
    (tmp_path / "space.yaml").write_text(
        "base: base.yaml\n"
        "config: {augment.wave.prob: 0.5, augment.wave.band_pass_prob: 0, augment.wave.low_pass_prob: 0}\n"
        "space: {augment.wave.background_folder: {choice: [null, /nowhere]}}\n",
        encoding="utf-8",
    )
    output = run_search(
        *("--space", tmp_path / "space.yaml", "--data", tiny_root, "--out", tmp_path, "--name", "run"),
        *("--num-trials", "2", "--searcher", "random", "--seed", "3", "--stages", "pretrain_ce"),
        *("--workers-per-trial", "2", "--no-pseudo-labels"),
    )
    run = read_run(tmp_path / "run")

    assert looks
    assert "raylet" not in output
    assert run.trials["status"].to_list() == ["complete", "failed"]
    assert run.trials["params_m"].iloc[0] > 0
    assert run.trials["error"].iloc[1].startswith("augment.wave.background_folder=/nowhere: ")
    assert run.curves["epoch"].to_list() == [1, 2]
    trials = tmp_path / "run" / "trials"
    assert sorted(path.name for path in trials.iterdir()) == ["trial_0000", "trial_0001"]
    names = {path.name.split(".")[0] for path in (trials / "trial_0000").iterdir()}
    assert names == {"model", "config", "oof", "events", "frames"}
