"""The tables of what was found -> a page: what, where, when, how sure, and what it sounds like."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from analysis.clips import ClipView, clip_view
from analysis.figures import INK, ROW_PX, blank, label
from analysis.page import Chapter, FigureView, Section, render, said, table_view
from analysis.plots import BLUE
from analysis.windows import FrontEnd
from sed_model.core.errors import ConfigError, DataError
from sed_model.core.paths import is_folder
from sed_model.core.texts import counted, examples, first_line
from sed_model.run_folder.decisions import (
    DECISIONS_FILE,
    DETECTION_COLUMNS,
    FOUND_COLUMNS,
    FOUND_KEYS,
    HEARD_COLUMNS,
    Decisions,
    read_decisions,
)

N_DRAWN = 40
"""Classes and sites of a picture, the most frequent first."""
N_EACH = 3
"""Windows of a class to listen to, of different files."""
N_CLIPS = 90
"""Of all classes: the surest of each first. With 0.25 MB of MP3 and PNG at most each, 22 MB of a page."""
CLIP_S = 10.0
"""Of a longer window so much is played."""
PICTURE = FrontEnd(
    sample_rate_hz=32_000, n_fft=2048, hop_length=800, n_mels=96, f_min_hz=50, f_max_hz=16_000, top_db=80
)
"""What the pictures show, whatever the models heard: the tables do not tell that."""
TEXTS = ("filename", "site", "date", "recorded_at", "label", "problem")


@dataclass(frozen=True)
class Found:
    """What predict wrote. `by` are the tables of FOUND_KEYS; those of what has no label show what was heard."""

    decisions: Decisions
    detections: pd.DataFrame
    heard: pd.DataFrame
    by: dict[str, pd.DataFrame]


def read_found(folder: Path) -> Found:
    """
    Raises:
        CheckpointError: decisions.json is damaged.
        DataError: a table is missing or damaged.
    """
    decisions = read_decisions(folder / DECISIONS_FILE)
    if decisions is None:
        raise DataError(f"{folder}: has no {DECISIONS_FILE}; give a folder that predict --decisions has written.")
    by = {name: _read(folder, name, (*keys, *FOUND_COLUMNS)) for name, keys in FOUND_KEYS.items()}
    return Found(decisions, _read(folder, "detections", DETECTION_COLUMNS), _read(folder, "heard", HEARD_COLUMNS), by)


def _read(folder: Path, name: str, columns: Sequence[str]) -> pd.DataFrame:
    """A class may be called NA: only numbers have missing values."""
    path, numbers = folder / f"{name}.csv", [column for column in columns if column not in TEXTS]
    try:
        table = pd.read_csv(path, dtype="str", keep_default_na=False)
        if missing := [column for column in columns if column not in table]:
            raise ValueError(f"it lacks {examples(missing)}")
        return table.assign(**{column: pd.to_numeric(table[column]) for column in numbers})
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be used ({first_line(error)}); run predict --decisions again.") from None


def found_page(folder: Path, soundscapes: Path | None = None) -> str:
    """The page; `soundscapes` is the folder that predict was given, whose surest windows it plays.

    Raises:
        CheckpointError, DataError: see `read_found`.
        ConfigError: the soundscapes are not there, or none of those that it would play.
    """
    found = read_found(folder)
    clips = [] if soundscapes is None else surest_clips(found.detections, soundscapes)
    made = [summary_section(found), classes_section(found), sites_section(found), hours_section(found)]
    sections = [*(section for section in made if section), surest_section(found, clips)]
    return render(f"Found: {folder.resolve().name}", [], [Chapter("found", "Found", sections)])


def summary_section(found: Found) -> Section:
    detections, heard, decisions = found.detections, found.heard, found.decisions
    n_found, doubt = detections["label"].nunique(), float((1 - detections["probability"]).sum())
    sites = heard["site"][heard["site"] != ""].nunique()
    times = heard["recorded_at"][heard["recorded_at"] != ""]
    unread = int((heard["problem"] != "").sum())
    n_untimed = len(heard) - len(times)
    aim = "the best F1" if decisions.precision is None else f"a precision of {decisions.precision:g}"
    sentences = said(
        f"{n_found} of {len(decisions.classes)} classes were found, in {counted(len(detections), 'window')} (a "
        f"window counts once for each class) of {int(heard['n_windows'].sum())} windows that were heard; about "
        f"{doubt:.0f} of these are expected to be wrong.",
        f"{counted(len(heard), 'soundscape')}"
        + (f" of {counted(sites, 'site')}" if sites else "")
        + (f", {times.min()} to {times.max()} by the recorders' clocks" if len(times) else "")
        + ".",
        f"{counted(unread, 'soundscape')} could not be read: heard.csv says why." if unread else "",
        f"{counted(n_untimed, 'name')} of soundscapes tell no date and time: these are in no hour."
        if n_untimed
        else "",
        f"Thresholds are those of {aim} on {decisions.n_windows} labelled windows of {decisions.n_files} files.",
        _worth(decisions),
        ""
        if decisions.windows == "soundscapes"
        else "The labels are of recordings, which are nearer and louder than "
        "what calls in soundscapes: probabilities are too high by an unknown amount.",
        "Probabilities hold for soundscapes like the labelled ones. At other sites and seasons they may be off: listen "
        "to some of each class.",
    )
    return Section("summary", "Summary", sentences)


def _worth(decisions: Decisions) -> str:
    if (told := decisions.held_out) is None:
        return "What they are worth on other files is not known: too few are labelled."
    return (
        f"On labelled files that had no part in them such thresholds had a macro F1 of {told.f1:.2f}, and .5 of the "
        f"scores as they are one of {told.f1_at_half:.2f}."
    )


def classes_section(found: Found) -> Section:
    """Every class, the most frequent first."""
    by_class = found.detections.assign(doubt=1 - found.detections["probability"]).groupby("label")
    named = found.detections[found.detections["site"] != ""]
    counts = pd.DataFrame(
        {
            "windows": by_class.size(),
            "files": by_class["filename"].nunique(),
            "sites": named.groupby("label")["site"].nunique().reindex(list(by_class.groups), fill_value=0),
            "best probability": by_class["probability"].max(),
            "expected wrong": by_class["doubt"].sum(),
        }
    )
    known = pd.DataFrame(
        {
            "class": [one.label for one in found.decisions.classes],
            "threshold": [one.threshold for one in found.decisions.classes],
            "labelled windows": [one.n_positive for one in found.decisions.classes],
            "precision held out": [one.held_out.precision for one in found.decisions.classes],
            "recall held out": [one.held_out.recall for one in found.decisions.classes],
        }
    ).astype({"precision held out": float, "recall held out": float})
    table = known.merge(counts, left_on="class", right_index=True, how="left")
    table = table.fillna(dict.fromkeys(("windows", "files", "sites", "expected wrong"), 0))
    whole = ["windows", "files", "sites"]
    table = table.astype(dict.fromkeys(whole, int)).sort_values("windows", ascending=False, kind="stable")
    order = ["class", *whole, "best probability", "expected wrong", "threshold", *known.columns[2:]]
    sentences = [
        "Expected wrong is the sum of what the windows' probabilities leave to 1. Precision and recall are those on "
        "labelled files that had no part in the thresholds; with few labelled windows they are rough.",
    ]
    return Section("classes", "What was found", sentences, tables=[table_view("Classes", table[order])])


def sites_section(found: Found) -> Section | None:
    """Shares of the windows that were heard; None where no name tells a site."""
    sites = found.by["sites"][found.by["sites"]["site"] != ""]
    if sites.empty:
        return None
    rows = sites[sites["label"] != ""].assign(share=lambda table: table["n_found"] / table["n_windows"])
    heard = sites.drop_duplicates("site").set_index("site")["n_windows"]
    figure = share_figure(rows, "site", list(heard.index)[:N_DRAWN], heard.index)
    told = table_view("Windows heard at each site", heard.reset_index())
    return Section(
        "sites",
        "Where",
        ["The share of the windows heard at a site in which a class was found. Recorders and ranges differ."],
        [FigureView(f"Sites and the {N_DRAWN} most frequent classes", figure)] if len(rows) else [],
        [told],
    )


def hours_section(found: Found) -> Section | None:
    """Shares of the windows heard in each hour of the day, all dates together; None where no name tells the time."""
    hours = found.by["hours"]
    if hours.empty:
        return None
    heard = hours.drop_duplicates(["site", "date", "hour"]).groupby("hour")["n_windows"].sum()
    n_found = hours[hours["label"] != ""].groupby(["hour", "label"], as_index=False)["n_found"].sum()
    rows = n_found.assign(share=n_found["n_found"] / n_found["hour"].map(heard))
    figure = share_figure(rows, "hour", range(24), heard.index)
    told = table_view("Windows heard in each hour of the day", heard.reset_index())
    return Section(
        "hours",
        "When",
        [
            "The share of the windows heard in an hour of the day, by the recorder's clock, in which a class was "
            "found. Nothing is known of hours in which nothing was recorded."
        ],
        [FigureView(f"Hours and the {N_DRAWN} most frequent classes", figure)] if len(rows) else [],
        [told],
    )


def share_figure(rows: pd.DataFrame, key: str, places: Sequence[object], heard: pd.Index) -> go.Figure:
    """A row a class, a column a place; `rows` have key, label, n_found and share. What was not `heard` stays empty."""
    names = list(rows.groupby("label")["n_found"].sum().nlargest(N_DRAWN).index)
    shares = rows.pivot_table(index="label", columns=key, values="share", fill_value=0.0)
    shares = shares.reindex(index=names, columns=heard, fill_value=0.0).reindex(columns=list(places))
    figure = blank({"hour": "hour of the day"}.get(key, key), "", 160 + ROW_PX * len(names))
    figure.add_heatmap(
        z=shares.to_numpy().round(4).tolist(),
        x=list(range(len(places))),
        y=list(range(len(names))),
        colorscale=[[0, "var(--paper)"], [1, BLUE]],
        zmin=0,
        zmax=float(rows["share"].max()),
        xgap=1,
        ygap=1,
        colorbar={"title": {"text": "share"}, "thickness": 12, "tickfont": {"color": INK}},
    )
    figure.update_xaxes(tickvals=list(range(len(places))), ticktext=[label(place, 14) for place in places])
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=[label(name) for name in names], autorange="reversed"
    )
    return figure


def surest_section(found: Found, clips: Sequence[ClipView]) -> Section:
    """The surest windows of each class, to be listened to first: where they are wrong, the class may be a mistake."""
    best = found.detections.sort_values("probability", ascending=False).drop_duplicates("label")
    columns = ["label", "filename", "start_s", "end_s", "probability"]
    silent = sum(not clip.sound_uri for clip in clips)
    sentences = said(
        "The surest window of each class. Where it is wrong, doubt the others of its class; detections.csv has all.",
        f"Below are the surest of {N_EACH} files of each class to hear, {N_CLIPS} in all at most, made as loud as they "
        f"go; of a longer window the first {CLIP_S:g} s. Pictures are {PICTURE.f_min_hz:g} Hz to "
        f"{PICTURE.f_max_hz / 1000:g} kHz, low frequencies at the bottom."
        if clips
        else "To hear them on this page, make it with --soundscapes and the folder that predict was given.",
        f"{silent} of these {counted(len(clips), 'window')} cannot be played: their words say why." if silent else "",
    )
    tables = [table_view("Surest windows", best[columns])]
    return Section("surest", "To listen to first", sentences, tables=tables, clips=clips)


def surest_windows(detections: pd.DataFrame, n_each: int = N_EACH, n_most: int = N_CLIPS) -> pd.DataFrame:
    """The detections to listen to, by class and the surest first, at most one of a class and file.

    Where they are too many, every class has its surest before one has its second; classes found most often come first.
    """
    best = detections.sort_values("probability", ascending=False, kind="stable").drop_duplicates(["label", "filename"])
    n_found = detections.groupby("label").size()
    best = best.assign(place=best.groupby("label").cumcount(), n_found=best["label"].map(n_found))
    first = best[best["place"] < n_each].sort_values(
        ["place", "n_found", "label"], ascending=[True, False, True], kind="stable"
    )
    return first.head(n_most).sort_values(["n_found", "label", "place"], ascending=[False, True, True], kind="stable")


def surest_clips(detections: pd.DataFrame, soundscapes: Path) -> list[ClipView]:
    """Those of `surest_windows`; of what cannot be played the words say why.

    Raises:
        ConfigError: the folder is not there, or holds none of the files.
    """
    if not is_folder(soundscapes):
        raise ConfigError(f"--soundscapes {soundscapes}: is no folder; give the one that predict was given.")
    clips = []
    for row in surest_windows(detections).to_dict("records"):
        start_s, end_s = row["start_s"], min(row["end_s"], row["start_s"] + CLIP_S)
        words = f"{row['label']}: probability {row['probability']:.2f}, threshold {row['threshold']:.2f}."
        clips.append(clip_view(soundscapes, (row["filename"], start_s, end_s), words, PICTURE))
    if clips and not any(clip.sound_uri for clip in clips):
        raise ConfigError(
            f"--soundscapes {soundscapes}: none of the windows can be played ({clips[0].title}: {clips[0].words}); "
            "give the folder that predict was given, or leave it out."
        )
    return clips
