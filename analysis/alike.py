"""What a foreign model hears alike among training recordings: which may be mislabelled, and which are there twice."""

from pathlib import Path

import pandas as pd

from analysis.tables import RunFolderError, frame_of
from sed_model.core.errors import DataError
from sed_model.run_folder.recordings_table import RECORDING_FIELDS, read_recordings

MIN_OF_LABEL = 5
"""A label with fewer recordings can hardly have its own among the ten nearest, right or wrong."""
DUPLICATE_FROM = 0.99
"""Cosine of two recordings' centred mean embeddings. Two songs of one steady singer, a nightjar, came to 0.9905."""
PAIR_COLUMNS = ("filename", "primary_label", "author", "neighbour", "neighbour_label", "neighbour_author", "similarity")


def recordings_frame(path: Path) -> pd.DataFrame | None:
    """recordings.parquet of the run folder at `path`, as RECORDING_FIELDS says; None without it.

    Raises:
        RunFolderError: it is damaged.
    """
    try:
        table = read_recordings(path, within=path)
    except DataError as error:
        raise RunFolderError(path, [str(error)]) from None
    return None if table is None else frame_of(table, RECORDING_FIELDS)


def perhaps_mislabelled(recordings: pd.DataFrame) -> pd.DataFrame:
    """The recordings whose neighbours suggest another label, the least supported first.

    At equal shares those first whose nearest neighbour has the suggested label too, then the most similar ones. Labels
    with fewer than MIN_OF_LABEL recordings are left out.

    Returns:
        The columns of RECORDING_FIELDS.
    """
    n_of_label = recordings["primary_label"].map(recordings["primary_label"].value_counts())
    found = recordings[recordings["suggested_label"].notna() & (n_of_label >= MIN_OF_LABEL)]
    is_backed = found["neighbour_label"] == found["suggested_label"]
    order = found.assign(is_backed=is_backed).sort_values(
        ["same_label_share", "is_backed", "similarity"], ascending=[True, False, False], kind="stable"
    )
    return order[RECORDING_FIELDS.names].reset_index(drop=True)


def near_duplicates(recordings: pd.DataFrame, least: float = DUPLICATE_FROM) -> pd.DataFrame:
    """Pairs of nearest neighbours that sound nearly the same, each pair once.

    First those of several authors or labels: one recordist may well have cut a recording in two; then by similarity.

    Returns:
        PAIR_COLUMNS, and is_across (several authors or labels).
    """
    found = recordings[recordings["neighbour"].notna() & (recordings["similarity"] >= least)]
    authors = recordings.set_index("filename")["author"]
    pairs = found.assign(neighbour_author=found["neighbour"].map(authors))
    names = [tuple(sorted(pair)) for pair in zip(pairs["filename"], pairs["neighbour"], strict=True)]
    pairs = pairs[~pd.Series(names, index=pairs.index, dtype=object).duplicated()]
    differs = (pairs["author"] != pairs["neighbour_author"]) | (pairs["primary_label"] != pairs["neighbour_label"])
    order = pairs.assign(is_across=differs).sort_values(
        ["is_across", "similarity"], ascending=[False, False], kind="stable"
    )
    return order[[*PAIR_COLUMNS, "is_across"]].reset_index(drop=True)
