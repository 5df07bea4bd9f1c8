"""`--set KEY=VALUE`: what was typed -> values by dotted key; and whether the command makes any use of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from sed_model.config.sed_config import SedConfig
from sed_model.config.stages import SUPERVISED_STAGES
from sed_model.config.training import STAGE_NAMES
from sed_model.core.errors import ConfigError
from sed_model.core.paths import expanded
from sed_model.core.yaml_file import parse_yaml
from trainables.spaces.distributions import is_scalar

PATH_KEYS = (
    "model.weights",
    "augment.wave.room_folder",
    "augment.wave.background_folder",
    "data.cache_dir",
    "data.leave_out",
)


def parse_overrides(items: Sequence[str]) -> dict[str, Any]:
    """`["model.pool_type=gem", ..]` -> `{"model.pool_type": "gem", ..}`; values are YAML scalars.

    Raises:
        ConfigError: every malformed item, a line each.
    """
    overrides: dict[str, Any] = {}
    problems: list[str] = []
    for item in items:
        name, equals, text = (part.strip() for part in item.partition("="))
        if not (name and equals and text):
            problems.append(f"--set {item!r}: write key=value, e.g. model.pool_type=gem (key=null for no value).")
            continue
        try:
            value = parse_yaml(text)
        except (yaml.YAMLError, ValueError, RecursionError):
            problems.append(f"--set {item!r}: the value is not valid YAML; put it in quotes.")
            continue
        if isinstance(value, list | dict):
            problems.append(
                f"--set {item!r}: the value is a {type(value).__name__}; give a number, text or truth value."
            )
        elif name in overrides:
            problems.append(f"--set {item!r}: {name} is set twice; give it once.")
        else:
            overrides[name] = value if is_scalar(value) else text  # a date stays the text that it was
    if problems:
        raise ConfigError("\n".join(problems))
    return overrides


def absolute_paths(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Paths on the command line start from where the user is; Ray's workers are elsewhere."""
    return {
        name: str(expanded(value)) if name in PATH_KEYS and isinstance(value, str) else value
        for name, value in overrides.items()
    }


LABEL_RULES = (
    *("inference.overlap", "inference.smoothing_centre"),
    *("pseudo.keep_class", "pseudo.keep_window", "pseudo.trim", "pseudo.power", "pseudo.max_disagreement"),
    *("pseudo.power_growth", "pseudo.keep_top_share"),
    *("pseudo.max_share", "pseudo.max_per_class", "pseudo.balance", "pseudo.mean_exponent"),
)
"""What makes predictions into pseudo-labels; a search writes them into its models, whose ensemble goes by them."""
MIXING = (
    *("pseudo.prob", "pseudo.replace_share", "pseudo.join_share", "pseudo.loss_power"),
    *("pseudo.same_class_share", "pseudo.mass_cap"),
)
"""How the stage pseudo mixes pseudo-labels in."""
OF_STUDENTS = (*MIXING, "pseudo.consistency_weight")
FROM_TEACHER = ("model.pretrained", "model.weights")
LOSS_KEYS = {"focal": "focal_bce", "asymmetric": "asymmetric", "soft": "soft_auc"}
"""The first word of a key in `loss.*` -> the loss that asks for it."""
FALLING, WARMED_UP = ("cosine", "cosine_restarts", "one_cycle"), ("cosine", "cosine_restarts", "constant")
"""Schedulers that end at a lower rate; those that begin with the warm-up of the stage."""
GENERATED_ROOMS = ("min_rt60_s", "max_rt60_s", "min_direct_db", "max_direct_db")
NEEDS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "model.gem_p": ("model.pool_type", ("gem",)),
    "model.attention_heads": ("model.multi_head_attention", (True,)),
    "optim.restarts": ("optim.scheduler", ("cosine_restarts",)),
    "data.sampler_power": ("data.sampler", ("inverse_frequency",)),
    "data.n_folds": ("data.validation", ("folds", "auto")),
    "data.fold": ("data.validation", ("folds", "auto")),
    "data.split_seed": ("data.validation", ("folds", "auto")),
    "data.soundscape_folds": ("data.validation", ("soundscapes", "auto")),
    "data.soundscape_prob": ("data.soundscape_folds", (4, *range(2, 51))),
    "loss.strong_weight": ("data.soundscape_folds", (4, *range(2, 51))),
    "optim.min_steps_per_epoch": ("optim.batch_size", (None,)),
    "model.pretrained": ("model.weights", (None,)),
    **{f"augment.wave.room_{name}": ("augment.wave.room_folder", (None,)) for name in GENERATED_ROOMS},
    **{f"stages.{name}.min_lr": ("optim.scheduler", FALLING) for name in STAGE_NAMES},
    **{f"stages.{name}.warmup_epochs": ("optim.scheduler", WARMED_UP) for name in STAGE_NAMES},
}
"""A key -> the other one, and the values of it that make use of the key."""
NOTHING_LEFT = {
    "augment.mix.domain": ("augment.mix.cutmix_share", "nothing is mixed up"),
    "pseudo.join_share": ("pseudo.replace_share", "every clip is replaced"),
    **{f"stages.{name}.mixup_alpha": ("augment.mix.cutmix_share", "nothing is mixed up") for name in STAGE_NAMES},
}
"""A key -> the share that leaves nothing to it where it is 1, and what that means."""
NEEDS_SOME: dict[str, tuple[tuple[str, str], ...]] = {
    "loss.strong_weight": (("data.soundscape_prob", "no clip is a labelled soundscape"),),
    "distil.last_stage": (("distil.weight", "no stage is distilled"),),
    "pseudo.same_class_share": (("pseudo.replace_share", "no clip is replaced"),),
    "augment.spec.freq_mask_bands": (("augment.spec.freq_masks", "there is none"),),
    "augment.spec.freq_masks": (("augment.spec.freq_mask_bands", "none is wider"),),
    "augment.spec.time_mask_frames": (("augment.spec.time_masks", "there is none"),),
    "augment.spec.time_masks": (("augment.spec.time_mask_frames", "none is wider"),),
    **{f"stages.{name}.mixup_alpha": (("augment.mix.prob", "nothing is mixed"),) for name in STAGE_NAMES},
    **{
        f"stages.{name}.cutmix_alpha": (
            ("augment.mix.prob", "nothing is mixed"),
            ("augment.mix.cutmix_share", "nothing is cut and pasted"),
        )
        for name in STAGE_NAMES
    },
}
"""A key -> others that leave nothing to it where they are 0, and what that means."""


@dataclass(frozen=True)
class Use:
    """What a command does with a configuration.

    Attributes:
        command: search, student, train, ensemble or space show.
        stages: that are trained; none for an ensemble.
        searched: keys that are drawn, so that any of their values may come.
        method: how an ensemble joins its members.
        validation: folds or soundscapes, where the data has been looked at.
    """

    command: str
    stages: tuple[str, ...]
    searched: tuple[str, ...] = ()
    method: str = "mean"
    validation: str | None = None


def check_used(overrides: Mapping[str, Any], config: SedConfig, use: Use) -> None:
    """What was set has to change something.

    Args:
        config: with the overrides put in.

    Raises:
        ConfigError: every key that the command would ignore, a line each, with the reason and the repair.
    """
    reasons = {name: unused_reason(name, config, use) for name in overrides}
    lines = [
        f"--set {name}={overrides[name]}: would change nothing: {reason}" for name, reason in reasons.items() if reason
    ]
    if lines:
        raise ConfigError("\n".join(lines))


def unused_reason(name: str, config: SedConfig, use: Use) -> str:
    """Why a command makes no use of a key, and what to do; "" where it does."""
    reason = _foreign(name, use)
    if reason or not use.stages:
        return reason
    if name.startswith("loss.") and name not in NEEDS:
        return _of_another_loss(name, config, use)
    if name == "distil.weight":
        return _never_distilled(config, use)
    known = config.flat() | ({"data.validation": use.validation} if use.validation else {})
    share, meaning = NOTHING_LEFT.get(name, ("", ""))
    if share and share not in use.searched and known[share] == 1:
        return f"{share} is 1, so that {meaning}; lower that too."
    for some, meaning in NEEDS_SOME.get(name, ()):
        if some not in use.searched and known[some] == 0:
            return f"{some} is 0, so that {meaning}; raise that too."
    if name.startswith(("augment.", *MIXING)) and not name.endswith(("prob", "_folder")):
        reason = _never_drawn(name, known, use)
        if reason:
            return reason
    if name in ("data.fold", "data.split_seed") and known["data.soundscape_folds"]:
        return ""  # they draw the parts, of which one validates
    parent, values = NEEDS.get(name, ("", ()))
    if not parent or parent in use.searched or known[parent] in values:
        return ""
    wanted = "null" if values[0] is None else str(values[0]).lower()
    return f"{parent} is {known[parent]}, and only {wanted} asks for it; set {parent}={wanted} too."


def _foreign(name: str, use: Use) -> str:
    """Why the command has nothing to do with the key."""
    if name in OF_STUDENTS and "pseudo" not in use.stages:
        return "only students train the stage pseudo; give it to trainables.student, or to a search with --teacher."
    if use.command == "ensemble":
        if name == "pseudo.mean_exponent" and use.method != "power_mean":
            return f"--method {use.method} has no exponent; add --method power_mean."
        return "" if name.startswith(("inference.", "pseudo.")) else "it belongs to the trained models."
    if name in LABEL_RULES and use.command == "train":
        return "train makes no pseudo-labels; give it to trainables.ensemble, which does."
    if use.command == "student" and name in FROM_TEACHER:
        return "a student starts from its teacher's weights; leave it out."
    stage = name.split(".")[1] if name.startswith("stages.") else None
    if stage and stage not in use.stages:
        repair = "it is trainables.student's" if stage == "pseudo" else "add the stage, or leave it out"
        return f"the stage {stage} is not trained, but {', '.join(use.stages)}; {repair}."
    return ""


def _of_another_loss(name: str, config: SedConfig, use: Use) -> str:
    """Why no stage asks for a key of `loss.*`, most of which belong to one loss."""
    loss = LOSS_KEYS.get(name.removeprefix("loss.").partition("_")[0])
    stages = [f"stages.{stage}.loss" for stage in use.stages]
    if loss is None or set(stages) & set(use.searched) or loss in map(config.flat().get, stages):
        return ""
    return f"no stage of {', '.join(use.stages)} has the loss {loss}; set {stages[-1]}={loss} too."


def _never_distilled(config: SedConfig, use: Use) -> str:
    """Why the term of the teacher is in no stage: there is one alone, and the last one trains without it."""
    if config.distil.weight == 0 or config.distil.last_stage or "distil.last_stage" in use.searched:
        return ""
    goes_on = use.command == "train" and use.stages[0] != SUPERVISED_STAGES[-1]
    if len(use.stages) > 1 or goes_on:
        return ""
    return f"{use.stages[0]} is the last stage, which trains without the teacher; set distil.last_stage=true too."


def _never_drawn(name: str, known: Mapping[str, Any], use: Use) -> str:
    """Why an augmentation is never drawn: a chance that it depends on is 0, or there are no sounds for it."""
    if name.startswith("augment.wave.background_") and not known["augment.wave.background_folder"]:
        return "there is no augment.wave.background_folder; set that too."
    # augment.wave.gain_max_db depends on gain_prob and on prob, which the filter of augment.spec does not.
    chances = [chance for chance in known if chance.endswith("_prob") and name.startswith(chance.removesuffix("prob"))]
    if not name.startswith("augment.spec.filter_"):
        chances.append(f"{name.rpartition('.')[0]}.prob")
    never = [chance for chance in chances if known.get(chance) == 0 and chance not in use.searched]
    return f"{never[0]} is 0, so that it is never drawn; raise that too." if never else ""
