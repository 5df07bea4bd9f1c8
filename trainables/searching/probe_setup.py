"""From the options of the probe command to a probe whose input is right; nothing is heard yet."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sed_model.config.sed_config import SedConfig, load_config
from sed_model.core.errors import ConfigError
from sed_model.data.class_names import class_names
from sed_model.data.recordings import DataFolder, read_configured
from sed_model.data.splits import split
from sed_model.run_folder.folder import RunFolder, is_probe
from sed_model.teacher.description import ForeignModel, TeacherDescription, foreign_model, read_description
from sed_model.teacher.matching import Match, match_labels
from sed_model.teacher.runner import load_teacher
from sed_model.train.probe import KINDS, Matched
from trainables.searching.checks import check_place, check_unused
from trainables.searching.setup import run_record
from trainables.spaces.check import SPACES_DIR
from trainables.spaces.overrides import absolute_paths, parse_overrides
from trainables.spaces.search_space import SearchSpace
from trainables.spaces.settings import SearchSettings

USED = ("data.", "inference.", "pseudo.", "front_end.sample_rate_hz")
"""Keys that a probe goes by begin with these."""


@dataclass(frozen=True)
class ProbeOptions:
    """The options of the probe command, as its --help explains them; `command` is what the user typed."""

    command: str
    teacher: str
    data: Path
    teacher_file: Path | None = None
    teacher_labels: Path | None = None
    out: Path = Path("runs")
    name: str | None = None
    workers: int | None = None
    address: str | None = None
    pseudo_labels: bool = True
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Probing:
    """A probe run whose input is right."""

    run: RunFolder
    config: SedConfig
    data: DataFolder
    description: TeacherDescription
    matches: tuple[Match, ...]

    @cached_property
    def foreign(self) -> ForeignModel:
        return foreign_model(self.description)

    @property
    def matched(self) -> Matched:
        known = [(one.index, place) for place, one in enumerate(self.matches) if one.index is not None]
        columns, classes = zip(*known, strict=True) if known else ((), ())
        return Matched(np.array(columns, np.int64), np.array(classes, np.int64))


def prepare_probe(options: ProbeOptions) -> Probing:
    """Read and check all input, what is quick to check first; nothing is heard yet.

    Raises:
        UserError: of the kind of the input that is wrong.
    """
    check_place(options.out, options.name)
    description = read_description(options.teacher, options.teacher_file, options.teacher_labels)
    run = RunFolder(options.out / (options.name or f"probe-{description.name}-{time.strftime('%Y%m%d-%H%M%S')}"))
    if not is_there(run):
        check_unused(run, is_resumed=False)
    overrides = absolute_paths(parse_overrides(options.overrides))
    if foreign := [name for name in overrides if not name.startswith(USED)]:
        raise ConfigError(
            f"--set {foreign[0]}: would change nothing: a probe trains no model; what it goes by begins with "
            f"{', '.join(USED)}."
        )
    config = probe_config(overrides)
    load_teacher(description)  # what is wrong with it is told before Ray starts
    data = read_configured(options.data, config.data)
    matches = match_labels(class_names(data.root, data.classes), description.read_labels(), description.label_format)
    probing = Probing(run, config, data, description, matches)
    if is_there(run):
        check_same(probing)
    return probing


def is_there(run: RunFolder) -> bool:
    """Whether the folder is that of a probe; one that was broken off is begun again in it."""
    return run.search_file.is_file() and is_probe(run)


def check_same(probing: Probing) -> None:
    """What was heard and predicted is kept where a probe is begun again.

    Raises:
        ConfigError: it is of other data, of another teacher or setting.
    """
    record = probing.run.read_search()
    theirs = record["data"]["fingerprint"], record["probe"].get("sha256"), record.get("base")
    if theirs != (probing.data.fingerprint, probing.foreign.sha256, probing.config.model_dump(mode="json")):
        raise ConfigError(
            f"{probing.run.path}: is a probe of other data, of another teacher or setting; choose another --name."
        )


def probe_config(overrides: Mapping[str, Any]) -> SedConfig:
    """The configuration of a probe: what a foreign model hears is the target window, with no images between.

    Its label rules, of short.yaml, keep nearly all windows, with their probabilities as targets.
    """
    base = load_config(SPACES_DIR / "short.yaml")
    given: dict[str, Any] = {**base.flat(), **overrides}
    # A window's score is that of the loudest that the foreign model hears in it.
    own = {"data.window_s": given["data.target_s"], "inference.frame_share": 0.0, "model.pretrained": False}
    if isinstance(rate := overrides.get("front_end.sample_rate_hz"), int):
        own |= {"front_end.f_max_hz": rate / 2, "front_end.n_mels": 32}  # there are no mels, but they have to fit
    return base.with_overrides({**own, **overrides})


def match_lines(probing: Probing) -> list[str]:
    """What matched, a line a class."""
    description, matches = probing.description, probing.matches
    n_known = sum(one.index is not None for one in matches)
    lines = [f"teacher {probing.foreign}: knows {n_known} of {len(matches)} classes by name"]
    if description.has_heard:
        lines.append(f"  it was trained on {description.has_heard}")
    return lines + [
        f"  {one.primary_label:<30} {one.label} ({one.way})" if one.label else f"  {one.primary_label:<30} -"
        for one in matches
        if n_known
    ]


def probe_record(probing: Probing, options: ProbeOptions) -> dict[str, Any]:
    """search.yaml: that of a search without parameters, and what the foreign model is."""
    settings = SearchSettings(num_trials=len(KINDS), stages=("train_bce",), scheduler=None, portfolio="none")
    space = SearchSpace("probe", probing.config, settings)
    record = run_record(probing.run, space, probing.data, options.command, options.overrides)
    record["data"]["split"] = split(probing.data, probing.config.data).record.model_dump()
    return record | {
        "probe": {
            "teacher": probing.description.model_dump(),
            "sha256": probing.foreign.sha256,
            "columns": probing.matched.columns.tolist(),
            "matches": {one.primary_label: one.label for one in probing.matches},
        }
    }
