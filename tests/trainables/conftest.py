"""A tiny data folder and search space: three species of one tone each at 8 kHz, an epoch in a fraction of a second."""

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
import soundfile
import yaml
from _command import Command, title
from filelock import FileLock

from sed_model.config import SedConfig, config_from_dict
from trainables import search
from trainables.recorder import Recorder

# A shell that starts the tests in the background has them ignore Ctrl-C, and with them the searches they interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

RATE_HZ = 8_000
PITCH_HZ = {"1139490": 500.0, "abethr1": 1200.0, "grekis": 2600.0}
N_UNLABELLED = 10
BASE = {
    "seed": 7,
    "front_end": {
        "sample_rate_hz": RATE_HZ, "n_fft": 512, "hop_length": 128, "n_mels": 32, "f_min_hz": 50, "f_max_hz": 4000
    },
    "model": {"backbone": "mobilenetv3_small_050", "pretrained": False},
    "augment": {"wave": {"prob": 0.0}},
    "stages": {
        "pretrain_ce": {"epochs": 2, "lr": 2.0e-3}, "train_bce": {"epochs": 1, "lr": 1.0e-3},
        "finetune": {"epochs": 1, "lr": 1.0e-3},
    },
    "optim": {"batch_size": 4, "min_steps_per_epoch": 2, "ema_decay": 0.5, "precision": "fp32"},
    "data": {"window_s": 1.5, "target_s": 1.0, "crop_shift_s": 0.25},
    "pseudo": {"keep_class": 0.05, "keep_window": 0.05, "max_share": 5.0},
}  # fmt: skip
SPACE = {
    "base": "base.yaml",
    "search": {
        "num_trials": 4, "stages": ["pretrain_ce", "train_bce"],
        "scheduler": {"asha": {"grace_period": 1, "reduction_factor": 2}},
    },
    "space": {
        "model.pool_type": {"choice": ["avg", "gem"]},
        "model.gem_p": {"uniform": [1, 6], "when": {"model.pool_type": "gem"}},
        "stages.pretrain_ce.lr": {"loguniform": [1.0e-5, 1.0e-2]},
    },
}  # fmt: skip


def tone(pitch_hz: float, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    """A call with a soft start and end, in noise."""
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    call = 0.3 * np.sin(2 * np.pi * pitch_hz * time_s) * np.hanning(len(time_s))
    return (call + 0.01 * rng.standard_normal(len(time_s))).astype(np.float32)


def write_wav(path: Path, wave: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, RATE_HZ, subtype="PCM_16")


def write_data(root: Path) -> Path:
    """BirdCLEF layout: four recordings of 2 s a class, two labelled and ten unlabelled soundscapes."""
    rng = np.random.default_rng(0)
    lines = ["primary_label,secondary_labels,filename,rating,author"]
    for label, pitch_hz in PITCH_HZ.items():
        for number in range(4):
            write_wav(root / "train_audio" / label / f"XC{number}.wav", tone(pitch_hz, 2.0, rng))
            lines.append(f"{label},['grekis'],{label}/XC{number}.wav,{number + 1},author {number}")
    (root / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    names = [f"Avis {label}" for label in PITCH_HZ]
    taxonomy = [f"{label},{name}" for label, name in zip(PITCH_HZ, names, strict=True)]
    (root / "taxonomy.csv").write_text("\n".join(["primary_label,scientific_name", *taxonomy]) + "\n", encoding="utf-8")
    labels = list(PITCH_HZ)
    rows = [",".join(["row_id", *labels])]
    for number in range(2 + N_UNLABELLED):
        heard = [labels[(second + number) % 3] for second in range(4)]
        name = f"L{number}" if number < 2 else f"U{number}"
        wave = np.concatenate([tone(PITCH_HZ[label], 1.0, rng) for label in heard])
        write_wav(root / "train_soundscapes" / f"{name}.wav", wave)
        if number < 2:
            rows += [
                f"{name}_{end_s}," + ",".join(str(int(label == other)) for other in labels)
                for end_s, label in enumerate(heard, start=1)
            ]
    (root / "train_soundscapes_labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def write_space(folder: Path, tree: dict[str, object] | None = None) -> Path:
    """The tiny base and space in a folder; the path of the space."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "base.yaml").write_text(yaml.safe_dump(BASE), encoding="utf-8")
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tree or SPACE), encoding="utf-8")
    return path


class CommandProcess(Command):
    """A command in a process of its own, to be signalled."""

    def __init__(self, module: str, cache_dir: Path, log: Path, *arguments: object) -> None:
        super().__init__(module, *arguments, log=log, environment={"SED_CACHE_DIR": str(cache_dir)})

    def wait_until(self, holds: Callable[[], object], timeout_s: float = 120, poll_s: float = 0.005) -> bool:
        """Until it comes to it, or the test fails."""
        if not super().wait_until(holds, timeout_s, poll_s):
            pytest.fail(f"it did not come to it (status {self.process.poll()}): {self.output}{self.errors}")
        return True

    def signal(self, number: int, timeout_s: float = 60) -> int:
        """Its status after a signal. Whatever it has started, Ray's processes among them, ends too."""
        status = super().signal(number, timeout_s)
        self.check_that_all_have_ended()
        return status

    def check_that_all_have_ended(self) -> None:
        """After a kill Ray's agents, which write nothing, may outlive the others: they are ended here."""
        left = self.wait_until_all_have_ended(30)
        assert [process for process in left if "Agent" not in title(process)] == []
        for process in left:
            process.kill()


class SearchProcess(CommandProcess):
    """The search command. Its run folder is `out/run`."""

    def __init__(self, out: Path, cache_dir: Path, log: Path, *arguments: object) -> None:
        self.run = out / "run"
        words = ("--out", out, "--name", "run", "--no-dashboard", *arguments)
        super().__init__("trainables.search", cache_dir, log, *words)

    def wait_for_epoch(self, trial_id: str, epoch: int) -> None:
        """Until the epoch is in the tables."""
        self.wait_until(lambda: (trial_id, epoch) in self.epochs())

    def epochs(self) -> set[tuple[str, int]]:
        path = self.run / "curves.parquet"
        if not path.exists():
            return set()
        # Read at once: the search may replace the file between two looks at it.
        content = pa.BufferReader(path.read_bytes())
        table = pq.read_table(content, columns=["trial_id", "epoch"]).to_pydict()
        return set(zip(table["trial_id"], table["epoch"], strict=True))


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
