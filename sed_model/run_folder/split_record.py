"""What validates a model, as models and runs record it: who may go on from whom is decided by it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict


class SplitRecord(BaseModel):
    """The part of a data folder that validates; the rest of its recordings trains.

    Two splits with one `digest` validate on the same files, whatever settings made them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["folds", "soundscapes"]
    split_seed: int
    fold: int
    n_folds: int
    digest: str
    soundscape_folds: int = 0
    """Parts of the labelled soundscapes, of which `fold` validates and the others train; 0: all of them validate."""

    def __str__(self) -> str:
        if self.soundscape_folds:
            return f"part {self.fold} of {self.soundscape_folds} of the labelled soundscapes"
        if self.kind == "soundscapes":
            return "the labelled soundscapes"
        return f"fold {self.fold} of {self.n_folds} (data.split_seed={self.split_seed})"

    @property
    def settings(self) -> str:
        """The options that make it."""
        keys = [f"data.validation={self.kind}"]
        folds = "n_folds" if self.kind == "folds" else "soundscape_folds"
        if self.kind == "folds" or self.soundscape_folds:
            keys += [f"data.{name}={getattr(self, name)}" for name in ("fold", folds, "split_seed")]
        return " ".join(f"--set {key}" for key in keys)


@dataclass(frozen=True)
class Source:
    """A model that a training starts from, or whose pseudo-labels it learns from; `name` is for messages.

    Attributes:
        split: None where a version made it that did not record it.
        pseudo_labelled: fingerprint of the data whose soundscapes it learned from; None: from no soundscape.
    """

    name: str
    split: SplitRecord | None
    pseudo_labelled: str | None = None


def digest_of(kind: str, paths: Iterable[str]) -> str:
    """The digest of files that validate, in any order; paths are relative to the data folder."""
    return hashlib.blake2b(json.dumps([kind, sorted(set(paths))]).encode(), digest_size=16).hexdigest()
