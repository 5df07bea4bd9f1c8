"""Fixtures of the trainables: the tiny data and search, a finished run, processes, and folders to be damaged."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from filelock import FileLock

from sed_model.clips.training_data import open_training_data
from sed_model.clips.validation_windows import ValidationWindows
from sed_model.config.sed_config import SedConfig, config_from_dict
from sed_model.core import cli
from sed_model.data.recordings import read_data_folder
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.metrics import macro_auc
from sed_model.run_folder.predictions import write_predictions
from tests.models import save_random_model
from tests.trainables.probes import write_probed
from tests.trainables.processes import CommandProcess, SearchProcess
from tests.trainables.run_tables import TABLES
from tests.trainables.tiny import BASE, write_data, write_space
from trainables import ensemble, search, train
from trainables.searching.recorder import Recorder
from trainables.spaces.load import load_space
from trainables.spaces.search_space import SearchSpace

# A shell that starts the tests in the background has them ignore Ctrl-C, and with them the searches they interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

COMMANDS: dict[str, Any] = {"search": search.main, "train": train.main, "ensemble": ensemble.main}


@pytest.fixture
def start_search(cache_dir: Path, tmp_path: Path) -> Iterator[Callable[..., SearchProcess]]:
    """Starts searches into the run folder `tmp_path/run`; none outlives the test."""
    started: list[SearchProcess] = []

    def start(*arguments: object) -> SearchProcess:
        log = tmp_path / f"search_{len(started)}.log"
        started.append(SearchProcess(tmp_path, cache_dir, log, *arguments))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.fixture
def start_command(cache_dir: Path, tmp_path: Path) -> Iterator[Callable[..., CommandProcess]]:
    """Starts commands: a module and its arguments; none outlives the test."""
    started: list[CommandProcess] = []

    def start(module: str, *arguments: object) -> CommandProcess:
        started.append(CommandProcess(module, cache_dir, tmp_path / f"command_{len(started)}.log", *arguments))
        return started[-1]

    yield start
    for process in started:
        process.end()


@dataclass(frozen=True)
class FinishedSearch:
    """A search that ran to its end: its run folder, what it printed, and the processes that reported."""

    path: Path
    output: str
    process_ids: set[int]


@pytest.fixture(scope="session")
def run_search(ray_cluster: None) -> Callable[..., str]:
    """Runs the search command in this process; what it prints comes back."""

    def run(*arguments: object) -> str:
        with redirect_stdout(io.StringIO()) as output:
            search.main([str(argument) for argument in arguments])
        return output.getvalue()

    return run


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Makes a folder that all processes of the test run share: the first that asks for it makes it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name: str, make: Callable[[Path], object]) -> Path:
        folder = shared / f"shared_{name}"
        with FileLock(shared / f"{name}.lock"):
            if not (folder / "made").exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                (folder / "made").touch()
        return folder

    return once


@pytest.fixture(scope="session")
def finished_search(
    run_search: Callable[..., str], tiny_root: Path, tiny_space: Path, made_once: Callable[..., Path]
) -> FinishedSearch:
    """Eight trials one after the other, two members, pseudo-labels; read-only by agreement."""

    def run_and_watch(folder: Path) -> None:
        process_ids: set[int] = set()
        record = Recorder.on_trial_result

        def watch(self: Recorder, *places: Any, **info: Any) -> None:
            process_ids.add(info["result"]["pid"])
            record(self, *places, **info)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Recorder, "on_trial_result", watch)
            output = run_search(
                *("--space", tiny_space, "--data", tiny_root, "--out", folder / "runs", "--name", "done"),
                *("--num-trials", "8", "--max-concurrent", "1", "--top-k", "2"),
            )
        (folder / "told.json").write_text(json.dumps({"output": output, "process_ids": sorted(process_ids)}))

    folder = made_once("search", run_and_watch)
    told = json.loads((folder / "told.json").read_text())
    return FinishedSearch(folder / "runs" / "done", told["output"], set(told["process_ids"]))


@pytest.fixture(scope="session")
def finished_run(finished_search: FinishedSearch) -> Path:
    """The run folder of the finished search."""
    return finished_search.path


@pytest.fixture(scope="session")
def written_run(tiny_root: Path, tiny_base: SedConfig, cache_dir: Path, made_once: Callable[..., Path]) -> Path:
    """What a search of eight trials leaves of them, without one: random weights, and scores that tell a little."""

    def write(folder: Path) -> None:
        data = open_training_data(read_data_folder(tiny_root, 1.0), tiny_base, progress=False)
        windows, rng, rows = ValidationWindows(data, tiny_base), np.random.default_rng(0), []
        flat = {f"config.{name}": value for name, value in tiny_base.flat().items()}
        facts = {"data_fingerprint": data.folder.fingerprint, "split": data.split.record}
        for number in range(8):
            path = RunFolder(folder / "run").trial(number)
            scores = (0.2 * windows.targets + 0.8 * rng.random(windows.targets.shape)).astype(np.float32)
            score = macro_auc(windows.targets, scores)
            save_random_model(path, tiny_base, number, metrics={"macro_auc": score}, **facts)
            write_predictions(path / "oof.parquet", windows, scores, data.folder.classes)
            status = "pruned" if number % 3 == 2 else "complete"
            rows.append(flat | {"trial_id": path.name, "number": number, "status": status, "macro_auc": score})
        place = {"folder": str(tiny_root), "fingerprint": data.folder.fingerprint}
        RunFolder(folder / "run").write_tables(rows, [])
        RunFolder(folder / "run").write_search({"space_name": "tiny", "data": place})

    return made_once("written_run", write) / "run"


@pytest.fixture(scope="session")
def probed(made_once: Callable[..., Path], ray_cluster: None) -> Path:
    """Data with eight labelled soundscapes, a foreign model, and the run of its probes; read-only by agreement."""
    return made_once("probed", write_probed)


@pytest.fixture(scope="session")
def tiny_root(made_once: Callable[..., Path]) -> Path:
    """The tiny data folder; read-only by agreement."""
    return made_once("data", lambda folder: write_data(folder / "data")) / "data"


@pytest.fixture(scope="session")
def tiny_base() -> SedConfig:
    """The configuration that the tiny space starts from."""
    return config_from_dict(BASE)


@pytest.fixture(scope="session")
def tiny_space(made_once: Callable[..., Path]) -> Path:
    """The tiny search space, beside its base.yaml."""
    return made_once("space", lambda folder: write_space(folder / "space")) / "space" / "tiny.yaml"


@pytest.fixture(scope="session")
def space(tiny_space: Path) -> SearchSpace:
    """The tiny space, read."""
    return load_space(tiny_space)


@pytest.fixture
def own_data(tiny_root: Path, tmp_path: Path) -> Path:
    """A copy of the tiny data folder, free to be damaged."""
    return Path(shutil.copytree(tiny_root, tmp_path / "data"))


@pytest.fixture
def bare_run(tmp_path: Path) -> RunFolder:
    """A run folder with a trial's row in each table."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    for name, (schema, row) in TABLES.items():
        pq.write_table(pa.Table.from_pylist([row], schema), folder.path / f"{name}.parquet")
    return folder


@pytest.fixture
def refusal_of(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Runs a command that has to fail before Ray starts; its message comes back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    if not ray.is_initialized():
        monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray was started for input that is wrong"))

    def run(command: str, *arguments: object) -> str:
        before = set(tmp_path.rglob("*"))
        with pytest.raises(SystemExit) as leaving:
            cli.run(lambda _: COMMANDS[command]([str(argument) for argument in arguments]))
        message = capfd.readouterr().err
        assert leaving.value.code == 2
        assert message.startswith("error: ")
        assert "Traceback" not in message
        assert set(tmp_path.rglob("*")) == before
        return message

    return run
