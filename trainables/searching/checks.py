"""Checks of a search's input, before Ray starts; each raises a UserError that names what is wrong and the repair."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from sed_model.clips.training_data import check_distil
from sed_model.config.sed_config import SedConfig, n_frames_in
from sed_model.config.stages import check_stage_names
from sed_model.core.errors import ConfigError
from sed_model.core.paths import LONGEST_NAME, check_folder
from sed_model.model.backbones import HubError
from sed_model.model.model_trial import Tried, try_model
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.split_record import SplitRecord
from trainables.keeping.driver_lock import HOLDER_FILE, LOCK_FILE
from trainables.searching.refit import changes_for
from trainables.spaces.search_space import SearchSpace
from trainables.spaces.settings import VAL_LOSS
from trainables.trials.teacher import Teacher

SPLIT_KEYS = tuple(
    f"data.{name}" for name in ("validation", "n_folds", "fold", "split_seed", "soundscape_folds", "target_s")
)
"""Keys that decide what validates: which recordings, and of what length the windows are that are scored."""
JOB_COPY = "working_dir_files"
"""Ray's folder for what `ray job submit --working-dir` uploads."""
SIZE_KEYS = ("front_end.n_mels", "front_end.hop_length", "front_end.sample_rate_hz", "data.window_s")
"""What the size of the images depends on."""


def check_place(out: Path, name: str | None) -> None:
    """Whether run folders can go to `out`, and `name` is a plain folder name."""
    if name is not None and (name != Path(name).name or name in ("", ".", "..")):
        raise ConfigError(f"--name {name!r}: is no plain folder name; leave out slashes and dots, and use --out DIR.")
    if name is not None and not (name.isprintable() and len(name.encode(errors="replace")) <= LONGEST_NAME):
        raise ConfigError(f"--name {name!r:.80}: is no folder name; give up to {LONGEST_NAME} printable characters.")
    if JOB_COPY in out.parts:
        raise ConfigError(
            f"--out {out}: is in the copy of the code that Ray makes for a job, and deletes; give an absolute path."
        )
    check_folder(out, "--out")


def check_workers(n_workers: int, dashboard: bool) -> None:
    """Ray frees the workers of a stopped trial through its dashboard: without one the search would hang."""
    if n_workers > 0 and not dashboard:
        raise ConfigError(
            "--no-dashboard: Ray Train workers of stopped trials are freed through the dashboard; leave it on, or add "
            "--workers-per-trial 0."
        )


def check_unused(run: RunFolder, is_resumed: bool = True) -> None:
    """
    Args:
        is_resumed: whether the command can go on with it.

    Raises:
        ConfigError: there is a run of that name, or something else.
    """
    if run.path.exists() and not (run.path.is_dir() and all(_is_early(path, run) for path in run.path.iterdir())):
        repair = f"go on with it: --resume --name {run.path.name}" if is_resumed else "delete it"
        raise ConfigError(f"{run.path} exists; choose another --name, or {repair}.")


def _is_early(path: Path, run: RunFolder) -> bool:
    """A search that is killed before it writes anything leaves its lock, and what others have labelled for it."""
    return path.name in (LOCK_FILE, HOLDER_FILE, run.taught.name)


def check_method(space: SearchSpace) -> None:
    """A Gaussian process and NSGA-II model what all trials have in common, and draw all else independently."""
    conditional = [parameter.key for parameter in space.parameters if parameter.when]
    if space.search.searcher in ("gp", "nsga2") and conditional:
        parents = sorted({c.parent for parameter in space.parameters for c in parameter.when})
        raise ConfigError(
            f"searcher {space.search.searcher} takes no parameters that only some trials have: "
            f"{', '.join(conditional)}; fix {', '.join(parents)} with --set, or use --searcher optuna."
        )


def check_metric(space: SearchSpace) -> None:
    """Validation losses compare only where all trials and all stages have the same loss."""
    if space.search.metric != VAL_LOSS:
        return
    stages = space.search.stages
    of_stages = {f"stages.{name}.{key}" for name in stages for key in ("loss", "secondary_weight")}
    drawn = [p.key for p in space.parameters if p.key.startswith("loss.") or p.key in of_stages]
    if drawn:
        raise ConfigError(
            f"search.metric=val_loss: {', '.join(drawn)} {'is' if len(drawn) == 1 else 'are'} drawn, and losses that "
            "are worked out otherwise do not compare; use metric: macro_auc, or fix them with --set."
        )
    losses = [f"{name} {space.base.stages[name].loss}" for name in stages]
    if len({space.base.stages[name].loss for name in stages}) > 1:
        raise ConfigError(
            f"search.metric=val_loss: the stages have different losses ({', '.join(losses)}), which do not compare; "
            "use metric: macro_auc, or one loss in all stages, e.g. --set stages.pretrain_ce.loss=bce."
        )


def check_stages(stages: tuple[str, ...], teacher: Teacher | None) -> None:
    check_stage_names(stages)
    if teacher is not None and teacher.model is not None:
        return
    if "pseudo" in stages and teacher is not None and teacher.labels is None:
        raise ConfigError(
            f"stages {','.join(stages)}: pseudo needs pseudo-labels, and the probe has made none; leave it out, or "
            "label soundscapes with python -m trainables.ensemble."
        )
    if "pseudo" in stages and teacher is None:
        raise ConfigError(
            f"stages {','.join(stages)}: pseudo needs the pseudo-labels of a run; leave it out, or name the run "
            "with --teacher runs/NAME."
        )
    if stages[0] != "pretrain_ce":
        raise ConfigError(f"stages {','.join(stages)}: a search starts with pretrain_ce; put it first.")


def check_teacher_heard(space: SearchSpace, has_embeddings: bool) -> None:
    """
    Raises:
        ConfigError: `distil.weight` is set, or may be drawn, above 0, and there are no embeddings of a teacher.
    """
    check_distil(highest(space, "distil.weight"), has_embeddings)


def highest(space: SearchSpace, name: str) -> float:
    """The most that a number is set to, or that may be drawn of it."""
    return float(max(probes(space).get(name, (space.base.flat()[name],))))


def check_top_k(top_k: int | None, pseudo_labels: bool, space: SearchSpace) -> None:
    """
    Raises:
        ConfigError: --top-k was given, and nothing follows the trials that would take the best.
    """
    if top_k and not pseudo_labels and not space.search.refit_folds:
        raise ConfigError(
            f"--top-k {top_k} with --no-pseudo-labels: would change nothing, for neither an ensemble nor --refit-folds "
            "takes the best trials; leave it out, or add --refit-folds 0,1,2."
        )


def check_one_split(space: SearchSpace) -> None:
    """Scores of trials that are validated on different recordings or windows must not share a leaderboard."""
    drawn = [parameter.key for parameter in space.parameters if parameter.key in SPLIT_KEYS]
    if drawn:
        raise ConfigError(
            f"space: {', '.join(drawn)} cannot be searched: trials that are validated on different recordings or "
            "windows do not compare; fix them with --set (--refit-folds trains the best on other folds)."
        )


def check_refit_folds(space: SearchSpace, split: SplitRecord, teacher: Teacher | None) -> None:
    """Whether the folds exist. A student starts from its teacher, which was trained on all folds but its own."""
    for fold in space.search.refit_folds:
        changes_for(space.base, split.kind, fold)
    others = [fold for fold in space.search.refit_folds if fold != split.fold]
    if teacher is not None and split.kind == "folds" and others:
        raise ConfigError(
            f"--refit-folds {','.join(map(str, others))}: a student starts from its teacher, which was trained on the "
            f"recordings that would validate; leave it out, or search anew on another fold."
        )


def check_backbones(space: SearchSpace) -> Tried:
    """Try every backbone of the space once, on each size of image that the space has: downloads, too, happen once.

    Returns:
        What is left out because a backbone's family does not have it; and the most that a model of the space takes.

    Raises:
        ConfigError: the reasons of all that cannot work.
    """
    names = probes(space).get("model.backbone", (space.base.model.backbone,))
    problems: dict[str, None] = {}
    tried: list[Tried] = []
    try:
        for name, sizes in itertools.product(names, image_sizes(space)):
            try:
                tried.append(try_model(sizes.with_overrides({"model.backbone": name})))
            except HubError:
                raise
            except ConfigError as error:
                problems[str(error)] = None
    except HubError as error:  # it would not be reached for the others either, after a minute of retries each
        problems[str(error)] = None
    if problems:
        raise ConfigError("\n".join(problems))
    return Tried(
        left_out=tuple(dict.fromkeys(note for one in tried for note in one.left_out)),
        weights_bytes=max(one.weights_bytes for one in tried),
        clip_bytes=max(one.clip_bytes for one in tried),
    )


def image_sizes(space: SearchSpace) -> list[SedConfig]:
    """The base, once for each number of mels and frames of the space, with as many channels and drop path as it has."""
    by_key = probes(space)
    most = {"model.drop_path_rate": max, "model.multi_resolution": max}
    highest = {key: choose(by_key[key]) for key, choose in most.items() if key in by_key}
    keys = [key for key in SIZE_KEYS if key in by_key]
    sizes: dict[tuple[int, int], SedConfig] = {}
    for values in itertools.product(*(by_key[key] for key in keys)):
        try:
            config = space.config({**highest, **dict(zip(keys, values, strict=True))})
        except ConfigError:
            continue  # a combination that the space does not draw
        sizes.setdefault((config.front_end.n_mels, n_frames_in(config.data.window_s, config.front_end)), config)
    return list(sizes.values()) or [space.base]


def probes(space: SearchSpace) -> dict[str, tuple[Any, ...]]:
    """Values of each parameter that stand for all of its own, its ends among them."""
    return {parameter.key: parameter.distribution.probes() for parameter in space.parameters}
