"""One stage: what a step does, what stops it, and what a skipped step leaves alone."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from sed_model.clips.dataset import Batch, EpochLoaders
from sed_model.clips.training_data import TrainingData, open_training_data
from sed_model.config.sed_config import SedConfig
from sed_model.config.stages import plan_stages
from sed_model.core.errors import ConfigError, TrainingError
from sed_model.model.devices import Runtime
from sed_model.model.network import SedModel, SedOutput
from sed_model.model.shares import Share
from sed_model.train.fit import fit
from sed_model.train.losses import consistency
from sed_model.train.optim import learning_rate
from sed_model.train.stage_training import Place, StageTraining, loudest_inside
from tests.sed_model.fit_jobs import job

CPU = Runtime(torch.device("cpu"), None)


class StubModel(SedModel):
    """A model whose forward pass a test replaces."""

    def __init__(self, config: SedConfig, n_classes: int, spoil: Any) -> None:
        super().__init__(config, n_classes)
        self.spoil = spoil
        self.n_calls = 0

    def forward(self, images: torch.Tensor, target: torch.Tensor | None = None) -> SedOutput:
        self.n_calls += 1
        return self.spoil(super().forward(images, target), self.n_calls)


class Setting(NamedTuple):
    data: TrainingData
    config: SedConfig

    def training(
        self, stage: str = "train_bce", spoil: Any = None, runtime: Runtime = CPU, **overrides: object
    ) -> StageTraining:
        """A fresh model in a stage; overrides are written with two underscores for a dot."""
        config = self.config.with_overrides({name.replace("__", "."): value for name, value in overrides.items()})
        torch.manual_seed(0)
        n_classes = len(self.data.folder.classes)
        model = StubModel(config, n_classes, spoil) if spoil else SedModel(config, n_classes)
        runtime.place(model)
        return StageTraining(
            model, plan_stages(config, [stage])[0], config, EpochLoaders(self.data, config, stage), runtime
        )

    def loss(self, stage: str, **overrides: object) -> float:
        training = self.training(stage, **overrides)
        torch.manual_seed(1)
        return training.train_epoch(1).loss


@pytest.fixture(scope="module")
def setting(tiny_data: TrainingData, tiny_config: SedConfig) -> Setting:
    return Setting(tiny_data, tiny_config.with_overrides({"augment.spec.prob": 0.0}))


def weights(training: StageTraining) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in training.model.state_dict().items()}


# --- fault 7: what the configuration says is what happens


@pytest.mark.parametrize("stage", ["pretrain_ce", "train_bce", "finetune", "pseudo"])
@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_each_stage_mixes_with_its_own_alpha(setting: Setting, stage: str, kind: str) -> None:
    always = {"augment__mix__prob": 1.0, "augment__mix__cutmix_share": float(kind == "cutmix")}
    never = {"augment__mix__prob": 0.0}
    plain = setting.loss(stage, **never)
    assert setting.loss(stage, **always, **{f"stages__{stage}__{kind}_alpha": 0.0}) == plain
    mixed = setting.loss(stage, **always, **{f"stages__{stage}__{kind}_alpha": 1.0})
    assert mixed != plain
    assert setting.loss(stage, **always, **{f"stages__{stage}__{kind}_alpha": 5.0}) not in (plain, mixed)


@pytest.mark.parametrize("domain", ["waveform", "spectrogram"])
def test_mixup_adds_where_it_is_told_to(setting: Setting, domain: str) -> None:
    losses = [
        setting.loss("train_bce", augment__mix__prob=p, augment__mix__cutmix_share=0.0, augment__mix__domain=domain)
        for p in (0.0, 1.0)
    ]
    assert losses[0] != losses[1]


def test_levels_mix_as_waveforms_or_as_log_mels(setting: Setting) -> None:
    mixed = {"augment__backend": "spectral", "augment__mix__prob": 1.0, "augment__mix__cutmix_share": 0.0}
    losses = {
        domain: setting.loss("train_bce", augment__mix__domain=domain, **mixed)
        for domain in ("waveform", "spectrogram")
    }
    assert losses["waveform"] != losses["spectrogram"]


def test_masks_and_filters_are_switched_by_their_probabilities(setting: Setting) -> None:
    plain = setting.loss("train_bce")
    assert setting.loss("train_bce", augment__spec__prob=1.0) != plain
    assert setting.loss("train_bce", augment__spec__filter_prob=1.0) != plain


@pytest.mark.parametrize("domain", ["waveform", "spectrogram"])
@pytest.mark.parametrize("multi_resolution", [False, True])
def test_the_spectral_backend_brings_images(setting: Setting, domain: str, multi_resolution: bool) -> None:
    settings = {"augment__mix__domain": domain, "model__multi_resolution": multi_resolution}
    loss = setting.loss("train_bce", augment__backend="spectral", **settings)
    waveforms = setting.loss("train_bce", **settings)
    assert loss == pytest.approx(waveforms, abs=0.01)  # no augmentation: the same log-mel up to rounding


# --- the part that a label is for


def test_frames_outside_the_part_are_not_told_to_have_the_label() -> None:
    """Ten steps: a label for 0.2 to 0.6 is for steps 2 to 5."""
    frames = torch.arange(10.0).repeat(2, 1)[:, :, None].requires_grad_()
    loudest = loudest_inside(frames, torch.tensor([[0.2, 0.6], [0.0, 1.0]]))
    assert loudest.flatten().tolist() == [5, 9]
    loudest.sum().backward()
    assert frames.grad is not None
    assert frames.grad[:, :, 0].nonzero().tolist() == [[0, 5], [1, 9]]


@pytest.mark.parametrize("part", [(0.0, 0.5), (0.5, 1.0)])
def test_the_loss_is_that_of_the_part(setting: Setting, part: tuple[float, float]) -> None:
    """Loud frames of the other half change nothing."""
    half = int(part[0] > 0)

    def spoilt(output: SedOutput, _: int) -> SedOutput:
        frames = output.frame_logits.clone()
        middle = frames.shape[1] // 2
        frames[:, slice(0, middle) if half else slice(middle + 1, None)] += 50.0
        return SedOutput(output.clip_logits, frames)

    losses = []
    for spoil in (None, spoilt):
        training = setting.training(spoil=spoil, augment__mix__prob=0.0)
        batch = Batch(*next(iter(training.loaders.training(1))))
        batch = batch._replace(part=torch.tensor([part] * len(batch.row)))
        training.model.eval()
        losses.append(training.loss(batch, Place("train_bce", 1, 1, ()), Share(len(batch.row))).item())
        whole = batch._replace(part=torch.tensor([[0.0, 1.0]] * len(batch.row)))
        losses.append(training.loss(whole, Place("train_bce", 1, 1, ()), Share(len(batch.row))).item())
    assert losses[0] == pytest.approx(losses[2])
    assert losses[1] + 1 < losses[3]
    assert losses[0] != losses[1]  # the clip score too is that of the part


@pytest.mark.parametrize(("clip_weight", "differ"), [(1.0, True), (0.0, False)])
def test_after_cutmix_the_loudest_frame_has_the_labels_of_both(
    setting: Setting, clip_weight: float, differ: bool
) -> None:
    """Whatever the rule of labels: the loss of the clip scores alone depends on it."""
    cut = {"augment__mix__prob": 1.0, "augment__mix__cutmix_share": 1.0, "loss__clip_weight": clip_weight}
    convex, union = (setting.loss("train_bce", **cut, augment__mix__labels=rule) for rule in ("convex", "union"))
    assert (convex != union) is differ


# --- two views


def test_two_views_cost_their_difference(setting: Setting) -> None:
    """Without masks and dropout they are one: the loss is that of one view, and the term its entropy."""
    plain = {"augment__mix__prob": 1.0}
    losses = []
    for weight in (0.0, 1.0, 2.0):
        seen: list[torch.Tensor] = []

        def note(output: SedOutput, _: int, seen: list[torch.Tensor] = seen) -> SedOutput:
            seen.append(output.clip_logits.detach())
            return output

        training = setting.training("pseudo", note, **plain, pseudo__consistency_weight=weight)
        training.model.eval()
        batch = Batch(*next(iter(training.loaders.training(1))))
        losses.append(training.loss(batch, Place("pseudo", 1, 1, ()), Share(4)).item())
    (logits,) = seen
    assert torch.equal(logits[:4], logits[4:])
    term = consistency(logits[:4], logits[4:]).item()
    assert losses[1:] == pytest.approx([losses[0] + term, losses[0] + 2 * term])


def test_the_views_have_masks_of_their_own_and_the_first_the_one_that_it_had(setting: Setting) -> None:
    seen: dict[float, torch.Tensor] = {}
    for weight in (0.0, 1.0):

        def note(output: SedOutput, _: int, weight: float = weight) -> SedOutput:
            seen[weight] = output.clip_logits.detach()
            return output

        training = setting.training("pseudo", note, augment__spec__prob=1.0, pseudo__consistency_weight=weight)
        training.model.eval()
        batch = Batch(*next(iter(training.loaders.training(1))))
        training.loss(batch, Place("pseudo", 1, 1, ()), Share(4))
    assert (seen[0.0].shape[0], seen[1.0].shape[0]) == (4, 8)
    torch.testing.assert_close(seen[1.0][:4], seen[0.0])
    assert not torch.equal(seen[1.0][4:], seen[0.0])


def test_only_the_stage_of_students_has_two_views(setting: Setting) -> None:
    assert setting.loss("finetune", pseudo__consistency_weight=1.0) == setting.loss("finetune")


def test_a_student_whose_views_are_pulled_together_minds_masks_less(setting: Setting) -> None:
    """After the same steps: how far apart the probabilities of differently masked views are."""
    apart = []
    for weight in (0.0, 5.0):
        seen: list[torch.Tensor] = []

        def note(output: SedOutput, _: int, seen: list[torch.Tensor] = seen) -> SedOutput:
            seen.append(output.clip_logits.detach().sigmoid())
            return output

        changes = {"augment__spec__prob": 1.0, "augment__mix__prob": 0.0, "stages__pseudo__lr": 3e-3}
        changes |= {"model__drop_rate": 0.0, "model__drop_path_rate": 0.0, "model__final_dropout": 0.0}
        training = setting.training("pseudo", note, **changes, pseudo__consistency_weight=weight)
        for epoch in range(1, 5):
            training.train_epoch(epoch)
        training.n_views = 2
        batch = Batch(*next(iter(training.loaders.training(1))))
        training.loss(batch, Place("pseudo", 5, 1, ()), Share(4))
        first, second = seen[-1].chunk(2)
        apart.append((first - second).abs().mean().item())
    assert apart[1] < 0.6 * apart[0]


# --- the step


def test_the_schedule_is_stepped_in_steps(setting: Setting) -> None:  # fault 5
    training = setting.training(stages__train_bce__epochs=2)
    settings = training.stage, training.config.optim
    for epoch in (1, 2):
        lr = training.train_epoch(epoch).lr
        assert training.step == epoch * 3
        assert lr == learning_rate(training.step - 1, 6, 3, *settings)
        assert training.optimizer.param_groups[0]["lr"] == lr
    assert lr == training.stage.min_lr


@pytest.mark.parametrize(("accumulation_steps", "n_steps"), [(1, 3), (2, 2), (3, 1), (8, 1)])
def test_an_epoch_has_a_step_for_each_group_of_batches(setting: Setting, accumulation_steps: int, n_steps: int) -> None:
    training = setting.training(optim__accumulation_steps=accumulation_steps)
    training.train_epoch(1)
    assert (training.step, training.steps_per_epoch) == (n_steps, n_steps)


def test_accumulated_batches_are_averaged_also_in_a_last_smaller_group(setting: Setting) -> None:
    """With one batch in the group, accumulation over 8 is a plain step: gradients are not divided by 8."""
    one_batch = {
        "optim__batch_size": 12,
        "optim__min_steps_per_epoch": 1,
        "optim__optimizer": "sgd",
        "optim__grad_clip_norm": 0.0,
        "optim__ema_decay": 0.0,
    }
    results = []
    for steps in (1, 8):
        training = setting.training(**one_batch, optim__accumulation_steps=steps)
        torch.manual_seed(1)
        training.train_epoch(1)
        results.append(weights(training))
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, msg=name)


def test_a_frozen_backbone_stays_as_it_is_batch_statistics_included(setting: Setting) -> None:
    training = setting.training(stages__train_bce__freeze_backbone=True, optim__weight_decay=0.5)
    before = weights(training)
    training.train_epoch(1)
    after = weights(training)
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head"}


def test_a_backbone_is_free_again_in_the_next_stage(setting: Setting) -> None:
    frozen = setting.training("train_bce", stages__train_bce__freeze_backbone=True)
    plan = plan_stages(setting.config, ["finetune"])[0]
    training = StageTraining(frozen.model, plan, setting.config, frozen.loaders, CPU)
    before = weights(training)
    training.train_epoch(1)
    assert any(not torch.equal(value, before[name]) for name, value in weights(training).items() if "backbone" in name)


def test_validation_sees_the_averaged_weights_and_training_goes_on_with_its_own(setting: Setting) -> None:
    training = setting.training(optim__ema_decay=0.9)
    training.train_epoch(1)
    own = weights(training)
    with training.averaged():
        inside = weights(training)
    assert any(not torch.equal(inside[name], own[name]) for name in own)
    for name, value in training.averaged_weights().items():
        assert torch.equal(value, inside[name])
    assert all(torch.equal(value, own[name]) for name, value in weights(training).items())


def test_without_averaging_the_weights_are_the_model_s(setting: Setting) -> None:
    training = setting.training(optim__ema_decay=0.0)
    training.train_epoch(1)
    with training.averaged():
        assert all(
            torch.equal(value, training.model.state_dict()[n]) for n, value in training.averaged_weights().items()
        )


def test_labels_of_confident_clips_count_more(setting: Setting) -> None:
    assert setting.loss("train_bce", data__rating_weight=True) != setting.loss("train_bce")


# --- mixed precision


def test_fp16_steps_that_overflow_move_neither_schedule_nor_averages(setting: Setting) -> None:
    runtime = Runtime(torch.device("cpu"), torch.float16)
    # The first scale of 65,536 overflows where a loss is as large as this.
    training = setting.training(
        runtime=runtime, spoil=lambda out, n: SedOutput(out.clip_logits * 3000, out.frame_logits)
    )
    before = weights(training)
    lr = training.train_epoch(1).lr
    scale = training.scaler.get_scale()
    skipped = round(np.log2(65_536 / scale))
    assert 0 < skipped <= 3, "no step overflowed: this test cannot tell"
    assert training.step == 3 - skipped
    assert training.ema is not None
    assert training.ema.updates == training.step
    assert lr == learning_rate(max(0, training.step - 1), 25 * 3, 3, training.stage, training.config.optim)
    if training.step == 0:
        for name, parameter in training.model.named_parameters():
            assert torch.equal(parameter, before[name])


def test_fp16_gradients_that_always_overflow_stop_the_run(setting: Setting) -> None:
    runtime = Runtime(torch.device("cpu"), torch.float16)

    def endless(output: SedOutput, _: int) -> SedOutput:
        # The value is finite, the gradient is not.
        pole = (output.clip_logits - output.clip_logits.detach()).sqrt()
        return SedOutput(output.clip_logits + 0 * pole.detach() + pole, output.frame_logits)

    training = setting.training(runtime=runtime, spoil=endless)

    def many_epochs() -> None:
        for epoch in range(1, 20):
            training.train_epoch(epoch)

    with pytest.raises(TrainingError, match=r"gradient is inf in train_bce, epoch \d+, step \d.*train_audio/"):
        many_epochs()


# --- fault 9: failures


def test_a_loss_that_is_not_finite_names_stage_epoch_step_and_files(setting: Setting) -> None:
    def spoil(output: SedOutput, n_calls: int) -> SedOutput:
        return SedOutput(output.clip_logits * (torch.nan if n_calls == 2 else 1), output.frame_logits)

    training = setting.training(spoil=spoil)
    second = [Batch(*batch) for batch in training.loaders.training(1)][1]
    files = ", ".join(training.loaders.clips.paths[row] for row in second.row.tolist())
    with pytest.raises(TrainingError) as error:
        training.train_epoch(1)
    message = str(error.value)
    assert message.startswith("loss is nan in train_bce, epoch 1, step 2; lower stages.train_bce.lr")
    assert message.endswith(f"Files of the batch: {files}")
    assert training.step == 1


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_are_lost(setting: Setting) -> None:
    def spoil(output: SedOutput, _: int) -> SedOutput:
        pole = (output.clip_logits - output.clip_logits.detach()).sqrt()
        return SedOutput(output.clip_logits + pole, output.frame_logits)

    training = setting.training(spoil=spoil)
    with pytest.raises(TrainingError, match=r"gradient norm is (nan|inf) in train_bce, epoch 1, step 1"):
        training.train_epoch(1)
    assert all(torch.isfinite(value).all() for value in training.model.parameters())


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
)
def test_memory_that_runs_out_names_the_batch_and_what_helps(setting: Setting, error: RuntimeError) -> None:
    def spoil(output: SedOutput, _: int) -> SedOutput:
        raise error

    message = (
        r"out of memory in train_bce with 4 clips of 1\.5 s a step; lower optim\.batch_size .*"
        r"optim\.accumulation_steps.*optim\.grad_checkpointing=true.*data\.window_s.*model\.backbone"
    )
    with pytest.raises(TrainingError, match=message):
        setting.training(spoil=spoil).train_epoch(1)


def test_another_error_of_the_model_stays_what_it_is(setting: Setting) -> None:
    def spoil(output: SedOutput, _: int) -> SedOutput:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        setting.training(spoil=spoil).train_epoch(1)


# --- validation loss


def test_the_validation_loss_is_that_of_the_clip_scores_by_hand(setting: Setting) -> None:
    logits, targets = np.array([[0.0, 0.0, 0.0]], np.float32), np.array([[1.0, 0.0, 0.0]], np.float32)
    smoothed = {"loss__label_smoothing": 0.2, "loss__clip_weight": 0.0}  # of training, not of the score
    assert setting.training("train_bce", **smoothed).validation_loss(logits, targets) == pytest.approx(np.log(2))
    assert setting.training("pretrain_ce", **smoothed).validation_loss(logits, targets) == pytest.approx(np.log(3))


def test_windows_without_a_call_have_no_cross_entropy(setting: Setting) -> None:
    logits = np.array([[0, 0, 0], [5, -9, 3]], np.float32)
    targets = np.array([[0, 1, 0], [0, 0, 0]], np.float32)
    assert setting.training("pretrain_ce").validation_loss(logits, targets) == pytest.approx(np.log(3))


def test_a_validation_loss_that_is_not_finite_is_an_error(setting: Setting) -> None:
    logits = np.full((2, 3), np.nan, np.float32)
    with pytest.raises(TrainingError, match="validation loss is nan in train_bce"):
        setting.training().validation_loss(logits, np.eye(3, dtype=np.float32)[:2])


def test_a_state_comes_back(setting: Setting) -> None:
    first = setting.training()
    first.train_epoch(1)
    second = setting.training()
    second.model.load_state_dict(first.model.state_dict())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    stats = []
    for training in (first, second):
        torch.manual_seed(5)
        stats.append(replace(training.train_epoch(2), samples_per_s=0.0))
    assert stats[0] == stats[1]
    for name, value in weights(first).items():
        assert torch.equal(value, second.model.state_dict()[name])


# --- events with onset and offset


def timed(setting: Setting, **overrides: Any) -> tuple[StageTraining, Batch]:
    """A stage, and its first batch with an event of class 2 in the middle third of clip 0, whose label it is."""
    training = setting.training(augment__mix__prob=0.0, **overrides)
    training.model.eval()
    batch = Batch(*next(iter(training.loaders.training(1))))
    labels = torch.zeros(4, 3)
    labels[0, 2] = 1
    events = torch.tensor([[[2.0, 1 / 3, 2 / 3]], *[[[-1.0, 0.0, 0.0]]] * 3])
    return training, batch._replace(targets=labels, events=events, part=torch.tensor([[0.0, 1.0]] * 4))


def of_batch(training: StageTraining, batch: Batch) -> float:
    return training.loss(batch, Place(training.plan.name, 1, 1, ()), Share(4)).item()


@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_frames_cost_their_entropy_by_the_weight(setting: Setting, weight: float) -> None:
    """By hand: the mean over the frames and classes of the one clip with an event, added to the stage's loss."""
    seen: list[torch.Tensor] = []

    def note(output: SedOutput, _: int) -> SedOutput:
        seen.append(output.frame_logits.detach())
        return output

    plain = of_batch(*timed(setting, loss__strong_weight=0.0))
    with_term = of_batch(*timed(setting, loss__strong_weight=weight, spoil=note))
    frames = seen[0][0]
    centres = (np.arange(len(frames)) + 0.5) / len(frames)
    targets = torch.zeros_like(frames)
    targets[(centres >= 1 / 3) & (centres < 2 / 3), 2] = 1
    term = -(targets * frames.sigmoid().log() + (1 - targets) * (-frames).sigmoid().log()).mean()
    assert 0 < targets.sum() < len(frames)
    assert with_term == pytest.approx(plain + weight * term.item(), abs=1e-6)


def test_frames_outside_the_part_of_the_label_have_no_target(setting: Setting) -> None:
    """Loud frames of all classes in the second half cost nothing where the label is for the first."""

    def loud(output: SedOutput, _: int) -> SedOutput:
        frames = output.frame_logits.clone()
        frames[:, frames.shape[1] // 2 + 1 :] += 50.0
        return SedOutput(output.clip_logits, frames)

    losses = []
    for spoil in (None, loud):
        training, batch = timed(setting, loss__strong_weight=1.0, spoil=spoil)
        losses.append(of_batch(training, batch._replace(part=torch.tensor([[0.0, 0.5]] * 4))))
    assert losses[0] == pytest.approx(losses[1])


def test_without_an_event_in_a_batch_a_weight_changes_nothing(setting: Setting) -> None:
    losses = []
    for weight in (0.0, 1.0):
        training, batch = timed(setting, loss__strong_weight=weight)
        losses.append(of_batch(training, batch._replace(events=torch.tensor([[[-1.0, 0.0, 0.0]]] * 4))))
    assert losses[0] == losses[1]


def test_both_views_of_a_clip_have_its_events(setting: Setting) -> None:
    """Without masks and dropout they are one: the term counts once."""
    terms = []
    for views in (0.0, 1.0):
        of_stage = {"stage": "pseudo", "pseudo__consistency_weight": views}
        losses = [of_batch(*timed(setting, loss__strong_weight=weight, **of_stage)) for weight in (0.0, 1.0)]
        terms.append(losses[1] - losses[0])
    assert terms[0] > 0.01
    assert terms[1] == pytest.approx(terms[0], abs=1e-6)


def test_without_a_weight_a_training_is_as_without_events(setting: Setting) -> None:
    """To the last bit: losses and weights of two epochs with labelled soundscapes, mixed."""
    rows = [(f"train_soundscapes/S{number}.wav", 2.2, 2.7, "grekis") for number in range(2)]
    table = pd.DataFrame(rows, columns=["path", "start_s", "end_s", "primary_label"])
    config = setting.config.with_overrides({"data.soundscape_folds": 2, "data.soundscape_prob": 0.8})
    folder = setting.data.folder
    found = []
    for events, weight in ((None, 0.0), (table, 0.0), (table, 1.0)):
        data = open_training_data(replace(folder, soundscape_events=events), config, progress=False)
        training = Setting(data, config).training(loss__strong_weight=weight)
        losses = []
        for epoch in (1, 2):
            torch.manual_seed(epoch)
            losses.append(training.train_epoch(epoch).loss)
        found.append((losses, weights(training)))
    assert found[0][0] == found[1][0] != found[2][0]
    assert all(torch.equal(value, found[1][1][name]) for name, value in found[0][1].items())


@pytest.mark.parametrize("missing", ["events", "labels"])
def test_times_that_the_data_does_not_have_are_refused_before_training(
    setting: Setting, tmp_path: Path, missing: str
) -> None:
    table = pd.DataFrame([("S0", 1.0, 2.0, "grekis")], columns=["path", "start_s", "end_s", "primary_label"])
    folder = setting.data.folder
    folder = folder if missing == "events" else replace(folder, soundscape_labels=None, soundscape_events=table)
    config = setting.config.with_overrides({"loss.strong_weight": 0.5})
    told = rf"strong_weight=0\.5: needs .* has no train_soundscapes_{missing}\.csv; .*import_annotations, or set"
    with pytest.raises(ConfigError, match=told):
        fit(job(config, tmp_path), replace(setting.data, folder=folder))
