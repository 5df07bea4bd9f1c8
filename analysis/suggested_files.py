"""Suggested windows as files: a page to label them, a table, and tracks for Audacity and Raven."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.clips import clip_view
from analysis.label_page import ClassBox, WindowView, render_label_page
from analysis.students import best_predictions, best_with_predictions
from analysis.suggestions import information_bits, suggest_windows
from analysis.tables import RunFolderError, read_run
from analysis.windows import FrontEnd, read_front_end
from sed_model.core.files import write_text
from sed_model.core.label_tracks import Event, tracks
from sed_model.core.soundscape_names import row_id
from sed_model.core.texts import counted, first_line, shown
from sed_model.run_folder.member_scores import MemberScores, read_member_scores
from sed_model.run_folder.metrics import POSITIVE_FROM

N_NAMED = 3
"""Classes that a window is described by: those that its label would tell most about."""


def suggest(path: Path, count: int, out: Path) -> list[str]:
    """Choose windows by the run folder at `path` and write them to `out`; what to tell comes back.

    Raises:
        DataError: the run has no scores of unlabelled soundscapes, no validation predictions, or damaged ones.
    """
    scores = read_member_scores(path)
    known = best_predictions(path)
    if known.classes != scores.classes:
        raise RunFolderError(path, ["the ensemble has other classes than the trials; run trainables.ensemble again."])
    n_labelled = (known.targets >= POSITIVE_FROM).sum(axis=0)
    chosen = suggest_windows(scores, n_labelled, count)
    if chosen.empty:
        raise RunFolderError(path, ["the ensemble scored no window that could be labelled; label more soundscapes."])
    chosen["row_id"] = [
        row_id(Path(name).stem, end_s) for name, end_s in zip(chosen["filename"], chosen["end_s"], strict=True)
    ]
    chosen["classes"] = [_named(scores, row) for row in chosen["row"]]
    leader = best_with_predictions(read_run(path))
    try:
        front_end = read_front_end(path, leader)
    except (OSError, ValueError, RecursionError) as error:
        raise RunFolderError(
            path, [f"config.json of {leader} does not say how to draw windows: {first_line(error)}"]
        ) from None
    views = [_view(row, scores, front_end) for row in chosen.to_dict("records")]
    page = render_label_page(f"Windows to label: {shown(path.name)}", _lead(scores, n_labelled), views, scores.classes)
    write_text(out / "label.html", page)
    write_text(out / "windows.csv", chosen.drop(columns="row").to_csv(index=False, float_format="%.6g"))
    write_tracks(chosen, (front_end.f_min_hz, front_end.f_max_hz), out)
    return _told(chosen, views, scores, out)


def write_tracks(chosen: pd.DataFrame, band_hz: tuple[float, float], out: Path) -> None:
    """Of each soundscape the windows in order of time; where it lies in folders, the same ones below `out`."""
    for filename, rows in chosen.sort_values("start_s").groupby("filename"):
        columns = (rows[name] for name in ("start_s", "end_s", "classes", "worth"))
        events = [
            Event(start_s, end_s, f"{label}?", worth) for start_s, end_s, label, worth in zip(*columns, strict=True)
        ]
        name = Path(str(filename))
        for suffix, text in tracks(events, band_hz).items():
            write_text(out / name.parent / f"{name.stem}{suffix}", text)


def _named(scores: MemberScores, row: int) -> str:
    bits = information_bits(scores.by_member[:, [row]])[0]
    return ", ".join(scores.classes[place] for place in np.argsort(-bits, kind="stable")[:N_NAMED])


def _lead(scores: MemberScores, n_labelled: np.ndarray) -> list[str]:
    rarest = [scores.classes[place] for place in np.argsort(n_labelled, kind="stable")[:5]]
    of_members = (
        f"the {len(scores.by_member)} members differ about" if len(scores.by_member) > 1 else "the model is unsure of"
    )
    return [
        f"Windows of unlabelled soundscapes whose labels would tell most: what {of_members}, of classes with few "
        f"labels first (fewest: {', '.join(rarest)}), from many files and sites.",
        "Tick every class that is heard, or none of them; a window without a tick is left out. The sound is made as "
        "loud as it goes. The ticks are in this page only: download them before it is closed.",
    ]


def _view(row: Mapping[Hashable, Any], scores: MemberScores, front_end: FrontEnd) -> WindowView:
    said = scores.by_member[:, row["row"]]
    spans = zip(said.min(axis=0), said.max(axis=0), strict=True)
    texts = [f"{low:.2f}" if len(said) == 1 else f"{low:.2f} to {high:.2f}" for low, high in spans]
    boxes = [
        ClassBox(int(place), scores.classes[place], texts[place])
        for place in np.argsort(-said.mean(axis=0), kind="stable")
    ]
    site = f"Site {row['site']}. " if row["site"] else ""
    window = (row["filename"], row["start_s"], row["end_s"])
    clip = clip_view(scores.root, window, f"{site}Most open: {row['classes']}.", front_end)
    return WindowView(clip, row["row_id"], boxes)


def _told(chosen: pd.DataFrame, views: list[WindowView], scores: MemberScores, out: Path) -> list[str]:
    sites = chosen["site"][chosen["site"] != ""].nunique()
    places = f", {counted(sites, 'site')}" if sites else ""
    n_files = len({name for name, _, _ in scores.windows})
    silent = sum(not view.clip.sound_uri for view in views)
    lines = [
        f"{counted(len(chosen), 'window')} of {counted(chosen['filename'].nunique(), 'soundscape')}{places}; "
        f"{counted(len(scores.windows), 'window')} of {counted(n_files, 'soundscape')} were scored by "
        f"{counted(len(scores.by_member), 'member')}"
    ]
    if silent:
        lines.append(
            f"{counted(silent, 'window')} cannot be played, the page says why; soundscapes are sought in {scores.root}"
        )
    return [*lines, f"page    {out / 'label.html'}", f"tracks  {out}"]
