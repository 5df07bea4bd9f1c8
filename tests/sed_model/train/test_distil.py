"""The term of a teacher: its value, what it teaches, where it is, and what is kept of it."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from sed_model.clips.dataset import Batch, EpochLoaders
from sed_model.clips.training_data import TrainingData
from sed_model.config.sed_config import HEAD_DIM, SedConfig
from sed_model.config.stages import plan_stages
from sed_model.core.errors import CheckpointError, ConfigError
from sed_model.model.checkpoint import load_model
from sed_model.model.devices import Runtime
from sed_model.model.network import SedModel
from sed_model.model.shares import Share
from sed_model.train.distil import Distilled, distil_loss, projection_to
from sed_model.train.fit import fit
from sed_model.train.progress import EpochResult
from sed_model.train.stage_training import Place, StageTraining
from tests.sed_model.fit_jobs import CHAIN, job, short
from tests.sed_model.teachers import ClassTeacher

CPU = Runtime(torch.device("cpu"), None)


@pytest.fixture(scope="module")
def taught(tiny_data: TrainingData) -> TrainingData:
    """The tiny data with a teacher that knows three of the four recordings of each class."""
    return replace(tiny_data, embeddings=ClassTeacher())


@pytest.fixture(scope="module")
def distilled(tiny_config: SedConfig) -> SedConfig:
    """Two epochs a stage, in each of which the teacher has a say."""
    epochs = {f"stages.{stage}.epochs": 2 for stage in CHAIN}
    return tiny_config.with_overrides({**epochs, "distil.weight": 0.5, "distil.last_stage": True})


def losses(run: list[EpochResult]) -> list[float]:
    return [result.train_loss for result in run]


def training(
    data: TrainingData,
    config: SedConfig,
    projection: torch.nn.Linear | None,
    model: SedModel | None = None,
    stage: str = "train_bce",
) -> StageTraining:
    torch.manual_seed(0)
    model = model or SedModel(config, len(data.folder.classes))
    loaders = EpochLoaders(data, config, stage)
    return StageTraining(model, plan_stages(config, [stage])[0], config, loaders, CPU, projection)


# --- its value


def test_the_loss_is_the_distance_of_the_angles_worked_by_hand() -> None:
    """A right angle, the same direction and half a right angle: 1, 0 and 1 - 1 / sqrt(2)."""
    embeddings = torch.tensor([[1.0, 0.0], [2.0, 0.0], [1.0, 1.0]])
    heard = torch.tensor([[0.0, 3.0], [5.0, 0.0], [0.5, 0.0]])
    assert distil_loss(embeddings, heard).item() == pytest.approx((1 + 0 + 1 - 1 / sqrt(2)) / 3, abs=1e-6)


def test_unknown_rows_do_not_count() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [1.0, 1.0]], requires_grad=True)
    loss = distil_loss(embeddings, torch.tensor([[-1.0, 0.0], [0.0, 0.0]]))
    assert loss.item() == pytest.approx(2)
    loss.backward()
    assert embeddings.grad is not None
    assert embeddings.grad[1].tolist() == [0, 0]


def test_a_batch_of_which_nothing_is_known_costs_nothing() -> None:
    """It still has a gradient, of 0: processes that train as one wait for it."""
    embeddings = torch.ones(2, 3, requires_grad=True)
    loss = distil_loss(embeddings, torch.zeros(2, 3))
    loss.backward()
    assert loss.item() == 0
    assert embeddings.grad is not None
    assert embeddings.grad.abs().sum() == 0


def test_the_projection_is_of_the_mean_over_the_frames(tiny_config: SedConfig) -> None:
    """Those that the frame scores are made of."""
    model, projection = SedModel(tiny_config, 3).eval(), projection_to(4, seed=1)
    images = torch.rand(2, 1, 32, 94)
    output = Distilled(model, projection)(images, torch.tensor([[0.0, 0.5], [0.0, 1.0]]))
    frames = model.head.frames(model.backbone(images))
    assert frames.shape[2] == HEAD_DIM
    torch.testing.assert_close(output.embedding, projection(frames.mean(dim=1)))
    torch.testing.assert_close(output.frame_logits, model.head.classify(frames))
    torch.testing.assert_close(output.clip_logits, model(images, torch.tensor([[0.0, 0.5], [0.0, 1.0]])).clip_logits)


def test_the_first_projection_follows_its_seed_and_disturbs_nobody() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, again, other = (projection_to(4, seed) for seed in (1, 1, 2))
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_a_step_s_loss_has_the_term_by_its_weight(taught: TrainingData, tiny_config: SedConfig, weight: float) -> None:
    """Of clips that are not mixed: the loss without it, and the weighted distance."""
    config = tiny_config.with_overrides({"distil.weight": weight, "augment.mix.prob": 0.0, "augment.spec.prob": 0.0})
    projection = projection_to(ClassTeacher.dim, seed=1)
    with_term = training(taught, config, projection)
    without = training(taught, config, None, with_term.model)
    with_term.model.eval()
    batch = Batch(*next(iter(with_term.loaders.training(1))))
    place, share = Place("train_bce", 1, 1, ()), Share(len(batch.row))
    own = Distilled(with_term.model, projection)(with_term.model.images(batch.inputs), batch.part).embedding
    expected = without.loss(batch, place, share) + weight * distil_loss(own, batch.embedding)
    torch.testing.assert_close(with_term.loss(batch, place, share), expected)


def test_of_two_views_each_is_compared_with_what_was_heard(taught: TrainingData, tiny_config: SedConfig) -> None:
    """Unmasked they are alike: the distance counts once."""
    alike = {"augment.mix.prob": 0.0, "augment.spec.prob": 0.0, "pseudo.consistency_weight": 1.0}
    config, projection = tiny_config.with_overrides(alike | {"distil.weight": 2.0}), projection_to(ClassTeacher.dim, 1)
    with_term = training(taught, config, projection, stage="pseudo")
    without = training(taught, config, None, with_term.model, "pseudo")
    with_term.model.eval()
    batch = Batch(*next(iter(with_term.loaders.training(1))))
    place, share = Place("pseudo", 1, 1, ()), Share(len(batch.row))
    own = Distilled(with_term.model, projection)(with_term.model.images(batch.inputs), batch.part).embedding
    expected = without.loss(batch, place, share) + 2 * distil_loss(own, batch.embedding)
    torch.testing.assert_close(with_term.loss(batch, place, share), expected)


def test_clips_are_mixed_with_what_was_heard_in_them(taught: TrainingData, tiny_config: SedConfig) -> None:
    """Where one of twelve clips is known, nothing is once each is mixed with another."""
    data = replace(taught, embeddings=ClassTeacher(unknown=()))
    terms = {}
    for prob in (0.0, 1.0):
        changes = {"distil.weight": 1.0, "augment.mix.prob": prob, "optim.batch_size": 12}
        step = training(data, tiny_config.with_overrides(changes), projection_to(ClassTeacher.dim, seed=1))
        step.model.eval()
        batch = Batch(*next(iter(step.loaders.training(1))))
        one_known = torch.cat([batch.embedding[:1], torch.zeros_like(batch.embedding[1:])])
        losses = [
            step.loss(batch._replace(embedding=embedding), Place("train_bce", 1, 1, ()), Share(12)).item()
            for embedding in (one_known, batch.embedding, torch.zeros_like(batch.embedding))
        ]
        terms[prob] = losses[0] - losses[2], losses[1] - losses[2]
    assert terms[0.0][0] > 0.1
    assert terms[1.0][0] == 0
    assert terms[1.0][1] > 0.1  # of clips that are known


# --- what it teaches


def test_a_few_epochs_turn_the_frames_towards_the_teacher(taught: TrainingData, tiny_config: SedConfig) -> None:
    """Three classes, and a random vector of each: after eight epochs the model tells whose it heard."""
    changes = {"distil.weight": 1.0, "stages.train_bce.epochs": 8, "augment.mix.prob": 0.0, "augment.spec.prob": 0.0}
    config = tiny_config.with_overrides({**changes, "stages.train_bce.lr": 3e-3})
    projection = projection_to(ClassTeacher.dim, config.seed)
    drawn = projection.weight.detach().clone()
    run = training(taught, config, projection)
    batches = [Batch(*batch) for batch in run.loaders.training(99)]

    @torch.no_grad()
    def mean_cosine() -> float:
        model = Distilled(run.model, projection).train()
        cosines = [
            F.cosine_similarity(model(run.model.images(batch.inputs), batch.part).embedding, batch.embedding)
            for batch in batches
        ]
        known = torch.cat([batch.embedding.any(dim=1) for batch in batches])
        return torch.cat(cosines)[known].mean().item()

    before = mean_cosine()
    for epoch in range(1, 9):
        run.train_epoch(epoch)
    after = mean_cosine()
    assert before < 0.3
    assert after > 0.6
    assert not torch.equal(projection.weight, drawn)


def test_the_gradient_reaches_the_backbone(taught: TrainingData, distilled: SedConfig) -> None:
    """Without it the projection alone would learn, from features that stay as they are."""
    grads = []
    for weight in (1e-9, 10.0):
        config = distilled.with_overrides({"distil.weight": weight})
        step = training(taught, config, projection_to(ClassTeacher.dim, seed=1))
        step.model.eval()
        batch = Batch(*next(iter(step.loaders.training(1))))
        step.loss(batch, Place("train_bce", 1, 1, ()), Share(len(batch.row))).backward()
        grads.append([p.grad.clone() for p in step.model.backbone.parameters() if p.grad is not None])
    assert any(not torch.allclose(one, other) for one, other in zip(*grads, strict=True))


# --- where it is


def test_without_weight_a_teacher_changes_nothing(
    taught: TrainingData, tiny_data: TrainingData, tiny_config: SedConfig, tmp_path: Path
) -> None:
    config = short(tiny_config, pretrain_ce=1, train_bce=1)
    with_teacher = list(fit(job(config, tmp_path / "with"), taught))
    assert losses(with_teacher) == losses(list(fit(job(config, tmp_path / "without"), tiny_data)))


def test_the_last_stage_trains_without_it_unless_told_to(
    taught: TrainingData, distilled: SedConfig, tmp_path: Path
) -> None:
    """With a first stage that learns nothing, the second one starts alike with and without the teacher."""
    still = short(distilled, pretrain_ce=1, train_bce=1).with_overrides(
        {"stages.pretrain_ce.lr": 1e-12, "stages.pretrain_ce.min_lr": 0.0}
    )
    runs = {
        (weight, last): losses(
            list(
                fit(
                    job(
                        still.with_overrides({"distil.weight": weight, "distil.last_stage": last}),
                        tmp_path / f"{weight}_{last}",
                    ),
                    taught,
                )
            )
        )
        for weight, last in ((0.0, False), (2.0, False), (2.0, True))
    }
    plain, early, both = runs.values()
    assert early[0] > plain[0] + 0.5
    assert early[1] == pytest.approx(plain[1], abs=1e-6)
    assert both[1] > plain[1] + 0.5


def test_a_stage_that_others_go_on_from_is_none_of_the_last(
    taught: TrainingData, distilled: SedConfig, tmp_path: Path
) -> None:
    config = short(distilled, pretrain_ce=1).with_overrides({"distil.weight": 2.0, "distil.last_stage": False})
    alone = job(config, tmp_path / "alone", ("pretrain_ce",))
    (plain,) = losses(list(fit(alone, taught)))
    (early,) = losses(list(fit(replace(alone, folder=tmp_path / "first", is_last=False), taught)))
    assert early > plain + 0.5


def test_data_without_a_teacher_is_refused_before_training(
    tiny_data: TrainingData, distilled: SedConfig, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"distil\.weight=0\.5: needs the embeddings of a teacher"):
        fit(job(distilled, tmp_path), tiny_data)


# --- what is kept of it


@pytest.mark.parametrize("n_epochs", [1, 2, 3])
def test_a_resumed_run_gives_the_losses_of_an_unbroken_one(
    taught: TrainingData, distilled: SedConfig, unbroken: tuple[Path, list[float]], tmp_path: Path, n_epochs: int
) -> None:
    """In the middle of a stage and at its end: the projection goes on through the stages."""
    every_epoch = job(distilled, tmp_path, checkpoint_every_s=0)
    broken = fit(every_epoch, taught)
    before = losses([next(broken) for _ in range(n_epochs)])
    broken.close()
    torch.rand(17)
    assert before + losses(list(fit(every_epoch, taught))) == unbroken[1]


@pytest.fixture(scope="module")
def unbroken(
    taught: TrainingData, distilled: SedConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[float]]:
    folder = tmp_path_factory.mktemp("distilled")
    return folder, losses(list(fit(job(distilled, folder), taught)))


def test_the_model_that_is_kept_has_no_projection(
    unbroken: tuple[Path, list[float]], tiny_config: SedConfig, taught: TrainingData
) -> None:
    kept = load_file(unbroken[0] / "model.safetensors")
    assert kept.keys() == SedModel(tiny_config, 3).state_dict().keys()
    assert load_model(unbroken[0]).config.distil.weight == 0.5


def test_a_stage_starts_from_a_model_that_was_distilled(
    unbroken: tuple[Path, list[float]], tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    """And needs no teacher of its own."""
    parent = load_model(unbroken[0])
    config = short(tiny_config, finetune=1)
    assert next(fit(replace(job(config, tmp_path, ("finetune",)), parent=parent), tiny_data)).finished


def test_a_run_of_another_teacher_is_not_gone_on_with(
    taught: TrainingData, distilled: SedConfig, tmp_path: Path
) -> None:
    class Other(ClassTeacher):
        name = "other"

    next(fit(job(distilled, tmp_path, checkpoint_every_s=0), taught))
    with pytest.raises(CheckpointError, match="another teacher's embedding"):
        next(fit(job(distilled, tmp_path), replace(taught, embeddings=Other())))
