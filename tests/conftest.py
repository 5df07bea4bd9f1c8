"""Fixtures for the whole suite: data folders, the audio cache, and one small Ray cluster."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook
from xdist.scheduler import LoadScopeScheduling

from tests.hostile import Outcome, in_time

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"

KILLS = ("test_cluster", "test_faults", "test_resume")
"""Their searches run in processes of their own: they wait for Ray to start, again and again, while others compute."""

RAY_FIXTURES = ("ray_cluster", "run_search", "finished_run", "finished_search", "probed")
"""Fixtures that need the Ray of a process."""

UNCHECKED = {
    **dict.fromkeys(
        ("augment.wave", "augment.wave_transforms", "augment.sound_folders"),
        "beartype draws from `random`, and a test watches it",
    ),
    "run_folder.metrics": "it checks shapes itself and raises an error that is the user's to mend",
}


def modules_that_name_shapes() -> list[str]:
    """Modules of sed_model whose shapes and types are checked in the tests."""
    paths = sorted((ROOT / "sed_model").rglob("*.py"))
    names = {".".join(p.relative_to(ROOT / "sed_model").with_suffix("").parts): p.read_text() for p in paths}
    return [f"sed_model.{name}" for name, text in names.items() if name not in UNCHECKED and "from jaxtyping" in text]


# Before any of them is imported.
install_import_hook(modules_that_name_shapes(), "beartype.beartype")

# A slow moment of a shared machine is no failure.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

# Two cores, shared with Ray's workers: more threads only take turns.
torch.set_num_threads(1)


PLACES = {"kills": 0, "ray": 1}
"""The two long groups first; what the short ones of a file each take then fills the two processes evenly."""


@functools.cache
def group_of(file: str) -> str:
    """What one process of `make test` runs as a whole: the kills, the tests that share a Ray, or a file."""
    path = Path(file)
    if path.stem in KILLS:
        return "kills"
    text = (ROOT / path).read_text(encoding="utf-8")
    return "ray" if any(fixture in text for fixture in RAY_FIXTURES) else path.stem


class ByGroup(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByGroup:
    config.option.loadscopereorder = False
    return ByGroup(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: PLACES.get(group_of(item.nodeid.partition("::")[0]), 2))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder that holds esc10_mini and birds_mini; read-only."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"{SHARED_DATA.name} with esc10_mini and birds_mini is not beside this checkout")
    return SHARED_DATA


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An audio cache of the session's own, instead of the user's."""
    folder = tmp_path_factory.mktemp("audio_cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SED_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture
def outcome(capsys: pytest.CaptureFixture[str]) -> Outcome:
    """Runs a command as its process would, in `hostile.LONGEST_S`: exit status, what it prints, and its message."""
    from sed_model.core import cli

    def run(command: Callable[[], object]) -> tuple[int, str, str]:
        # The time is watched by a signal of its own: it has to be set before the command's are kept from this process.
        with in_time(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(cli.signal, "signal", lambda *_: None)
            with pytest.raises(SystemExit) as leaving:
                cli.run(lambda _: command() and None)
        return leaving.value.code, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic data set in BirdCLEF layout; read-only by agreement."""
    from sed_model.data.demo import write_demo_data

    return write_demo_data(tmp_path_factory.mktemp("demo") / "data", seed=0)


@pytest.fixture(scope="session")
def ray_cluster(cache_dir: Path) -> Iterator[None]:
    """One Ray of two CPUs for the whole suite; starting one takes about ten seconds."""
    import ray

    from trainables.on_ray.cluster import QUIET_ENVIRONMENT

    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET_ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONDONTWRITEBYTECODE", "")
        # Warnings are errors here, but not in Ray's own processes.
        patch.delenv("PYTHONWARNINGS", raising=False)
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(
                address="local",
                num_cpus=2,
                num_gpus=0,
                include_dashboard=False,
                log_to_driver=False,
                object_store_memory=300 * 2**20,
            )
        try:
            yield
        finally:
            ray.shutdown()
