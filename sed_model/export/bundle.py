"""bundle.json of a folder that predicts by itself: which models it holds, and how they are joined."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from sed_model.core.errors import ConfigError
from sed_model.core.files import write_text
from sed_model.core.paths import is_file, is_plain_name
from sed_model.model.graph import GraphRuntime
from sed_model.predict.ensemble import Joining, joining_problem
from sed_model.predict.postprocess import PostSettings

BUNDLE_FILE = "bundle.json"


def _plain(name: str) -> str:
    if not is_plain_name(name):
        raise ValueError("is no plain name of a folder")
    return name


class Bundle(BaseModel):
    """`models` are folders in `models/`; `runtime` is what their graphs are for."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    format: Literal[1] = 1
    models: tuple[Annotated[str, AfterValidator(_plain)], ...] = Field(min_length=1)
    joining: Joining
    runtime: GraphRuntime
    post: PostSettings

    @model_validator(mode="after")
    def _fits(self) -> Bundle:
        if len(set(self.models)) < len(self.models):
            raise ValueError("names a model twice")
        if problem := joining_problem(self.joining, len(self.models)):
            raise ValueError(problem)
        return self


def read_bundle(folder: Path) -> Bundle:
    """
    Raises:
        ConfigError: `folder` has no bundle.json, or it is damaged.
    """
    path = folder / BUNDLE_FILE
    if not is_file(path):
        raise ConfigError(f"{path}: is not there; give a folder that trainables.export --kaggle wrote.")
    try:
        return Bundle.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            details = error.errors()[:3]
            reason = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in details)
        raise ConfigError(f"{path}: cannot be used ({reason:.300}); export the folder again.") from None


def write_bundle(folder: Path, bundle: Bundle) -> None:
    write_text(folder / BUNDLE_FILE, bundle.model_dump_json(indent=2) + "\n")
