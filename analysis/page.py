"""Sections of text, tables, figures and sounds -> one HTML page that needs nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import jinja2
import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from analysis.clips import ClipView
from analysis.parameters import as_text
from sed_model.core.texts import shown
from sed_model.run_folder.window_metrics import METRICS

NO_VALUE = "–"
COLUMN_TITLES = {
    "trial_id": "trial",
    **{name: metric.title for name, metric in METRICS.items()},
    "macro_auc_se": "its error",
    "refit_mean": "mean AUC trained again",
    "refit_sd": "its deviation",
    "n_refits": "trainings",
    "gap": "behind the best",
    "params_m": "parameters (millions)",
    "cpu_ms_per_window": "CPU ms a window",
    "n_trials": "trials",
    "n_complete": "complete",
    "n_best_quarter": "in the best quarter",
    "median": "median AUC",
    "best": "best AUC",
    "p_value": "p",
    "median_start": "median AUC at first",
    "median_end": "median AUC at best",
    "median_gain": "median gain",
    "n_reached": "trials that came so far",
    "n_pruned": "pruned",
    "best_pruned": "best AUC pruned",
    "lowest_kept": "lowest AUC kept",
    "label": "class",
    "n_positive": "windows with it",
    "n_files": "files with it",
    "n_windows": "windows",
    "n_primary": "as the main label",
    "mean_confidence": "mean confidence",
    "n_labels": "pseudo-labels",
    "auc": "AUC",
    "teacher_auc": "teacher's AUC",
    "student_auc": "student's AUC",
    "low": "from",
    "high": "to",
    "n": "number",
    "mean_probability": "mean probability",
    "share_present": "share that was there",
    "present": "class that was there",
    "top_class": "class with the highest score",
    "best_trial": "best trial",
    "epochs_run": "epochs",
    "core_hours": "core-hours",
}
MAX_ROWS = 200
MAX_SENTENCE = 2_000
"""Characters of a sentence, a cell or a command."""


@dataclass(frozen=True)
class TableView:
    """A table as text. `is_number` marks the columns that are set flush right."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_number: tuple[bool, ...]


@dataclass(frozen=True)
class FigureView:
    """A figure with what it shows in words; with `sound_uri` a sound below it."""

    caption: str
    figure: go.Figure
    sound_uri: str = ""


@dataclass(frozen=True)
class Sound:
    """A recording with what it is in words; without `uri` it cannot be played, as the words say."""

    name: str
    words: str
    uri: str = ""


@dataclass(frozen=True)
class PairsView:
    """Recordings to compare by ear: each pair with what it is about in words, its sounds side by side."""

    title: str
    sentences: Sequence[str]
    pairs: Sequence[tuple[str, tuple[Sound, Sound]]]


@dataclass(frozen=True)
class Section:
    """A part of the page. `sentences` are plain text; `is_grid` sets small figures side by side where there is room."""

    anchor: str
    title: str
    sentences: Sequence[str] = ()
    figures: Sequence[FigureView] = ()
    tables: Sequence[TableView] = ()
    commands: Sequence[tuple[str, str]] = field(default=())
    is_grid: bool = False
    pairs: Sequence[PairsView] = ()
    clips: Sequence[ClipView] = ()


@dataclass(frozen=True)
class Chapter:
    """The sections of one run, or of the comparison of several."""

    anchor: str
    title: str
    sections: Sequence[Section]


def said(*sentences: str) -> list[str]:
    """The sentences that have something to say; the others are empty."""
    return [sentence for sentence in sentences if sentence]


def table_view(caption: str, table: pd.DataFrame, columns: Sequence[str] = ()) -> TableView:
    """A table as text, with the `columns` given, or all, under titles for people; the first 200 rows, and it says so.

    Numbers have four significant digits.
    """
    columns = columns or list(table.columns)
    shown = table[list(columns)].head(MAX_ROWS)
    more = f" (the first {MAX_ROWS} of {len(table)} rows)" if len(table) > MAX_ROWS else ""
    texts = [[as_text(value) or NO_VALUE for value in shown[name]] for name in columns]
    numbers = tuple(
        pd.api.types.is_numeric_dtype(shown[name]) and not pd.api.types.is_bool_dtype(shown[name]) for name in columns
    )
    titles = tuple(COLUMN_TITLES.get(name, name) for name in columns)
    return TableView(caption + more, titles, tuple(zip(*texts, strict=True)), numbers)


def render(title: str, lead: Sequence[str], chapters: Sequence[Chapter]) -> str:
    """The page. Every text is cut and escaped; plotly.js is within; it may load nothing (Content-Security-Policy)."""
    template = environment().get_template("report.html.j2")
    return template.render(title=title, lead=lead, chapters=chapters, plotly_js=get_plotlyjs())


def environment() -> jinja2.Environment:
    """What templates are filled with: every text is escaped, and `|shown` cuts it and escapes what is unprintable."""
    filled = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filled.filters["figure_json"] = figure_json
    filled.filters["shown"] = partial(shown, n_most=MAX_SENTENCE)
    return filled


def figure_json(figure: go.Figure) -> str:
    """A figure as JSON that may stand within a script element."""
    return in_script(figure.to_json())


def in_script(json_text: str) -> str:
    """JSON in which nothing can end the script element that it stands in."""
    return json_text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
