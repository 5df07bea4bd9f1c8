"""The sections `loss.*`, `stages.*`, `distil.*` and `optim.*` of the configuration: how a model is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

from sed_model.config.tree import Section, key

StageName = Literal["pretrain_ce", "train_bce", "finetune", "pseudo"]
LossName = Literal["ce", "bce", "focal_bce", "asymmetric", "soft_auc"]
STAGE_NAMES: tuple[str, ...] = get_args(StageName)


class Loss(Section):
    """Settings of the losses that the stages name."""

    label_smoothing: float = key(0.0, "Share of each target moved to the other classes.", "share", ge=0, lt=0.5)
    clip_weight: float = key(
        0.5, "Weight of the clip loss; the rest is the loss of the loudest frame.", "share", ge=0, le=1
    )
    strong_weight: float = key(
        0.0,
        "Weight of the frames' loss, beside the stage's, in labelled windows that train and have events with onset and "
        "offset (train_soundscapes_events.csv); 0: their times are not used.",
        "number",
        ge=0,
        le=1,
    )
    focal_gamma: float = key(2.0, "Focusing exponent of the focal part.", "exponent", ge=0, le=8)
    focal_alpha: float = key(0.25, "Weight of positives in the focal part.", "share", ge=0, le=1)
    asymmetric_gamma_neg: float = key(4.0, "Focusing exponent for negatives.", "exponent", ge=0, le=8)
    asymmetric_gamma_pos: float = key(1.0, "Focusing exponent for positives.", "exponent", ge=0, le=8)
    asymmetric_margin: float = key(
        0.05, "Probability margin below which negatives cost nothing.", "probability", ge=0, lt=1
    )
    soft_auc_bce_weight: float = key(0.25, "Share of BCE added to the soft AUC loss.", "share", ge=0, le=1)


class Stage(Section):
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


class Stages(Section):
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


class Distil(Section):
    """Learning from the embeddings of a frozen foreign model (`--teacher`), beside the labels.

    The term is 1 - the cosine between a projection of a clip's mean frame features and what the teacher heard in it.
    """

    weight: float = key(0.0, "Weight of the term beside the stage's loss; 0: no teacher.", "number", ge=0, le=10)
    last_stage: bool = key(False, "Distil in the last stage of the chain too; false: it trains on the labels alone.")


class Optim(Section):
    optimizer: Literal["adamw", "radam", "sgd"] = key("adamw", "Optimiser.")
    weight_decay: float = key(1e-4, "Decoupled weight decay; none on norms and biases.", "rate", ge=0, le=1)
    scheduler: Literal["cosine", "cosine_restarts", "one_cycle", "constant"] = key(
        "cosine", "Course of the learning rate."
    )
    restarts: int = key(3, "Cycles of cosine_restarts in a stage.", "cycles", ge=1, le=20)
    backbone_lr_scale: float = key(1.0, "Learning rate of the backbone over that of the head.", "ratio", gt=0, le=10)
    batch_size: int | None = key(
        None,
        "Clips a step, shared out over the workers of a trial; null: 64, or less for min_steps_per_epoch.",
        "clips",
        ge=1,
        le=4096,
    )
    auto_batch: bool = key(
        False, "Halve a batch that does not fit into (GPU) memory, and accumulate twice as many; it says so."
    )
    min_steps_per_epoch: int = key(
        20,
        "With batch_size null small sets get a smaller batch, so that an epoch has at least so many steps.",
        "steps",
        ge=1,
        le=1_000_000,
    )
    accumulation_steps: int = key(1, "Batches summed up for one optimiser step.", "batches", ge=1, le=256)
    grad_clip_norm: float = key(5.0, "Largest gradient norm; 0 turns clipping off.", "norm", ge=0)
    ema_decay: float = key(
        0.999, "Decay of the averaged weights (with warm-up); 0 turns averaging off.", "share", ge=0, lt=1
    )
    average_epochs: int = key(
        0,
        "Keep the mean of the averaged weights after the last so many epochs of the last stage, whatever validation "
        "says; 0: the best epoch's.",
        "epochs",
        ge=0,
        le=1000,
    )
    early_stopping_epochs: int = key(
        5, "Stop a stage after so many epochs without a better score; 0 never stops.", "epochs", ge=0, le=1_000_000
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = key(
        "auto", "Autocast type; auto takes what the device is fast at."
    )
    channels_last: bool = key(True, "Store images channels-last: faster convolutions, but on a GPU a slow first step.")
    compile: bool = key(False, "torch.compile the model.")
    grad_checkpointing: bool = key(
        False, "Recompute activations in the backward pass: less memory, about a third slower."
    )
