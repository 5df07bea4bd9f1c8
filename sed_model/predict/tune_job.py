"""Tunes the post-processing on the labelled train soundscapes of a data folder; their predictions are cached."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from sed_model.audio.audio_files import is_audio
from sed_model.audio.decoding import BadAudio, duration_s
from sed_model.core.errors import AudioError, CheckpointError, ConfigError, DataError
from sed_model.core.files import read_arrays, replacing, sha256_of
from sed_model.core.paths import check_output, is_file, is_folder
from sed_model.core.soundscape_names import SITE
from sed_model.core.texts import counted
from sed_model.data.class_names import class_groups
from sed_model.data.layouts import label_form
from sed_model.data.recordings import DataFolder, read_configured
from sed_model.data.soundscape_labels import parse_row_id
from sed_model.data.tables import Notes, columns_of, read_text_table
from sed_model.predict.class_tuning import tune_groups
from sed_model.predict.ensemble import Ensemble
from sed_model.predict.heard import may_judge
from sed_model.predict.job import PredictJob, score_all
from sed_model.predict.place_evidence import evidence_of
from sed_model.predict.post_tuning import Join, LabelledWindows, Tuned, grid, post_processed, tune
from sed_model.predict.postprocess import PostSettings, ScoreParts, blend, change_post, write_post
from sed_model.predict.prior_tuning import tune_prior
from sed_model.predict.soundscapes import Task
from sed_model.predict.submission import stem_of
from sed_model.predict.window_scores import target_starts
from sed_model.scores import smoothing

CACHE_FORMAT = 3
SCORES = ("clip", "shifted", "best", "best_alone")
"""What settings are compared on: [members, windows, classes]."""


@dataclass(frozen=True)
class TuneJob:
    """Where the labels are, and where the settings go.

    Attributes:
        shift_s: of the time-shifted windows; None: half a target window.
        silence_rms: None: `inference.silence_rms` of each member.
        name_pattern: what names of soundscapes tell, see `core.soundscape_names`.
        pseudo_labels: folder of a run's ensemble, whose pseudo-labels tell what calls where; None: there is none.
    """

    data_dir: Path
    out: Path
    shift_s: float | None = None
    n_threads: int = 1
    silence_rms: float | None = None
    name_pattern: str = SITE.pattern
    pseudo_labels: Path | None = None


def tune_post(job: TuneJob, ensemble: Ensemble, report: Callable[[str], None] = print) -> Tuned:
    """Find the best post-processing of the labelled train soundscapes and write it to `job.out`.

    Their predictions are kept beside `job.out`, so that the next call compares settings at once.

    Raises:
        ConfigError: nothing could be written to `job.out` in the end.
        DataError: the data folder cannot be used, has no labelled soundscapes, or labels those of the test.
        CheckpointError: the models know other classes than the data folder.
        AudioError: a labelled soundscape cannot be read.
    """
    check_output(job.out, "--out")
    data = read_configured(job.data_dir, ensemble.members[0].config.data)
    windows, tasks = labelled_windows(data, ensemble)
    allowed = allowed_members(data, ensemble, windows, tasks)
    windows = replace(windows, labelled=windows.labelled & allowed.any(axis=0))
    scores = cached_scores(job, ensemble, data, tasks, report)
    shares = np.array([member.config.inference.frame_share for member in ensemble.members])

    def join(settings: PostSettings) -> NDArray[np.float32]:
        # As `predict` would score them: without shifted windows where these have no share.
        best = scores["best" if settings.tta_weight > 0 else "best_alone"]
        parts = ScoreParts(scores["clip"], scores["shifted"], best, scores["silent"], shares)
        by_member = blend(parts, settings, ensemble.classes)
        return smoothing.silence(ensemble.combine(by_member, allowed), parts.silent_for_all)

    if not allowed.all():
        report(
            "models have trained on parts of the labelled soundscapes: each is scored by those that have not heard it"
        )
    tuned = tune(join, windows, list(grid(len(ensemble.classes), with_tta=True)))
    n_files = sum(bool(part.any()) for part in np.split(windows.labelled, np.cumsum(windows.n_windows)[:-1]))
    for line in _lines(tuned, n_files):
        report(line)
    stems = [stem_of(task.path.name) for task in tasks]
    tuned = tune_further(job, data, (tuned, join, windows, stems), report)
    write_post(job.out, change_post(tuned.settings, {"tta_shift_s": job.shift_s}))
    return tuned


def tune_further(
    job: TuneJob,
    data: DataFolder,
    before: tuple[Tuned, Join, LabelledWindows, Sequence[str]],
    report: Callable[[str], None],
) -> Tuned:
    """Groups of classes with settings of their own, then a prior of places, each where it gains over what was before.

    Args:
        before: what was tuned so far, how members' scores are joined, the windows, and the stems of their soundscapes.

    Raises:
        DataError: taxonomy.csv or pseudo-labels are damaged.
    """
    tuned, join, windows, stems = before
    groups = {name: one for name, one in class_groups(data.root, data.classes).items() if len(one) < len(data.classes)}
    settings, further = tune_groups(join, windows, tuned.settings, groups, data.classes)
    if unscored := [name for name in groups if name not in further]:
        report(f"no settings of their own are tried for {', '.join(unscored)}: no labels tell their windows apart")
    for name, one in further.items():
        report(_further_line(f"settings of their own for {name}", one))
    ((_, scores),) = post_processed(join, windows.n_windows, [settings], data.classes)
    evidence, told = evidence_of(data, windows, stems, job.pseudo_labels)
    prior = tune_prior(scores, windows, evidence, settings, (job.name_pattern, data.classes))
    if prior is None:
        report(
            "no prior of places is tried: the names of the labelled soundscapes tell no two sites to hold out by turns"
        )
        return replace(tuned, settings=settings, further=further)
    report(told)
    report(_further_line("a prior of places, with sites held out", prior))
    return replace(tuned, settings=prior.settings, further={**further, "prior": prior})


def allowed_members(
    data: DataFolder, ensemble: Ensemble, windows: LabelledWindows, tasks: Sequence[Task]
) -> Bool[np.ndarray, "members windows"]:
    """Which members may judge each window: those that did not train on its soundscape.

    Raises:
        DataError: see `may_judge`.
    """
    judges = may_judge(data, ensemble.members)
    everyone = (True,) * len(ensemble.members)
    of_file = [judges.get(task.path.relative_to(data.root).as_posix(), everyone) for task in tasks]
    return np.repeat(np.array(of_file, bool), windows.n_windows, axis=0).T


def labelled_windows(data: DataFolder, ensemble: Ensemble) -> tuple[LabelledWindows, list[Task]]:
    """The labelled soundscapes with all their windows, of which the labelled ones count.

    Raises:
        DataError, CheckpointError: see `tune_post`.
    """
    if data.soundscape_labels is None:
        raise DataError(
            f"{data.root}: --tune-post needs train_soundscapes_labels.csv, which is not there; label some soundscapes."
        )
    if data.classes != ensemble.classes:
        raise CheckpointError(f"{data.root}: its classes are not those of the models; give the data they learnt from.")
    refuse_test_soundscapes(data.root, sorted(set(data.soundscape_labels["path"])))
    tasks, n_windows, targets, labelled = [], [], [], []
    for path, rows in data.soundscape_labels.groupby("path", sort=True):
        at = np.rint(rows["start_s"].to_numpy(float) / ensemble.target_s).astype(int)
        starts_s = target_starts(duration_s(data.root / str(path)), ensemble.target_s, ensemble.target_s)
        n = max(len(starts_s), int(at.max()) + 1)
        tasks.append(Task(data.root / str(path), tuple(float(i * ensemble.target_s) for i in range(n))))
        n_windows.append(n)
        truth, known = np.zeros((n, len(data.classes)), np.float32), np.zeros(n, bool)
        truth[at], known[at] = rows[list(data.classes)].to_numpy(np.float32), True
        targets.append(truth)
        labelled.append(known)
    return LabelledWindows(tuple(n_windows), np.concatenate(targets), np.concatenate(labelled)), tasks


def refuse_test_soundscapes(root: Path, labelled_paths: Sequence[str]) -> None:
    """
    Raises:
        DataError: a labelled train soundscape is a test soundscape by its name or its content; tuning on those would
            make the final figures worthless.
    """
    labelled = {Path(path).stem: root / path for path in labelled_paths}
    test_dir, test_csv = root / "test_soundscapes", root / "test_soundscapes_labels.csv"
    listed = [path for path in test_dir.glob("*") if is_audio(path.name)]
    stems, test_files = {path.stem for path in listed}, [path for path in listed if is_file(path)]
    if os.path.lexists(test_csv):
        stems |= _stems(test_csv)
    shared = sorted(stems & labelled.keys())
    sizes = {path.stat().st_size for path in test_files}
    contents = (
        {sha256_of(path) for path in test_files} if sizes & {p.stat().st_size for p in labelled.values()} else set()
    )
    shared += sorted(stem for stem, path in labelled.items() if stem not in shared and sha256_of(path) in contents)
    if shared:
        raise DataError(
            f"{root / 'train_soundscapes_labels.csv'}: labels {len(shared)} soundscapes of the test "
            f"({', '.join(shared[:5])}); nothing is tuned on those: remove their rows."
        )


def _stems(table: Path) -> set[str]:
    if label_form(columns_of(table)) == "spans":
        return {Path(name).stem for name in read_text_table(table, ["filename"], Notes())["filename"]}
    try:
        return {parse_row_id(text)[0] for text in read_text_table(table, ["row_id"])["row_id"]}
    except ValueError as error:
        raise DataError(f"{table}: {error}; write it like soundscape_12_5.") from None


def cached_scores(
    job: TuneJob, ensemble: Ensemble, data: DataFolder, tasks: list[Task], report: Callable[[str], None]
) -> dict[str, NDArray[Any]]:
    """SCORES and `silent` by name, of all tasks one after the other.

    Raises:
        AudioError: a file cannot be read.
    """
    shift_s = job.shift_s or ensemble.target_s / 2
    facts = {
        "format": CACHE_FORMAT,
        "members": [member.lineage.weights_sha256 for member in ensemble.members],
        "data": data.fingerprint,
        "shift_s": shift_s,
        "silence_rms": job.silence_rms,
        "inference": [member.config.inference.model_dump(mode="json") for member in ensemble.members],
    }
    key = hashlib.blake2b(json.dumps(facts).encode(), digest_size=8).hexdigest()
    path = job.out.parent / f".{job.out.stem}-{key}.npz"
    if is_folder(path):
        raise ConfigError(f"{path}: is a folder, where the predictions are kept; remove it, or give another --out.")
    if is_file(path):
        known, damage = stored_scores(path, ensemble, sum(len(task.starts_s or ()) for task in tasks))
        if not damage:
            report(f"predictions of {len(tasks)} labelled soundscapes are there already: {path.name}")
            return known
        report(f"stored predictions are damaged, and made again: {damage}")
    post = PostSettings(tta_weight=0.5, tta_shift_s=shift_s)
    predict = PredictJob(data.root, job.out, silence_rms=job.silence_rms, post=post, n_threads=job.n_threads)
    results = list(score_all(ensemble, tasks, predict, report))
    bad = [item for item in results if isinstance(item, BadAudio)]
    if bad:
        lines = "\n".join(f"  {item.path}: {item.reason}" for item in bad)
        raise AudioError(
            f"{len(bad)} labelled soundscapes cannot be read:\n{lines}\nReplace them or remove their rows."
        )
    good = [item for item in results if not isinstance(item, BadAudio)]
    fields = {name: [getattr(item.parts, name) for item in good] for name in ("clip", "shifted", "best", "silent")}
    fields["best_alone"] = [item.best_alone for item in good]
    scores: dict[str, Any] = {name: np.concatenate(pieces, axis=1) for name, pieces in fields.items()}
    for stale in path.parent.glob(f".{job.out.stem}-{'[0-9a-f]' * 16}.npz"):
        stale.unlink()
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **scores)
    return scores


def stored_scores(path: Path, ensemble: Ensemble, n_windows: int) -> tuple[dict[str, NDArray[Any]], str]:
    """The scores of an earlier call, or none of them and what is wrong with the file."""
    try:
        scores = read_arrays(path, (*SCORES, "silent"))
        good = scores["silent"].shape == (len(ensemble.members), n_windows) and scores["silent"].dtype == bool
        for name in SCORES:
            shape = (len(ensemble.members), n_windows, len(ensemble.classes))
            good = good and scores[name].dtype == np.float32 and scores[name].shape == shape
            good = good and bool(((scores[name] >= 0) & (scores[name] <= 1)).all())
    except ValueError as error:
        return {}, str(error)
    return (scores, "") if good else ({}, f"{path.name}: holds no probabilities of these windows")


def _further_line(what: str, tuned: Tuned) -> str:
    chosen = f"taken: {_told(tuned.settings)}" if not tuned.why_plain else tuned.why_plain
    return f"{what}: {tuned.n_tried - 1} tried, gain {tuned.gain:+.4f}, its standard error {tuned.error:.4f}; {chosen}"


def _told(settings: PostSettings) -> str:
    """Of the last group of classes, or of the prior, what was chosen."""
    if settings.prior is not None:
        kinds = sorted({place.partition("=")[0] for place in settings.prior.shifts})
        return f"{' and '.join(kinds)}, weight {settings.prior.weight:g}"
    own = settings.groups[-1].model_dump(exclude={"name", "classes"}, exclude_none=True)
    return ", ".join(f"{name}={value:g}" for name, value in own.items())


def _lines(tuned: Tuned, n_files: int) -> list[str]:
    plain = PostSettings().model_dump()
    changed = {name: value for name, value in tuned.settings.model_dump().items() if value != plain[name]}
    told = ", ".join(f"{name}={value:g}" for name, value in changed.items()) or "the plain ones"
    lines = [
        f"{tuned.n_tried} settings on {counted(n_files, 'labelled train soundscape')}: macro AUC {tuned.plain:.4f} "
        f"plain, {tuned.tuned:.4f} with the chosen ones (too good: they were chosen by it)",
        f"gain on soundscapes that had no part in the choice: {tuned.gain:+.4f} "
        f"(standard deviation {tuned.gain_sd:.4f} over {tuned.n_parts} held-out parts; its standard error, paired by "
        f"soundscape, is {tuned.error:.4f})",
        f"chosen: {told}",
    ]
    return [*lines, tuned.why_plain] if tuned.why_plain else lines
