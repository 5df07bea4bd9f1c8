"""Pseudo-labelled windows as training material: a noisy student learns from them, mixed with real recordings.

Noisy student: Xie et al. 2020 (arXiv:1911.04252). Ways of mixing as in the reports of BirdCLEF winners (2024, 2025): a
pseudo-labelled window replaces a recording, is added to it, or follows it in the same clip. A window is heard with
what is around it in its soundscape, as when it is predicted; the clip's `part` says for which of it the label is.

A labelled window and a pseudo-labelled one are never in the same clip, as the winner of 2026 has it: the mixer leaves
labelled windows alone, and batches mix no clip of the one kind with one of the other (`Clip.origin`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32
from numpy.typing import NDArray
from pydantic import ValidationError

from sed_model.audio.cache import AudioCache
from sed_model.audio.windows import WHOLE, Part, common_part, context_of, cut
from sed_model.clips.clip_events import NO_EVENTS, ClipEvents
from sed_model.clips.embeddings import (
    Embedding,
    EmbeddingSource,
    embedding_of_cut,
    embedding_of_samples,
    mixed_embedding,
)
from sed_model.clips.window_draws import Focal, WindowDraws, limits, taken_shares
from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import DataError
from sed_model.core.files import sha256_of
from sed_model.data.targets import TargetBuilder, Truth, union
from sed_model.model.fast_mel import INT16_SCALE
from sed_model.run_folder.predictions import PSEUDO_LABEL_SCHEMA, classes_of, matrix
from sed_model.run_folder.split_record import Source, SplitRecord
from sed_model.teacher.description import ForeignModel

COLUMNS = ("filename", "start_s", "end_s", "primary_label", "probabilities", "weight")
"""What training needs of a table of pseudo-labels."""
ROWS_AT_A_TIME = 8192
LABELLED, RECORDED, PSEUDO_LABELLED = 1, 0, -1
"""Where a clip is from, see `Clip.origin`; the product of two that must not be mixed is -1."""
LEAST_SHARE = 0.3
"""Share of a mixed clip that each of its two sources has at least: in loudness when added, in time when joined."""
SILENT_RMS = 1e-30
"""At or below this level there is nothing to bring to another's; a lone bit of 16 in a minute is far above."""


@dataclass(frozen=True)
class PseudoLabels:
    """Pseudo-labels of a data folder's soundscapes, one row per window. `paths` are relative to the data folder.

    Attributes:
        probabilities: [windows, classes] float32, 0..1, in the order of `classes`.
        weights: [windows] float32, 0..1: how sure the teacher was.
        teachers: checksums of the models that made them.
        fingerprint: of the files that they were read from.
        splits: of each teacher, what validated it; None where an older version made the labels.
        foreign: models of others that teachers hear with or have learned from.
    """

    classes: tuple[str, ...]
    paths: tuple[str, ...]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    primary_labels: tuple[str, ...]
    probabilities: NDArray[np.float32]
    weights: NDArray[np.float32]
    teachers: tuple[str, ...]
    fingerprint: str
    splits: tuple[SplitRecord | None, ...] = (None,)
    foreign: tuple[ForeignModel, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def sources(self) -> list[Source]:
        """Who made them, as what a training learns from."""
        return [Source("a model that made the pseudo-labels", split) for split in dict.fromkeys(self.splits)]

    def inside(self, soundscapes: str) -> PseudoLabels:
        """The labels of the same files in another folder of the data folder."""
        return replace(self, paths=tuple(f"{soundscapes}/{Path(path).name}" for path in self.paths))


def read_pseudo_labels(folder: Path, soundscapes: str = "train_soundscapes") -> PseudoLabels:
    """The labels in an ensemble's folder (members.json, pseudo_labels/part-*.parquet).

    Their files lie in the data folder's `soundscapes`.

    Raises:
        DataError: there is no table, it has no rows, another format, or names that leave their folder.
    """
    parts = sorted((folder / "pseudo_labels").glob("part-*.parquet"))
    if not parts:
        raise DataError(f"{folder}: holds no pseudo-labels; run python -m trainables.ensemble first.")
    tables = [_read_part(part) for part in parts]
    try:
        orders = {classes_of(table.schema.metadata) for table in tables}
    except ValueError as error:
        raise DataError(f"{folder}: {error}; make the pseudo-labels again.") from None
    if len(orders) > 1:
        raise DataError(f"{folder}: its parts have different classes; make the pseudo-labels again.")
    table = pa.concat_tables(table.replace_schema_metadata() for table in tables)
    if not len(table):
        raise DataError(f"{folder}: no window was sure enough to be kept; lower pseudo.keep_window, or train longer.")
    names = table["filename"].to_pylist()
    strange = [name for name in names if name is None or Path(name).name != name or name in ("", ".", "..")]
    if strange:
        raise DataError(f"{folder}: {strange[0]!r} is no plain file name; make the pseudo-labels again.")
    order = orders.pop()
    if not set(table["primary_label"].to_pylist()).issubset(order):
        raise DataError(f"{folder}: some primary labels are none of its classes; make the pseudo-labels again.")
    try:
        probabilities = matrix(table["probabilities"], len(order))
    except ValueError as error:
        raise DataError(f"{folder}: probabilities has {error}; make the pseudo-labels again.") from None
    members = _members(folder / "members.json")
    labels = PseudoLabels(
        order,
        tuple(f"{soundscapes}/{name}" for name in names),
        table["start_s"].to_numpy().astype(np.float64),
        table["end_s"].to_numpy().astype(np.float64),
        tuple(table["primary_label"].to_pylist()),
        probabilities,
        table["weight"].to_numpy().astype(np.float32),
        tuple(str(member["weights_sha256"]) for member in members),
        "-".join(sha256_of(part)[:16] for part in parts),
        tuple(_split(folder / "members.json", member) for member in members),
        _foreign(folder / "members.json"),
    )
    _check_values(folder, labels)
    return labels


def _check_values(folder: Path, labels: PseudoLabels) -> None:
    """Raises DataError for what no ensemble writes; a NaN would be trained on without a word."""
    checks = {
        "probabilities are not from 0 to 1": _are_shares(labels.probabilities),
        "weights are not from 0 to 1": _are_shares(labels.weights),
        "windows do not end after they start": np.all((labels.start_s >= 0) & (labels.end_s > labels.start_s)),
        "windows have no end": np.isfinite(labels.end_s).all(),
    }
    wrong = [text for text, good in checks.items() if not good]
    if wrong:
        raise DataError(f"{folder}: some {', and some '.join(wrong)}; make the pseudo-labels again.")


def _are_shares(values: NDArray[np.float32]) -> bool:
    """Whether all are from 0 to 1; NaN is not."""
    return bool(values.min() >= 0 and values.max() <= 1)


def _members(path: Path) -> list[dict[str, Any]]:
    try:
        members = json.loads(path.read_text(encoding="utf-8"))["members"]
        return [{"weights_sha256": one["weights_sha256"], "validation": one.get("validation")} for one in members]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: does not say who made the pseudo-labels ({error}); make them again.") from None


def _foreign(path: Path) -> tuple[ForeignModel, ...]:
    """The models of others behind the members, none where an older version wrote the file."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8")).get("foreign", [])
        return tuple(ForeignModel.model_validate(row) for row in rows)
    except (ValidationError, TypeError):
        raise DataError(f"{path}: does not say which models are behind its members; make them again.") from None


def _split(path: Path, member: Mapping[str, Any]) -> SplitRecord | None:
    """What validated a member; None where an older version wrote the file."""
    record = member["validation"] or {}
    try:
        return None if isinstance(record, dict) and "digest" not in record else SplitRecord.model_validate(record)
    except ValidationError:
        raise DataError(f"{path}: does not say what validated its members; make the pseudo-labels again.") from None


def _read_part(path: Path) -> pa.Table:
    try:
        file = pq.ParquetFile(pa.BufferReader(path.read_bytes()))
        schema = file.schema_arrow
        if not schema.equals(PSEUDO_LABEL_SCHEMA) or b"classes" not in (schema.metadata or {}):
            raise DataError(f"{path}: is no table of pseudo-labels of this version; make them again.")
        # Read whole, lists take four times their size for a moment.
        batches = list(file.iter_batches(ROWS_AT_A_TIME, columns=COLUMNS, use_threads=False))
        return pa.Table.from_batches(batches) if batches else file.read(COLUMNS, use_threads=False)
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise DataError(f"{path}: is damaged ({str(error).splitlines()[0]}); make the pseudo-labels again.") from None


@dataclass(frozen=True)
class PseudoSource:
    """Pseudo-labels with the decoded soundscapes that they are of."""

    labels: PseudoLabels
    cache: AudioCache

    def audible(self) -> NDArray[np.intp]:
        """Rows of the labels whose audio was decoded: files can be unreadable, and are decoded to max_recording_s."""
        ends = np.array([self.cache.n_samples(path) if path in self.cache else 0 for path in self.labels.paths])
        return np.flatnonzero(self.labels.start_s * self.cache.sample_rate_hz < ends)


@dataclass(frozen=True)
class Clip:
    """A waveform [samples], -1..1, what is true of a part of it, and what a teacher heard in all of it.

    `origin` is LABELLED for a labelled window of a soundscape, PSEUDO_LABELLED where a pseudo-labelled one is in it,
    and else RECORDED: a recording, whose class is `primary_label`. Only labelled windows have `events`.
    """

    waveform: Float32[np.ndarray, " samples"]
    truth: Truth[NDArray[Any]]
    part: Part = WHOLE
    embedding: Embedding = None
    origin: int = RECORDED
    primary_label: str = ""
    events: ClipEvents = field(default_factory=NO_EVENTS.copy)


class PseudoMixer:
    """Mixes pseudo-labelled windows into real clips, as `pseudo.*` of the configuration says. Draws follow the rng.

    Attributes:
        note: what a cap comes to, for people; or nothing.
    """

    def __init__(
        self,
        source: PseudoSource,
        classes: Sequence[str],
        config: SedConfig,
        teacher: EmbeddingSource | None = None,
        focal: Focal | None = None,
    ) -> None:
        """
        Args:
            focal: what the recordings bring; `pseudo.mass_cap` holds where it is given.

        Raises:
            DataError: the labels have other classes, or none of their windows was decoded.
        """
        labels, cache = source.labels, source.cache
        if labels.classes != tuple(classes):
            raise DataError("the pseudo-labels have other classes than the data folder; make them again.")
        self._labels, self._cache, self._config, self._teacher = labels, cache, config, teacher
        self._truth = TargetBuilder(classes)
        self._rows = source.audible()
        if not len(self._rows):
            raise DataError("no pseudo-labelled window has audio; restore the soundscapes that were labelled.")
        names = [labels.primary_labels[row] for row in self._rows]
        self._draws = WindowDraws(names, labels.weights[self._rows], config.data)
        self._taken = np.ones(len(self._rows))
        self.note = ""
        if focal is not None and config.pseudo.mass_cap > 0:
            self._cap(focal)

    def _cap(self, focal: Focal) -> None:
        settings = self._config.pseudo
        met = self._draws.expected(settings, focal.shares)
        targets, limit = self._labels.probabilities[self._rows], limits(focal, settings)
        self._taken = taken_shares(met, targets, limit)
        n_over = int((met @ targets > limit).sum())
        share = (met @ self._taken) / met.sum() if met.any() else 1.0
        self.note = (
            f"pseudo.mass_cap={settings.mass_cap:g}: {n_over} of {len(limit)} classes would be above it; {share:.0%} "
            "of the windows that are drawn are taken"
        )

    def __call__(self, real: Clip, rng: np.random.Generator) -> Clip:
        """The real clip as it is, or replaced by, added to or joined with a pseudo-labelled window.

        A labelled window stays as it is.
        """
        settings = self._config.pseudo
        kind, number, share = rng.random(), rng.random(), rng.uniform(LEAST_SHARE, 1 - LEAST_SHARE)
        is_replaced = kind < settings.replace_prob
        of_own_class = is_replaced and rng.random() < settings.same_class_share
        place = self._draws.place(number, real.primary_label if of_own_class else "")
        row = int(self._rows[place])
        if real.origin == LABELLED or rng.random() >= self._taken[place]:
            return real
        if is_replaced:
            return self._window(row, len(real.waveform))
        if kind < settings.replace_prob + settings.add_prob:
            other = self._window(row, len(real.waveform))
            part = common_part(real.part, other.part)
            if part is None:
                return real
            waveform = added(real.waveform, other.waveform, share, part)
            embedding = mixed_embedding(real.embedding, other.embedding, share)
            return Clip(waveform, union([real.truth, other.truth]), part, embedding, PSEUDO_LABELLED)
        if kind < settings.replace_prob + settings.add_prob + settings.join_prob:
            return self._joined(real, row, share)
        return real

    def _window(self, row: int, n_samples: int) -> Clip:
        """The labelled window with the soundscape around it, as it is predicted."""
        labels, rate = self._labels, self._cache.sample_rate_hz
        path = labels.paths[row]
        duration_s = self._cache.n_samples(path) / rate
        context = context_of(float(labels.start_s[row]), float(labels.end_s[row]), duration_s, n_samples / rate)
        place = self._cache, path, round(context.start_s * rate), n_samples
        embedding = embedding_of_cut(self._teacher, *place)
        return Clip(cut(*place), self._pseudo_truth(row), context.part, embedding, PSEUDO_LABELLED)

    def _joined(self, real: Clip, row: int, share: float) -> Clip:
        """`share` of the real clip, then the labelled window from its start, whole where it fits, and what follows it.

        Both labels together are for all up to the window's end.
        """
        labels, rate, n_samples = self._labels, self._cache.sample_rate_hz, len(real.waveform)
        start, end = round(labels.start_s[row] * rate), round(labels.end_s[row] * rate)
        latest = max(n_samples - (end - start), round(LEAST_SHARE * n_samples))
        middle = min(round(share * n_samples), latest)
        rest = self._cache.samples(labels.paths[row], start, n_samples - middle)
        waveform = np.concatenate([real.waveform[:middle], np.resize(rest, n_samples - middle) * INT16_SCALE])
        part = (real.part[0], min(1.0, (middle + end - start) / n_samples))
        heard = embedding_of_samples(self._teacher, self._cache, labels.paths[row], start, n_samples - middle)
        embedding = mixed_embedding(real.embedding, heard, middle / n_samples)
        return Clip(waveform, union([real.truth, self._pseudo_truth(row)]), part, embedding, PSEUDO_LABELLED)

    def _pseudo_truth(self, row: int) -> Truth[NDArray[Any]]:
        weight = float(self._labels.weights[row]) ** self._config.pseudo.loss_power
        return self._truth.for_pseudo(self._labels.probabilities[row], weight)


def added(
    first: Float32[np.ndarray, " samples"], second: Float32[np.ndarray, " samples"], share: float, part: Part = WHOLE
) -> Float32[np.ndarray, " samples"]:
    """Both at once: `share` of the first, the rest of the second, after bringing both to the louder one's level.

    The levels are those in the part that their labels are for: a loud neighbour would drown what is labelled.
    """
    judged = slice(*(round(edge * len(first)) for edge in part))
    levels = [float(np.sqrt(np.mean(np.square(wave[judged], dtype=np.float64)))) for wave in (first, second)]
    gains = [max(levels) / level if level > SILENT_RMS else 1.0 for level in levels]
    mixed = share * gains[0] * first + (1 - share) * gains[1] * second
    # Beyond full scale the waveform augmentations would clip.
    return (mixed / max(1.0, float(np.abs(mixed).max(initial=0)))).astype(np.float32)
