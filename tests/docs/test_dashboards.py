"""optuna-dashboard and TensorBoard open what a search leaves behind. Both are started once, on the loopback address."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest

from sed_model.fit import EpochResult
from trainables.event_file import EventFile
from trainables.searcher import STUDY_NAME, open_journal

pytest.importorskip("optuna_dashboard")
pytest.importorskip("tensorboard")

START_UP_S = 60


@dataclass(frozen=True)
class Servers:
    dashboard: str
    tensorboard: str


def stored_run(folder: Path) -> Path:
    """A study of one complete and one pruned trial, and the events of the complete one, written as a search does."""
    study = optuna.create_study(
        storage=open_journal(folder / "optuna.journal"), study_name=STUDY_NAME, direction="maximize"
    )
    for score, state in ((0.8, optuna.trial.TrialState.COMPLETE), (None, optuna.trial.TrialState.PRUNED)):
        trial = study.ask()
        trial.suggest_categorical("model.pool_type", ["avg", "gem"])
        trial.report(0.7, 1)
        study.tell(trial, score, state=state)
    with EventFile(folder / "trials" / "trial_0000") as events:
        for epoch in (1, 2):
            events.write_epoch(
                EpochResult("train_bce", epoch, epoch, 9, 0.5, 0.75, 0.6, 0.6, 1e-3, 40.0, finished=False)
            )
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  # http on the loopback address
        body: bytes = answer.read()
        return body


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + START_UP_S
    while time.monotonic() < end_s and process.poll() is None:
        try:
            fetch(url)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"{url} does not answer (status {process.poll()})")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    run = stored_run(tmp_path_factory.mktemp("run"))
    ports = free_port(), free_port()
    programs = Path(sys.executable).parent
    commands = [
        [programs / "optuna-dashboard", run / "optuna.journal", "--host", "127.0.0.1", "--port", ports[0]],
        [programs / "tensorboard", "--logdir", run / "trials", "--host", "127.0.0.1", "--port", ports[1]],
    ]
    processes = [
        subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for words in commands
    ]
    try:
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        for url, process in zip(urls, processes, strict=True):
            wait_for(url, process)
        yield Servers(*urls)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=20)


def test_the_dashboard_lists_the_study_and_its_trials(servers: Servers) -> None:
    assert b"<html" in fetch(f"{servers.dashboard}/dashboard").lower()
    (study,) = json.loads(fetch(f"{servers.dashboard}/api/studies"))["study_summaries"]
    assert study["study_name"] == STUDY_NAME
    detail = json.loads(fetch(f"{servers.dashboard}/api/studies/{study['study_id']}?after=0"))
    assert [trial["state"] for trial in detail["trials"]] == ["Complete", "Pruned"]


def test_tensorboard_lists_the_scalars_of_the_trial(servers: Servers) -> None:
    assert b"<html" in fetch(servers.tensorboard).lower()
    assert "macro_auc" in scalars(servers).get("trial_0000", {})


def scalars(servers: Servers) -> dict[str, Any]:
    """Trial -> its scalars; TensorBoard answers before it has read the files."""
    end_s = time.monotonic() + START_UP_S
    while not (found := json.loads(fetch(f"{servers.tensorboard}/data/plugin/scalars/tags"))):
        if time.monotonic() > end_s:
            pytest.fail("TensorBoard reads no event file")
        time.sleep(0.1)
    tags: dict[str, Any] = found
    return tags
