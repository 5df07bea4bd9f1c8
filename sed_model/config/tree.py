"""The mechanics of a typed configuration: keys with units and limits, sections, trees of values, problems as text.

Which keys there are is said in `config`, `config_augment` and `config_training`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from sed_model.config.earlier import EARLIER
from sed_model.core.texts import nearest


def key(default: Any, description: str, unit: str = "", **limits: Any) -> Any:
    """A configuration key; `unit` ("Hz", "s", "dB", "probability", ...) is shown in the reference and in errors."""
    return Field(default, description=description, json_schema_extra={"unit": unit}, **limits)


def probability(default: float, description: str) -> Any:
    return key(default, description, "probability", ge=0, le=1)


NUMBERS = (int, float, int | None, float | None)
"""Types of a key that no truth value may stand for."""


class Section(BaseModel):
    """Keys and sections that belong together; frozen, and checked when it is made."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads yes, no, on and off as truth values, and pydantic these as the numbers 1 and 0."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation in NUMBERS:
            raise ValueError(f"is {str(value).lower()}; give a number.")
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = list(self._problems())
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        """Combinations of values that cannot be, each with its repair."""
        yield from ()


def flattened(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every leaf, in order."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` laid over `defaults`, branch by branch."""
    result = dict(defaults)
    for name, value in given.items():
        default = defaults.get(name)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            result[name] = merged(default, value)
        else:
            result[name] = value
    return result


def replaced(tree: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The tree itself with new values at some of its dotted keys."""
    for name, value in overrides.items():
        *parents, leaf = name.split(".")
        branch = tree
        for parent in parents:
            branch = branch[parent]
        branch[leaf] = value
    return tree


def unknown_key_message(name: str, known: Sequence[str]) -> str:
    """What to say of a dotted key that is none of the `known`; the nearest is named."""
    if name in EARLIER:
        return f"{name}: was replaced; use {EARLIER[name]}."
    leaf = name.rsplit(".", 1)[-1]
    alike = next((f" (did you mean {other}?)" for other in known if other.rsplit(".", 1)[-1] == leaf), "")
    hint = nearest(name, known, cutoff=0.5) or alike or "; see search_spaces/base.yaml for the known keys"
    return f"{name}: unknown configuration key{hint}."


def problem_text(detail: Any, known: Sequence[str]) -> str:
    """What pydantic found wrong, with the dotted key in front."""
    name = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return unknown_key_message(name, known)
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":
        return "\n".join(f"{name}: {line}" if name else line for line in message.splitlines())
    return f"{name}={detail['input']!r}: {message[0].lower()}{message[1:]}."
