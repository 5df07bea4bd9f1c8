"""A folder of soundscapes -> submission.csv, sound events and decisions. Needs neither Ray nor a network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32

from sed_model.audio.decoding import BadAudio, duration_s
from sed_model.audio.odd_lengths import OddLength, odd_lines
from sed_model.core.errors import some
from sed_model.core.paths import check_folder, check_output
from sed_model.core.soundscape_names import row_id
from sed_model.data.tables import Notes
from sed_model.model.devices import prediction_runtime
from sed_model.predict.deciding import decide
from sed_model.predict.ensemble import Ensemble
from sed_model.predict.events import EventSettings, EventWriter, check_stems
from sed_model.predict.name_priors import apply_prior, places_of
from sed_model.predict.postprocess import PostSettings, blend, check_classes, postprocess_files
from sed_model.predict.presence import PresenceWriter
from sed_model.predict.soundscapes import (
    ScoreOptions,
    SoundscapeScores,
    Task,
    score_files,
    score_soundscape,
)
from sed_model.predict.submission import (
    Columns,
    Sample,
    ends_of,
    find_sample,
    find_soundscapes,
    lists_every_file,
    plan_columns,
    read_sample,
    submission_table,
    usual_count,
    write_submission,
)
from sed_model.predict.window_scores import target_starts
from sed_model.run_folder.decisions import Decisions
from sed_model.scores import smoothing

REPORT_EVERY_S = 10.0
LABEL_SAMPLES = (("birds",), ("target",))
"""Columns of samples that ask for labels, no scores."""
Report = Callable[[str], None]


@dataclass(frozen=True)
class PredictJob:
    """What to predict, and what to write.

    Attributes:
        out: the submission; None: none is written.
        sample: sample_submission.csv; None: the one in or beside the soundscapes, where there is one.
        step_s: from one row to the next; None: a target window.
        silence_rms: None: `inference.silence_rms` of each member.
        events: folder for sound events; None: none are written.
        found: folder for what is found by `decisions`; None: nothing is decided.
        n_threads: files at a time.
        recursive: take the soundscapes in folders below, too.
    """

    soundscapes: Path
    out: Path | None
    sample: Path | None = None
    step_s: float | None = None
    silence_rms: float | None = None
    post: PostSettings = field(default_factory=PostSettings)
    events: Path | None = None
    event_settings: EventSettings = field(default_factory=EventSettings)
    n_threads: int = 1
    recursive: bool = False
    found: Path | None = None
    decisions: Decisions | None = None


@dataclass(frozen=True)
class Predicted:
    """What was done, to be told."""

    n_files: int
    n_rows: int
    bad: tuple[BadAudio, ...]
    n_events: int = 0
    n_detections: int = 0


def predict_soundscapes(job: PredictJob, ensemble: Ensemble, report: Report = print) -> Predicted:
    """Predict a folder and write the submission, the events and what is found, each where it is asked for.

    A soundscape that cannot be read gets rows of 0, for a submission has to be complete.

    Raises:
        ConfigError: `out` is a folder, or `events` or `found` is none.
        DataError: the folder or the sample cannot be used, or they do not fit the models.
        CheckpointError: a member predicts what is no probability.
        DiskFullError: there is no space for the results.
    """
    check_places(job)
    check_classes(job.post, ensemble.classes)
    notes = Notes()
    files = find_soundscapes(job.soundscapes, job.recursive, notes)
    for note in notes.lines():
        report(f"left out: {note}")
    if job.events:
        check_stems(list(files), job.events)
    sample = _sample_of(job, ensemble, report) if job.out else None
    columns = plan_columns(ensemble.classes, sample)
    asked = sample if sample and lists_every_file(sample, list(files)) else None
    _report_plan(report, files, columns, sample, asked)
    ends = {stem: ends_of(asked, stem, ensemble.target_s) if asked else None for stem in files}
    tasks = [Task(path, _starts(ends[stem], ensemble.target_s)) for stem, path in files.items()]
    if job.post.prior is not None:
        n_told = sum(bool(places_of(stem, job.post.prior)) for stem in files)
        report(f"prior of places: the names of {n_told} of {len(files)} soundscapes tell one that it knows")
    writers = _writers(job, ensemble)
    windows: dict[str, _Windows | BadAudio] = {}
    for (stem, path), scores in zip(files.items(), score_all(ensemble, tasks, job, report), strict=True):
        if isinstance(scores, BadAudio):
            report(f"cannot be read, its rows are 0: {_name(path, job)}: {scores.reason}")
            windows[stem] = scores
            writers.add_unreadable(_name(path, job), scores.reason)
            continue
        ends_s = ends[stem] or tuple(scores.starts_s + ensemble.target_s)
        by_member = blend(scores.parts, job.post, ensemble.classes)
        windows[stem] = _Windows(ends_s, by_member, scores.parts.silent_for_all)
        writers.add(_name(path, job), scores, by_member)
    bad = tuple(item for item in windows.values() if isinstance(item, BadAudio))
    n_rows = 0
    if job.out:
        complete = _with_empty_rows(windows, files, ends, job, ensemble)
        table = _table(complete, asked, ensemble, columns, job.post)
        write_submission(job.out, table)
        n_rows = len(table)
    return Predicted(len(files), n_rows, bad, *writers.finish())


@dataclass(frozen=True)
class _Writers:
    """What is written beside the submission, where it is asked for."""

    ensemble: Ensemble
    events: EventWriter | None
    found: PresenceWriter | None

    def add(
        self, name: str, scores: SoundscapeScores, by_member: Float32[np.ndarray, "members windows classes"]
    ) -> None:
        if self.events:
            self.events.add(name, smoothing.silence(self.ensemble.combine(scores.frames), scores.silent_frames))
        if self.found:
            self.found.add(name, scores.starts_s, decide(self.found.decisions, self.ensemble, by_member))

    def add_unreadable(self, name: str, reason: str) -> None:
        if self.found:
            self.found.add_unreadable(name, reason)

    def finish(self) -> tuple[int, int]:
        """The number of events and of windows with a class that was found."""
        return self.events.finish() if self.events else 0, self.found.finish() if self.found else 0


def _writers(job: PredictJob, ensemble: Ensemble) -> _Writers:
    front_end = ensemble.members[0].config.front_end
    band_hz = (front_end.f_min_hz, front_end.f_max_hz)
    events = EventWriter(job.events, ensemble.classes, job.event_settings, band_hz) if job.events else None
    found = PresenceWriter(job.found, job.decisions, ensemble.target_s) if job.found and job.decisions else None
    return _Writers(ensemble, events, found)


def _name(path: Path, job: PredictJob) -> str:
    return path.relative_to(job.soundscapes).as_posix()


def _sample_of(job: PredictJob, ensemble: Ensemble, report: Report) -> Sample | None:
    """The sample that was given, or the one in or beside the soundscapes, unless that asks for labels."""
    sample_path = job.sample or find_sample(job.soundscapes)
    sample = read_sample(sample_path) if sample_path else None
    if sample and job.sample is None and sample.classes in LABEL_SAMPLES and sample.classes[0] not in ensemble.classes:
        report(
            f"left out: {sample.path.name}, whose column {sample.classes[0]} asks for labels (BirdCLEF 2021, 2022); "
            "the submission has a column of scores for each class"
        )
        return None
    return sample


def check_places(job: PredictJob) -> None:
    """
    Raises:
        ConfigError: the results could not be written in the end.
    """
    if job.out:
        check_output(job.out, "--out")
    if job.events:
        check_folder(job.events, "--events")
    if job.found:
        check_folder(job.found, "--decisions")


@dataclass(frozen=True)
class _Windows:
    """The windows of one soundscape."""

    ends_s: tuple[float, ...]
    by_member: Float32[np.ndarray, "members windows classes"]
    silent: Bool[np.ndarray, " windows"]


def score_all(
    ensemble: Ensemble, tasks: Sequence[Task], job: PredictJob, report: Report
) -> Iterator[SoundscapeScores | BadAudio]:
    """The scores of each task in order; now and then a line about how far it is, in the end those about odd files."""
    runtime = prediction_runtime(ensemble.members[0].config.optim)
    for member in ensemble.members:
        runtime.place(member.model)
    shift_s = 0.0 if job.post.tta_weight == 0 else job.post.tta_shift_s or ensemble.target_s / 2
    options = ScoreOptions(job.step_s, shift_s, job.silence_rms)
    score = partial(score_soundscape, ensemble.members, options=options, runtime=runtime)
    odd: list[OddLength] = []
    start_s = last_s = time.monotonic()
    for n_done, scores in enumerate(score_files(score, tasks, job.n_threads), start=1):
        now_s = time.monotonic()
        if now_s - last_s >= REPORT_EVERY_S or n_done == len(tasks):
            last_s, rate = now_s, n_done / max(now_s - start_s, 1e-9)
            report(f"{n_done}/{len(tasks)} files  {rate:.2f} files/s  {(len(tasks) - n_done) / rate:.0f} s left")
        if isinstance(scores, SoundscapeScores):
            odd.extend(scores.odd)
        yield scores
    for line in odd_lines(odd, len(tasks)):
        report(line)


def _report_plan(
    report: Report, files: Mapping[str, Path], columns: Columns, sample: Sample | None, asked: Sample | None
) -> None:
    if sample and asked is None:
        known = sum(stem in sample.rows for stem in files)
        report(f"{sample.path.name} lists {known} of {len(files)} soundscapes: taken as an example of the columns")
    elif asked and (absent := [stem for stem in asked.rows if stem not in files]):
        report(f"{len(absent)} soundscapes of {asked.path.name} are not there, their rows are 0: {some(absent)}")
    if columns.unknown:
        report(f"{len(columns.unknown)} classes that the models do not know get 0: {some(columns.unknown)}")


def _starts(ends_s: Sequence[float] | None, target_s: float) -> tuple[float, ...] | None:
    return None if ends_s is None else tuple(end_s - target_s for end_s in ends_s)


def _with_empty_rows(
    windows: Mapping[str, _Windows | BadAudio],
    files: Mapping[str, Path],
    ends: Mapping[str, tuple[float, ...] | None],
    job: PredictJob,
    ensemble: Ensemble,
) -> dict[str, _Windows]:
    """Damaged files with rows of 0: those asked for, else by the length in the header, else as many as most have."""
    target_s, step_s = ensemble.target_s, job.step_s or ensemble.target_s
    usual = usual_count([len(item.ends_s) for item in windows.values() if isinstance(item, _Windows)])
    complete: dict[str, _Windows] = {}
    for stem, item in windows.items():
        if isinstance(item, _Windows):
            complete[stem] = item
            continue
        length_s = duration_s(files[stem])
        starts_s = target_starts(length_s, target_s, step_s) if length_s > 0 else np.arange(usual) * step_s
        ends_s = ends[stem] or tuple(starts_s + target_s)
        shape = (len(ensemble.members), len(ends_s), len(ensemble.classes))
        complete[stem] = _Windows(ends_s, np.zeros(shape, np.float32), np.ones(len(ends_s), bool))
    return complete


def _table(
    windows: Mapping[str, _Windows], asked: Sample | None, ensemble: Ensemble, columns: Columns, post: PostSettings
) -> pd.DataFrame:
    by_member = np.concatenate([item.by_member for item in windows.values()], axis=1)
    silent = np.concatenate([item.silent for item in windows.values()])
    joined = smoothing.silence(ensemble.combine(by_member), silent)
    n_windows = [len(item.ends_s) for item in windows.values()]
    better = postprocess_files(joined, n_windows, post, ensemble.classes)
    if post.prior is not None:
        better = apply_prior(better, list(windows), n_windows, post.prior)
    # Once more: a silent window is not what its neighbours are.
    probabilities = smoothing.silence(better, silent)
    if asked is None:
        row_ids = [row_id(stem, end_s) for stem, item in windows.items() for end_s in item.ends_s]
        return submission_table(row_ids, probabilities, columns)
    names = [asked.rows[stem][end_s] for stem, item in windows.items() for end_s in item.ends_s]
    place, empty = {name: index for index, name in enumerate(names)}, len(names)
    padded = np.pad(probabilities, ((0, 1), (0, 0)))
    return submission_table(asked.row_ids, padded[[place.get(name, empty) for name in asked.row_ids]], columns)
