"""optuna-dashboard and TensorBoard open the run of a search; they are started as the documentation says."""

from __future__ import annotations

import json
import os
import re
import shlex
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

import pandas as pd
import pytest

from tests.documented import documented_commands
from trainables.searching.searcher import STUDY_NAME

pytest.importorskip("optuna_dashboard")
pytest.importorskip("tensorboard")

pytestmark = pytest.mark.slow  # each of them alone would take the whole search
START_UP_S = 60


@dataclass(frozen=True)
class Servers:
    dashboard: str
    tensorboard: str


def documented(program: str) -> list[str]:
    """The one way in which the pages start a program, but for the names of runs, hosts and ports."""
    shown = {command for command in documented_commands() if command.startswith(f"{program} ")}
    shown = {re.sub(r" --(host|port) \S+", "", command) for command in shown}
    (command,) = {re.sub(r"runs/\w+", "runs/first", command) for command in shown}
    return shlex.split(command)


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
def servers(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("watching")
    (folder / "runs").mkdir()
    (folder / "runs" / "first").symlink_to(finished_run)
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    processes, urls = [], []
    try:
        for program in ("optuna-dashboard", "tensorboard"):
            port = free_port()
            words = [*documented(program), "--host", "127.0.0.1", "--port", str(port)]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            processes.append(subprocess.Popen(words, cwd=folder, env=environment, **quiet))
            urls.append(f"http://127.0.0.1:{port}")
        for url, process in zip(urls, processes, strict=True):
            wait_for(url, process)
        yield Servers(*urls)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=20)


def test_the_dashboard_lists_the_study_and_its_trials(servers: Servers, finished_run: Path) -> None:
    assert b"<html" in fetch(f"{servers.dashboard}/dashboard").lower()
    (study,) = json.loads(fetch(f"{servers.dashboard}/api/studies"))["study_summaries"]
    assert study["study_name"] == STUDY_NAME

    detail = json.loads(fetch(f"{servers.dashboard}/api/studies/{study['study_id']}?after=0"))
    trials = pd.read_parquet(finished_run / "trials.parquet").sort_values("number")
    assert [trial["state"].lower() for trial in detail["trials"]] == trials["status"].to_list()


def test_tensorboard_lists_the_scalars_of_every_trial(servers: Servers, finished_run: Path) -> None:
    assert b"<html" in fetch(servers.tensorboard).lower()
    trials = pd.read_parquet(finished_run / "trials.parquet")

    found = scalars(servers, len(trials))

    assert set(found) == set(trials["trial_id"])
    assert all("macro_auc" in tags for tags in found.values())


def scalars(servers: Servers, n_trials: int) -> dict[str, Any]:
    """Trial -> its scalars; TensorBoard answers before it has read the files."""
    end_s = time.monotonic() + START_UP_S
    while len(found := json.loads(fetch(f"{servers.tensorboard}/data/plugin/scalars/tags"))) < n_trials:
        if time.monotonic() > end_s:
            pytest.fail(f"TensorBoard has read {len(found)} of {n_trials} event files")
        time.sleep(0.1)
    tags: dict[str, Any] = found
    return tags
