"""The last steps of a chain, which need no Ray: post-processing and the Kaggle folder of the run that is kept."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from sed_model.core import cli
from sed_model.core.errors import AudioError, CheckpointError, ConfigError, DataError
from sed_model.core.texts import counted
from sed_model.export.job import ExportJob, check_job, export_model
from sed_model.model.checkpoint import licence_lines, read_lineage
from sed_model.model.graph import GraphRuntime, fastest
from sed_model.predict.ensemble import load_ensemble
from sed_model.predict.tune_job import TuneJob, tune_post
from sed_model.run_folder.folder import RunFolder
from trainables.chaining.ledger import KAGGLE, POST, Done, Ledger
from trainables.kaggle.folder import KaggleJob, write_kaggle_folder
from trainables.labelling.run_members import members_of

RUNTIME: GraphRuntime = "openvino"


def check_export() -> None:
    """Whether the packages of an export are here, which comes hours later.

    Raises:
        ConfigError: one is missing.
    """
    check_job(RUNTIME, fastest("auto", RUNTIME))


def end_steps(run: Path, folder: Path, ledger: Ledger) -> None:
    """Tune the post-processing of `run`, and write its Kaggle folder into that of the chain."""
    post, data_dir = folder / "post.json", Path(RunFolder(run).read_search()["data"]["folder"])
    ledger.do(POST, partial(tune, run, data_dir, post))
    ledger.do(KAGGLE, partial(write_kaggle, run, data_dir, folder / "kaggle", post if post.is_file() else None))


def tune(run: Path, data_dir: Path, post: Path) -> Done:
    """post.json, where labelled soundscapes prove a gain; what keeps it from that is told, and no error."""
    members = members_of(run)
    labels = RunFolder(run).ensemble
    job = TuneJob(data_dir, post, n_threads=len(os.sched_getaffinity(0)), pseudo_labels=labels)
    try:
        tuned = tune_post(job, load_ensemble(members.folders, members.joining), cli.say)
    except (AudioError, CheckpointError, ConfigError, DataError) as error:
        print(f"the post-processing stays plain: {error}", flush=True)
        return Done(said=f"plain: {error}")
    if not tuned.proven:
        return Done(score=f"{tuned.plain:.4f}", said=f"plain: {tuned.why_plain}")
    gains = [f"{name} {one.gain:+.4f} ± {one.error:.4f}" for name, one in tuned.proven.items()]
    in_all = 0.0 if tuned.why_plain else tuned.gain
    return Done(
        score=f"{tuned.plain + in_all:.4f}",
        said=f"tuned: {', '.join(gains)} on soundscapes that had no part in it",
    )


def write_kaggle(run: Path, data_dir: Path, out: Path, post: Path | None) -> Done:
    members = members_of(run)
    for line in licence_lines([read_lineage(folder) for folder in members.folders]):
        print(line, flush=True)
    write_kaggle_folder(KaggleJob(out, members, RUNTIME, post), partial(export, data_dir))
    return Done(said=f"{counted(len(members.folders), 'model')} of {run.name} in {out}")


def export(data_dir: Path, model_dir: Path, out: Path) -> None:
    """In the precision that is fastest here, or in fp32 where that is too far from PyTorch."""
    precision = fastest("auto", RUNTIME)
    try:
        export_model(ExportJob(model_dir, out, RUNTIME, data_dir, precision), cli.say)
    except CheckpointError as error:
        if precision == "fp32":
            raise
        print(f"{error} It is exported in fp32.", flush=True)
        export_model(ExportJob(model_dir, out, RUNTIME, data_dir, "fp32"), cli.say)
