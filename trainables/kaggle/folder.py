"""A folder that predicts by itself: models, exported graphs, the code of sed_model, a script and a notebook."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import sed_model
from sed_model.core.errors import ConfigError
from sed_model.core.files import explained_full_disk, write_text
from sed_model.core.paths import check_folder, is_plain_name
from sed_model.export.bundle import BUNDLE_FILE, Bundle, read_bundle, write_bundle
from sed_model.model.checkpoint import WEIGHTS_FILE
from sed_model.model.graph import PACKAGES, GraphRuntime
from sed_model.predict.ensemble import load_ensemble
from sed_model.predict.postprocess import PostSettings, check_classes, read_post
from trainables.labelling.run_members import RunMembers

TEMPLATES = Path(__file__).parent
REQUIRED = (
    *("torch", "torchaudio", "torchvision", "timm", "safetensors", "numpy", "scipy", "numba", "pandas", "pyarrow"),
    *("pydantic", "jaxtyping", "soundfile", "soxr", "scikit-learn", "psutil", "filelock", "PyYAML", "tqdm"),
)
"""What prediction imports."""


@dataclass(frozen=True)
class KaggleJob:
    """What goes into the folder `out`; `post` None: the default post-processing."""

    out: Path
    members: RunMembers
    runtime: GraphRuntime
    post: Path | None = None


def write_kaggle_folder(job: KaggleJob, export: Callable[[Path, Path], None]) -> None:
    """Write the folder; one of an earlier export is replaced. `export(model, out)` exports a model into a folder.

    Raises:
        ConfigError: there is something else at that place, or the post-processing cannot be used.
        CheckpointError: a model cannot be used or exported, or the models do not fit together.
    """
    check_folder(job.out, "--kaggle")
    if job.out.exists() and any(job.out.iterdir()):
        _check_replaceable(job.out)
    post = read_post(job.post) if job.post else PostSettings()
    names = _names(job.members.names)
    with explained_full_disk(job.out):
        job.out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{job.out.name}-", dir=job.out.parent) as temporary:
            folder = Path(temporary) / "new"
            for name, model in zip(names, job.members.folders, strict=True):
                export(model, folder / "models" / name)
                shutil.copyfile(model / WEIGHTS_FILE, folder / "models" / name / WEIGHTS_FILE)
            check_classes(post, load_ensemble([folder / "models" / name for name in names]).classes)
            _write_code(folder, job.runtime)
            bundle = Bundle(models=tuple(names), joining=job.members.joining, runtime=job.runtime, post=post)
            write_bundle(folder, bundle)
            if job.out.exists():
                job.out.rename(Path(temporary) / "old")
            folder.rename(job.out)


def _check_replaceable(folder: Path) -> None:
    """Other things, too, have a file of this name."""
    try:
        read_bundle(folder)
    except ConfigError as error:
        raise ConfigError(
            f"--kaggle {folder}: is there, and no folder of an earlier export ({BUNDLE_FILE}); name a new one. {error}"
        ) from None


def _names(folders: Sequence[str]) -> list[str]:
    """A name for each model; numbered where folders share one."""
    names = [name if is_plain_name(name) else "model" for name in folders]
    return names if len(set(names)) == len(names) else [f"{number}_{name}" for number, name in enumerate(names)]


def _write_code(folder: Path, runtime: GraphRuntime) -> None:
    package = Path(sed_model.__path__[0])
    shutil.copytree(package, folder / "sed_model", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("predict.py", "predict.ipynb", "README.md"):
        shutil.copyfile(TEMPLATES / name, folder / name)
    # The releases that it was made with: of torch, torchaudio and torchvision only those of one day fit together.
    lines = [f"{name}=={version(name).split('+')[0]}" for name in (*REQUIRED, PACKAGES[runtime])]
    write_text(folder / "requirements.txt", "\n".join(lines) + "\n")
