"""The part of the report about the training recordings: a map of what a foreign model hears alike, and what is odd."""

from pathlib import Path
from typing import Any

import pandas as pd
import soundfile as sf

from analysis.alike import DUPLICATE_FROM, MIN_OF_LABEL, near_duplicates, perhaps_mislabelled, recordings_frame
from analysis.figures_models import map_figure
from analysis.page import FigureView, PairsView, Section, Sound, said
from analysis.sections_search import RunFacts
from analysis.tables import RunFolderError
from analysis.windows import file_below, read_clip, sound_uri
from sed_model.core.errors import UserError
from sed_model.core.paths import is_folder, is_there
from sed_model.core.texts import counted, first_line, shown
from sed_model.core.yaml_file import read_yaml
from sed_model.run_folder.line_to_beat import teacher_folder
from sed_model.run_folder.recordings_table import RECORDINGS_FILE

TITLE = "What the teacher hears alike"
N_PAIRS = 12
SOUND_S = 8.0
"""Of a recording, from its beginning: 48 of them are a page of some megabytes."""


def alike_section(facts: RunFacts) -> Section | None:
    """Map, suspects and duplicates, of the run's own recordings or of its teacher's; None where there is no table."""
    place = _folder_with_table(facts)
    if place is None:
        return None
    anchor = facts.anchor("alike")
    try:
        recordings = recordings_frame(place)
    except RunFolderError as error:
        return Section(anchor, TITLE, [f"The table of recordings cannot be read: {error.problems[0]}"])
    if recordings is None or recordings.empty:
        return Section(anchor, TITLE, ["The teacher could hear no training recording."])
    player = Player.of(place)
    suspects, duplicates = perhaps_mislabelled(recordings), near_duplicates(recordings)
    mapped = recordings.dropna(subset="x")
    some = f", {len(mapped):,} of them drawn at random" if len(mapped) < len(recordings) else ""
    sentences = [
        f"A foreign model, the teacher, listened to {counted(len(recordings), 'training recording')}. What it hears in "
        "them is compared here: recordings that sound alike to it lie close together on the map.",
        "All of this is a hint, no proof. The teacher also hears the microphone, the rain and the other animals of a "
        f"place. Listen before you change a label; the first {SOUND_S:g} s of each can be played.",
        player.problem,
    ]
    caption = (
        f"Map of the recordings{some}: a dot each, coloured by label; its name is shown under the pointer. Only what "
        "lies close together means something, not the directions nor the distances between groups"
    )
    views = [_suspects_view(suspects, recordings, player), _duplicates_view(duplicates, player)]
    return Section(anchor, TITLE, said(*sentences), [FigureView(caption, map_figure(mapped))], pairs=views)


def _folder_with_table(facts: RunFacts) -> Path | None:
    run = facts.run
    if is_there(run.path / RECORDINGS_FILE):
        return run.path
    return teacher_folder(run.path, run.search, RECORDINGS_FILE)


class Player:
    """Plays the beginnings of recordings in the data folder of a run; `problem` says why it plays none, or nothing."""

    def __init__(self, folder: Path | None, problem: str = "") -> None:
        self._folder = folder
        self._sounds: dict[str, tuple[str, str]] = {}
        self.problem = problem

    @classmethod
    def of(cls, run: Path) -> "Player":
        try:
            data = read_yaml(run / "search.yaml", within=run).get("data")
        except (UserError, OSError) as error:
            return cls(None, f"There is no sound to play: {first_line(error)}")
        folder = data.get("folder") if isinstance(data, dict) else None
        if not isinstance(folder, str) or not is_folder(Path(folder)):
            return cls(None, f"The data folder {shown(folder or 'of the run')} is not here: no sound to play.")
        return cls(Path(folder))

    def sound(self, name: str, words: str) -> Sound:
        """A recording to play, or with the reason why it cannot be."""
        if self._folder is None:
            return Sound(name, words)
        if name not in self._sounds:
            self._sounds[name] = self._read(self._folder, name)
        uri, problem = self._sounds[name]
        return Sound(name, f"{words}{problem}", uri)

    @staticmethod
    def _read(folder: Path, name: str) -> tuple[str, str]:
        try:
            return sound_uri(read_clip(file_below(folder, name), 0.0, SOUND_S)), ""
        except (OSError, ValueError, sf.SoundFileError) as error:
            return "", f" - cannot be played: {first_line(error)}"


def _suspects_view(suspects: pd.DataFrame, recordings: pd.DataFrame, player: Player) -> PairsView:
    n_rare = int((recordings["primary_label"].value_counts() < MIN_OF_LABEL).sum())
    counts = (
        f"Recordings that sound to the teacher like another label than their own: {len(suspects):,} of "
        f"{len(recordings):,}{_first(suspects)}."
        if len(suspects)
        else "No recording sounds to the teacher like another label than its own."
    )
    sentences = [
        counts,
        "Each is compared with the ten recordings that sound most like it, by other recordists where the label has "
        "several. The fewer of these have its label, the higher it stands. A wrong label is one reason; a faint or "
        "short call, or a second species in front, is another."
        if len(suspects)
        else "",
        f"Left out, as they cannot be judged so: {counted(n_rare, 'label')} with fewer than {MIN_OF_LABEL} recordings."
        if n_rare
        else "",
    ]
    pairs = [
        (
            f"{row['primary_label']}, or {row['suggested_label']}? Of the recordings that sound most like it, "
            f"{row['same_label_share']:.0%} have its label; the commonest label among them is "
            f"{row['suggested_label']}.",
            (
                player.sound(row["filename"], _words(row["primary_label"], row["author"])),
                player.sound(row["neighbour"], f"sounds most like it: {row['neighbour_label']}"),
            ),
        )
        for row in _rows(suspects)
    ]
    return PairsView("Recordings that may be mislabelled", said(*sentences), pairs)


def _duplicates_view(duplicates: pd.DataFrame, player: Player) -> PairsView:
    title, limit = "Near duplicates", f"a likeness of {DUPLICATE_FROM:g} or more, where 1 is the same"
    if duplicates.empty:
        return PairsView(title, [f"No two recordings sound nearly the same ({limit})."], [])
    n_across = int(duplicates["is_across"].sum())
    sentences = [
        f"Pairs of recordings that sound nearly the same ({limit}): {len(duplicates):,}. In {n_across:,} of them "
        f"the recordists or the labels differ; these come first{_first(duplicates)}.",
        "A file that is there twice counts twice in training, and flatters a model where one of the two validates it. "
        "Under two labels, one of them is wrong or both species are heard. Two cuts of one recording are no mistake.",
    ]
    pairs = [
        (
            f"{_difference(row)} Likeness {row['similarity']:.3f}.",
            (
                player.sound(row["filename"], _words(row["primary_label"], row["author"])),
                player.sound(row["neighbour"], _words(row["neighbour_label"], row["neighbour_author"])),
            ),
        )
        for row in _rows(duplicates)
    ]
    return PairsView(title, sentences, pairs)


def _difference(row: dict[str, Any]) -> str:
    authors = "Two recordists" if row["author"] != row["neighbour_author"] else "One recordist"
    if row["primary_label"] != row["neighbour_label"]:
        return f"{authors}, two labels: {row['primary_label']} and {row['neighbour_label']}."
    return f"{authors}, one label: {row['primary_label']}."


def _words(label: str, author: str) -> str:
    return f"labelled {label}, recorded by {shown(author, 60)}"


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.head(N_PAIRS).to_dict("records")]


def _first(table: pd.DataFrame) -> str:
    return f"; the first {N_PAIRS} are below" if len(table) > N_PAIRS else ""
