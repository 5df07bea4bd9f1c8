"""What the probe command does: a foreign model hears the data, probes of it are fitted, and its labels are written.

The run folder is that of a search whose trials are the foreign model's own logits, a probe of its embeddings, and both
together: whatever takes a run takes this one.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from typing import Any

import torch

from sed_model.clips.embedding_cache import EmbeddingCache
from sed_model.clips.heard_alike import recordings_alike
from sed_model.clips.training_data import open_training_data
from sed_model.clips.validation_windows import ValidationWindows, WindowImages
from sed_model.config.sed_config import SedConfig
from sed_model.core import cli
from sed_model.data.soundscape_parts import LEAST_FILES
from sed_model.data.splits import unlabelled_soundscapes, validation_kind
from sed_model.model.checkpoint import Lineage, save_model
from sed_model.model.devices import prediction_runtime
from sed_model.model.probe_model import ProbeModel
from sed_model.predict.window_scores import predict_dataset
from sed_model.run_folder.metrics import macro_auc
from sed_model.run_folder.predictions import OOF_FILE, write_predictions
from sed_model.run_folder.recordings_table import write_recordings
from sed_model.run_folder.run_tables import trial_id
from sed_model.train.probe import KINDS, Fitted, Kind, fit_probes
from sed_model.train.probe_clips import probe_clips
from trainables.keeping.driver_lock import only_driver
from trainables.labelling.candidates import EnsembleJob
from trainables.labelling.embed import EmbedPlan, embed_files
from trainables.labelling.job import label_soundscapes
from trainables.labelling.plan import plan_ensemble
from trainables.on_ray.cluster import ray_session
from trainables.searching.finalists import N_PARTS, deliver_mean, delivered_text, n_labelled
from trainables.searching.probe_setup import ProbeOptions, Probing, match_lines, prepare_probe, probe_record
from trainables.searching.recorder import EMPTY_ROW
from trainables.spaces.settings import DEFAULT
from trainables.trials.hearing import paths_to_hear

KEPT_BYTES = 2**30
"""Of validation windows' features, heard once for all probes: 80,000 windows of BirdNET."""


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


def hear_all(probing: Probing, options: ProbeOptions) -> EmbeddingCache:
    """What the foreign model hears in all recordings and soundscapes, kept for searches that learn from it."""
    data = probing.data
    return embed_files(
        EmbedPlan(
            data.root,
            paths_to_hear(data),
            probing.description,
            tuple(probing.matched.columns.tolist()),
            probing.config.data,
            workers=options.workers,
            address=options.address,
        )
    )


def fit_all(probing: Probing, heard: EmbeddingCache) -> None:
    """The trials, which no labelled soundscape trains; of each, where these are enough, the models of their parts."""
    run, config = probing.run, probing.config
    trials = fit_split(probing, config, heard, None)
    refits: list[dict[str, Any]] = []
    if validation_kind(probing.data, config.data) == "soundscapes" and n_labelled(probing.data) >= LEAST_FILES:
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
        model = ProbeModel(probing.description, config, linear.tensors(probing.matched), probing.foreign.sha256)
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
