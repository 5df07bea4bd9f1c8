"""What the probe command does: a foreign model hears the data, probes of it are fitted, and its labels are written.

The run folder is that of a search whose trials are the foreign model's own logits, a probe of its embeddings, and both
together: whatever takes a run takes this one.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sed_model.clips.embedding_cache import EmbeddingCache
from sed_model.clips.heard_alike import recordings_alike
from sed_model.clips.training_data import open_training_data
from sed_model.clips.validation_windows import ValidationWindows, WindowImages
from sed_model.config.sed_config import SedConfig, load_config
from sed_model.core import cli
from sed_model.core.errors import ConfigError
from sed_model.data.class_names import class_names
from sed_model.data.recordings import DataFolder, read_data_folder
from sed_model.data.splits import split, unlabelled_soundscapes, validation_kind
from sed_model.model.checkpoint import Lineage, save_model
from sed_model.model.devices import prediction_runtime
from sed_model.model.probe_model import ProbeModel
from sed_model.predict.window_scores import predict_dataset
from sed_model.run_folder.folder import RunFolder, is_probe
from sed_model.run_folder.metrics import macro_auc
from sed_model.run_folder.predictions import OOF_FILE, write_predictions
from sed_model.run_folder.recordings_table import write_recordings
from sed_model.run_folder.run_tables import trial_id
from sed_model.teacher.description import ForeignModel, TeacherDescription, foreign_model, read_description
from sed_model.teacher.matching import Match, match_labels
from sed_model.teacher.runner import load_teacher
from sed_model.train.probe import KINDS, Fitted, Kind, Matched, fit_probes
from sed_model.train.probe_clips import probe_clips
from trainables.keeping.driver_lock import only_driver
from trainables.labelling.candidates import EnsembleJob
from trainables.labelling.embed import EmbedPlan, embed_files
from trainables.labelling.job import label_soundscapes
from trainables.labelling.plan import plan_ensemble
from trainables.on_ray.cluster import ray_session
from trainables.searching.checks import check_place, check_unused
from trainables.searching.finalists import N_PARTS, deliver_mean, delivered_text, n_labelled
from trainables.searching.recorder import EMPTY_ROW
from trainables.searching.setup import run_record
from trainables.spaces.check import SPACES_DIR
from trainables.spaces.overrides import absolute_paths, parse_overrides
from trainables.spaces.search_space import SearchSpace
from trainables.spaces.settings import DEFAULT, SearchSettings

USED = ("data.", "inference.", "pseudo.", "front_end.sample_rate_hz")
"""Keys that a probe goes by begin with these."""
KEPT_BYTES = 2**30
"""Of validation windows' features, heard once for all probes: 80,000 windows of BirdNET."""


@dataclass(frozen=True)
class ProbeOptions:
    """The options of the probe command, as its --help explains them; `command` is what the user typed."""

    command: str
    teacher: str
    data: Path
    teacher_file: Path | None = None
    teacher_labels: Path | None = None
    out: Path = Path("runs")
    name: str | None = None
    workers: int | None = None
    address: str | None = None
    pseudo_labels: bool = True
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Probing:
    """A probe run whose input is right."""

    run: RunFolder
    config: SedConfig
    data: DataFolder
    description: TeacherDescription
    matches: tuple[Match, ...]

    @cached_property
    def foreign(self) -> ForeignModel:
        return foreign_model(self.description)

    @property
    def matched(self) -> Matched:
        known = [(one.index, place) for place, one in enumerate(self.matches) if one.index is not None]
        columns, classes = zip(*known, strict=True) if known else ((), ())
        return Matched(np.array(columns, np.int64), np.array(classes, np.int64))


def run_probe(options: ProbeOptions) -> None:
    """Hear, fit, score and label; tell what to type next.

    Raises:
        UserError: of the kind of the input that is wrong.
    """
    start_s = time.monotonic()
    probing = prepare_probe(options)
    run, data = probing.run, probing.data
    print("\n".join(match_lines(probing)), flush=True)
    with ray_session(options.address, False):
        heard = hear_all(probing, options)
        with only_driver(run.path, "probe"):
            run.write_search(probe_record(probing, options))
            fit_all(probing, heard)
            run.write_leaderboard()
            write_recordings(run.path, recordings_alike(data, heard, probing.config.seed))
            if delivered := deliver_mean(run):
                print("\n".join(delivered_text(delivered)), flush=True)
            labels = options.pseudo_labels and bool(unlabelled_soundscapes(data))
            if labels:
                label_soundscapes(plan_ensemble(EnsembleJob(run.path, data.root, run.ensemble, top_k=len(KINDS))))
    print(f"\nrun folder      {run.path}\nleaderboard     {run.leaderboard}   {time.monotonic() - start_s:.0f} s")
    name, scapes = shlex.quote(str(run.path)), cli.soundscapes_to_predict(data.root)
    cli.print_next(
        *([f"python -m trainables.search --space teacher.yaml --teacher {name}"] if labels else []),
        f"python -m analysis.report --run {name}",
        f"python -m trainables.predict --run {name} --soundscapes {scapes} --out submission.csv",
    )


def prepare_probe(options: ProbeOptions) -> Probing:
    """Read and check all input, what is quick to check first; nothing is heard yet.

    Raises:
        UserError: of the kind of the input that is wrong.
    """
    check_place(options.out, options.name)
    description = read_description(options.teacher, options.teacher_file, options.teacher_labels)
    run = RunFolder(options.out / (options.name or f"probe-{description.name}-{time.strftime('%Y%m%d-%H%M%S')}"))
    if not is_there(run):
        check_unused(run, is_resumed=False)
    overrides = absolute_paths(parse_overrides(options.overrides))
    if foreign := [name for name in overrides if not name.startswith(USED)]:
        raise ConfigError(
            f"--set {foreign[0]}: would change nothing: a probe trains no model; what it goes by begins with "
            f"{', '.join(USED)}."
        )
    config = probe_config(overrides)
    load_teacher(description)  # what is wrong with it is told before Ray starts
    data = read_data_folder(options.data, config.data.target_s)
    matches = match_labels(class_names(data), description.read_labels(), description.label_format)
    probing = Probing(run, config, data, description, matches)
    if is_there(run):
        check_same(probing)
    return probing


def is_there(run: RunFolder) -> bool:
    """Whether the folder is that of a probe; one that was broken off is begun again in it."""
    return run.search_file.is_file() and is_probe(run)


def check_same(probing: Probing) -> None:
    """What was heard and predicted is kept where a probe is begun again.

    Raises:
        ConfigError: it is of other data, of another teacher or setting.
    """
    record = probing.run.read_search()
    theirs = record["data"]["fingerprint"], record["probe"].get("sha256"), record.get("base")
    if theirs != (probing.data.fingerprint, probing.foreign.sha256, probing.config.model_dump(mode="json")):
        raise ConfigError(
            f"{probing.run.path}: is a probe of other data, of another teacher or setting; choose another --name."
        )


def probe_config(overrides: Mapping[str, Any]) -> SedConfig:
    """The configuration of a probe: what a foreign model hears is the target window, with no images between.

    Its label rules, of short.yaml, keep nearly all windows, with their probabilities as targets.
    """
    base = load_config(SPACES_DIR / "short.yaml")
    given: dict[str, Any] = {**base.flat(), **overrides}
    # A window's score is that of the loudest that the foreign model hears in it.
    own = {"data.window_s": given["data.target_s"], "inference.frame_share": 0.0, "model.pretrained": False}
    if isinstance(rate := overrides.get("front_end.sample_rate_hz"), int):
        own |= {"front_end.f_max_hz": rate / 2, "front_end.n_mels": 32}  # there are no mels, but they have to fit
    return base.with_overrides({**own, **overrides})


def match_lines(probing: Probing) -> list[str]:
    """What matched, a line a class."""
    description, matches = probing.description, probing.matches
    n_known = sum(one.index is not None for one in matches)
    lines = [f"teacher {probing.foreign}: knows {n_known} of {len(matches)} classes by name"]
    if description.has_heard:
        lines.append(f"  it was trained on {description.has_heard}")
    return lines + [
        f"  {one.primary_label:<30} {one.label} ({one.way})" if one.label else f"  {one.primary_label:<30} -"
        for one in matches
        if n_known
    ]


def hear_all(probing: Probing, options: ProbeOptions) -> EmbeddingCache:
    """What the foreign model hears in all recordings and soundscapes, kept for searches that learn from it."""
    data = probing.data
    return embed_files(
        EmbedPlan(
            data.root,
            (*data.recordings["path"], *data.soundscapes),
            probing.description,
            tuple(probing.matched.columns.tolist()),
            probing.config.data,
            workers=options.workers,
            address=options.address,
        )
    )


def probe_record(probing: Probing, options: ProbeOptions) -> dict[str, Any]:
    """search.yaml: that of a search without parameters, and what the foreign model is."""
    settings = SearchSettings(num_trials=len(KINDS), stages=("train_bce",), scheduler=None, portfolio="none")
    space = SearchSpace("probe", probing.config, settings)
    record = run_record(probing.run, space, probing.data, options.command, options.overrides)
    record["data"]["split"] = split(probing.data, probing.config.data).record.model_dump()
    return record | {
        "probe": {
            "teacher": probing.description.model_dump(),
            "sha256": probing.foreign.sha256,
            "columns": probing.matched.columns.tolist(),
            "matches": {one.primary_label: one.label for one in probing.matches},
        }
    }


def fit_all(probing: Probing, heard: EmbeddingCache) -> None:
    """The trials, which no labelled soundscape trains; of each, where these are enough, the models of their parts."""
    run, config = probing.run, probing.config
    trials = fit_split(probing, config, heard, None)
    refits: list[dict[str, Any]] = []
    if validation_kind(probing.data, config.data) == "soundscapes" and n_labelled(probing.data) >= 2 * N_PARTS:
        for part in range(N_PARTS):
            changes = {"data.soundscape_folds": N_PARTS, "data.fold": part}
            refits += fit_split(probing, config.with_overrides(changes), heard, part)
    run.write_tables(trials, [])
    run.write_refits([{**row, "in_parts": True} for row in refits])


def fit_split(probing: Probing, config: SedConfig, heard: EmbeddingCache, part: int | None) -> list[dict[str, Any]]:
    """Fit and score all kinds on one split; a row each."""
    start_s = time.monotonic()
    data = open_training_data(probing.data, config)
    fitted = fit_probes(probe_clips(probing.data, data.split, config, heard), probing.matched)
    windows = ValidationWindows(data, config)
    fit_s = time.monotonic() - start_s
    rows, images = [], None
    for number, (kind, linear) in enumerate(fitted.by_kind.items()):
        model = ProbeModel(probing.description, config, linear.tensors(probing.matched))
        images = images or WindowImages(windows, Images(model), KEPT_BYTES)
        scores = predict_dataset(model, images, config, prediction_runtime(config.optim), "bce")
        probabilities = scores.window_scores("bce", windows.rms).probabilities(config.inference)
        score = macro_auc(windows.targets, probabilities)
        run, name = probing.run, trial_id(number)
        folder = run.trial(number) if part is None else run.refit(number, True, part)
        lineage = lineage_of(probing, kind, data.split.record, score)
        save_model(folder, model.state_dict(), config, lineage)
        write_predictions(folder / OOF_FILE, windows, probabilities, probing.data.classes)
        where = "" if part is None else f"  part {part}"
        print(f"{name}{where}  {kind:<20} macro AUC {score:.4f}{strength_text(kind, fitted)}", flush=True)
        row = {"trial_id": name, "number": number, "macro_auc": score, "epochs": 1, "seed": config.seed}
        row |= {"fold": config.data.fold, "split": data.split.record.digest, "duration_s": fit_s / len(fitted.by_kind)}
        rows.append(row if part is not None else trial_row(row, kind, config, model))
    return rows


class Images(torch.nn.Module):
    """What `WindowImages` makes its images by."""

    def __init__(self, model: ProbeModel) -> None:
        super().__init__()
        self._model = model

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        return self._model.images(waveforms)


def strength_text(kind: Kind, fitted: Fitted) -> str:
    return "" if kind == "zero-shot" else f"  (strength {fitted.strength:g})"


def lineage_of(probing: Probing, kind: Kind, record: Any, score: float) -> Lineage:
    return Lineage(
        stage=kind,
        loss="bce",
        epoch=1,
        parent=None,
        classes=probing.data.classes,
        data_fingerprint=probing.data.fingerprint,
        validation=record.kind,
        seed=probing.config.seed,
        metrics={"macro_auc": score},
        split=record,
        foreign=(probing.foreign,),
        probe_of=probing.description,
    )


def trial_row(row: Mapping[str, Any], kind: Kind, config: SedConfig, model: ProbeModel) -> dict[str, Any]:
    """A row of trials.parquet; the first kind is what others are compared with."""
    flat = {f"config.{name}": value for name, value in config.flat().items()}
    own = {"status": "complete", "stage": kind, "epoch": 1, "drawn_by": DEFAULT if row["number"] == 0 else kind}
    size = sum(tensor.numel() for tensor in (model.weight, model.bias)) / 1e6
    return {**EMPTY_ROW, **row, **own, "params_m": size, **flat}
