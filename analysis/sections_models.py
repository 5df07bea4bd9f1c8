"""The parts of the report about what the best model can do: classes, calibration, confusion, pseudo-labels, windows."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile as sf

from analysis.classes import calibration_error, class_table, confusions, reliability
from analysis.figures import label
from analysis.figures_models import (
    change_figure,
    classes_figure,
    confusion_figure,
    reliability_figure,
    window_figure,
)
from analysis.page import FigureView, Section, TableView, said, table_view
from analysis.predictions import PseudoLabels, read_frame_scores, read_pseudo_labels
from analysis.sections_search import RunFacts, readable_predictions
from analysis.students import label_counts, labels_place, mean_gain, related_run, teacher_and_student
from analysis.tables import Run, RunFolderError
from analysis.windows import (
    FrontEnd,
    choose_windows,
    file_below,
    frequency_ticks,
    log_mel,
    picture_uri,
    read_clip,
    read_front_end,
    sound_uri,
)
from sed_model.core.paths import is_folder
from sed_model.core.texts import first_line, shown

MAX_SOUND_S = 15.0
# Light enough for a grey picture.
SCORE_COLOURS = ("#FFB000", "#6CC8FF", "#4EE29A", "#FF9AD5", "#F0E442")


def classes_section(facts: RunFacts) -> Section:
    """ROC-AUC by class, worst first."""
    anchor, title = facts.anchor("classes"), "Classes, worst first"
    if facts.oof is None:
        return Section(anchor, title, [readable_predictions(facts)])
    classes = class_table(facts.oof)
    scored = classes.dropna(subset="auc")
    if scored.empty:
        return Section(anchor, title, ["No class has both a window with it and one without: none can be scored."])
    worst, best = scored.iloc[0], scored.iloc[-1]
    n_left = len(classes) - len(scored)
    sentences = [
        f"Of {facts.said_by}, on {len(facts.oof.windows):,} validation windows. Hardest: {worst['label']} "
        f"({worst['auc']:.3f}, {worst['n_positive']} windows with it); easiest: {best['label']} ({best['auc']:.3f}, "
        f"{best['n_positive']} windows).",
        f"{n_left} classes cannot be scored: no validation window has them, or all have." if n_left else "",
    ]
    figure = FigureView(
        f"The worst {min(len(scored), 30)} classes (in brackets: windows with the class); 0.5 is chance",
        classes_figure(classes),
    )
    return Section(anchor, title, said(*sentences), [figure], [table_view("All classes", classes)])


def calibration_section(facts: RunFacts) -> Section:
    """Whether the probabilities mean what they say."""
    anchor, title = facts.anchor("calibration"), "Calibration"
    if facts.oof is None:
        return Section(anchor, title, [readable_predictions(facts)])
    table = reliability(facts.oof)
    error = calibration_error(table)
    mean_given = float(facts.oof.probabilities.mean())
    share = float((facts.oof.targets >= 0.5).mean())
    leaning = "too high" if mean_given > 1.1 * share else "too low" if mean_given < 0.9 * share else "about right"
    words = (
        f"The expected calibration error of {facts.said_by} is {error:.3f}. On average it gives a class a probability "
        f"of {mean_given:.3f}, and {share:.3f} of the pairs of window and class are there: {leaning}."
    )
    figure = FigureView("Reliability: share that was there over the probability given", reliability_figure(table))
    return Section(anchor, title, [words], [figure], [table_view("Reliability in ten spans", table)])


def confusion_section(facts: RunFacts) -> Section:
    """Which class is taken for which."""
    anchor, title = facts.anchor("confusion"), "Confusion between classes"
    if facts.oof is None:
        return Section(anchor, title, [readable_predictions(facts)])
    table = confusions(facts.oof)
    if table.empty or len(facts.oof.classes) < 2:
        return Section(anchor, title, ["No validation window holds one class alone: there is nothing to compare."])
    right = table[table["present"] == table["top_class"]]["n"].sum()
    wrong = table[table["present"] != table["top_class"]]
    sentences = [
        f"In {table['n'].sum():,} windows that hold one class alone, that class has the highest score in {right:,} "
        f"({right / table['n'].sum():.0%})."
    ]
    if len(wrong):
        first = wrong.iloc[0]
        sentences.append(
            f"Most often mistaken: {first['present']} for {first['top_class']} ({first['n']} windows, "
            f"{first['share']:.0%} of those with {first['present']})."
        )
    figure = FigureView(
        "Share of the windows of a class (a row) in which each class has the highest score", confusion_figure(table)
    )
    return Section(anchor, title, sentences, [figure], [table_view("Mistakes, commonest first", wrong)])


def pseudo_label_section(facts: RunFacts) -> Section:
    """What the pseudo-labels are, and what a student gained from them."""
    anchor, title = facts.anchor("pseudo"), "Pseudo-labels and students"
    pair = related_run(facts.run)
    place, ensemble = labels_place(facts.run.path, pair)
    labels = _labels_of(place, ensemble)
    sentences: list[str] = []
    figures: list[FigureView] = []
    tables: list[TableView] = []
    if isinstance(labels, str):
        sentences.append(labels)
    else:
        counts = label_counts(labels)
        n_classes = int((counts["n_windows"] > 0).sum())
        sentences.append(f"{len(labels.table):,} windows carry pseudo-labels, of {n_classes} classes.")
        tables.append(table_view("Pseudo-labels by class", counts))
    if pair is None:
        run = shlex.quote(str(facts.run.path))
        sentences.append(
            f"python -m trainables.ensemble --run {run} makes them where there are such soundscapes."
            if isinstance(labels, str)
            else f"No student learned from them: python -m trainables.student --run {run} does that."
        )
        return Section(anchor, title, sentences, figures, tables)
    teacher, student = pair
    try:
        changes = teacher_and_student(teacher, student, None if isinstance(labels, str) else labels)
    except RunFolderError as error:
        return Section(anchor, title, [*sentences, f"No comparison with the student: {error.problems[0]}"], (), tables)
    gains = changes["gain"].dropna()
    of_others = f", with the labels of other runs ({student.name}/taught/members.json)" if ensemble == "taught" else ""
    sentences.append(
        f"{student.name} learned from {teacher.name}{of_others}: {(gains > 0).sum()} classes got better, "
        f"{(gains < 0).sum()} worse, {mean_gain(changes):+.4f} on average."
    )
    if len(gains):
        caption = "Change of each class's ROC-AUC (in brackets: windows pseudo-labelled with it)"
        figures.append(FigureView(caption, change_figure(changes)))
    tables.insert(0, table_view("Teacher against student by class", changes))
    return Section(anchor, title, sentences, figures, tables)


def windows_section(facts: RunFacts) -> Section:
    """The best and worst predicted windows to look at and to listen to."""
    anchor, title = facts.anchor("windows"), "Windows to look at and listen to"
    if facts.oof is None or facts.leader is None:
        return Section(anchor, title, [readable_predictions(facts)])
    chosen = choose_windows(facts.oof)
    if chosen.empty:
        return Section(anchor, title, ["No validation window has a class that is there and one that is not."])
    data = facts.run.search.get("data")
    folder = Path(str(data.get("folder"))) if isinstance(data, dict) else None
    if folder is None or not is_folder(folder):
        return Section(anchor, title, [f"The data folder {folder or 'of the search'} is not here: no sound to show."])
    try:
        front_end = read_front_end(facts.run.path, facts.leader)
    except (OSError, ValueError, RecursionError) as error:
        words = f"config.json of {facts.leader} does not say how to draw windows: {first_line(error)}."
        return Section(anchor, title, [words])
    frames, words = _frames_and_words(facts.run, facts.leader)
    sentences = [
        f"Of {facts.said_by}: the windows in which the classes that are there stand out best from those that are not, "
        "and then the worst. The sound is made as loud as it goes.",
        words,
    ]
    figures = []
    for window in chosen.to_dict("records"):
        try:
            figures.append(
                _window_view(facts, {str(key): value for key, value in window.items()}, folder, front_end, frames)
            )
        except (OSError, ValueError, sf.SoundFileError) as error:
            sentences.append(f"{shown(window['filename'])} cannot be shown: {first_line(error)}.")
    return Section(anchor, title, sentences, figures, is_grid=True)


def _window_view(
    facts: RunFacts, window: dict[str, Any], folder: Path, front_end: FrontEnd, frames: pd.DataFrame | None
) -> FigureView:
    """One window: picture, scores, sound."""
    file = file_below(folder, window["filename"])
    start_s = float(window["start_s"])
    end_s = min(float(window["end_s"]), start_s + MAX_SOUND_S)
    clip = read_clip(file, start_s, end_s)
    figure = window_figure(picture_uri(log_mel(clip, front_end)), (start_s, end_s), frequency_ticks(front_end))
    for colour, (name, x, y, dash) in zip(SCORE_COLOURS, _score_lines(facts, window, frames), strict=False):
        line = {"color": colour, "width": 2.5, "dash": dash, "shape": "hv"}
        figure.add_scatter(x=x, y=y, yaxis="y2", mode="lines", line=line, name=label(name, 26))
    words = {"best": "Told well", "worst": "Told badly"}[window["place"]]
    caption = (
        f"{words}: {file.name}, {start_s:g} to {end_s:g} s. There: {', '.join(window['labels'])}. Highest "
        f"score: {window['top_class']} ({window['top_score']:.2f}). Margin {window['margin']:+.2f}."
    )
    return FigureView(caption, figure, sound_uri(clip))


def _score_lines(
    facts: RunFacts, window: dict[str, Any], frames: pd.DataFrame | None
) -> list[tuple[str, list[float], list[float], str]]:
    """Name, seconds, scores and dash of a line for each class that is there, and for the one with the highest score."""
    names = list(dict.fromkeys([*window["labels"], window["top_class"]]))
    lines = []
    for name in names:
        there = "there" if name in window["labels"] else "not there"
        steps = _frames_of(frames, window, name)
        if steps is None:
            if facts.oof is None:
                continue
            score = float(facts.oof.probabilities[window["row"], facts.oof.classes.index(name)])
            x, y, dash = [float(window["start_s"]), float(window["end_s"])], [score, score], "dash"
        else:
            (x, y), dash = steps, "solid"
        lines.append((f"{name} ({there})", x, y, dash))
    return lines


def _frames_of(
    frames: pd.DataFrame | None, window: dict[str, Any], name: str
) -> tuple[list[float], list[float]] | None:
    if frames is None:
        return None
    same = (frames["filename"] == window["filename"]) & (frames["label"] == name)
    found = frames[same & np.isclose(frames["start_s"], window["start_s"])]
    if found.empty:
        return None
    row = found.iloc[0]
    scores = [round(float(score), 4) for score in row["scores"]]
    edges = np.linspace(row["frames_start_s"], row["frames_end_s"], len(scores) + 1).round(4).tolist()
    return edges, [*scores, scores[-1]]


def _labels_of(path: Path, ensemble: str) -> PseudoLabels | str:
    """The pseudo-labels, or why there are none."""
    if not any((path / ensemble / "pseudo_labels").glob("part-*.parquet")):
        return "The run has no pseudo-labels: there were no unlabelled soundscapes, or the ensemble has not run."
    try:
        labels = read_pseudo_labels(path, ensemble)
    except RunFolderError as error:
        return f"The pseudo-labels cannot be read: {error.problems[0]}"
    return labels if len(labels.table) else "The ensemble was sure of no window: it wrote no pseudo-label."


def _frames_and_words(run: Run, trial_id: str) -> tuple[pd.DataFrame | None, str]:
    """The frame scores, where there are any, and what the lines in the pictures are."""
    try:
        frames = read_frame_scores(run.path, trial_id)
    except RunFolderError as error:
        return None, f"The dashed lines are the scores of the window. {error.problems[0]}"
    if frames is None:
        words = "The dashed lines are the scores of the window: this run has no frame scores (trials/*/frames.parquet)."
        return None, words
    return frames, f"The lines are the scores of the frames, by {trial_id}."
