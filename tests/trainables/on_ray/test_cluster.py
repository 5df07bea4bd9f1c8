"""Clusters: addresses and versions, and a real one of three nodes, of which one dies while a search runs."""

from __future__ import annotations

import os
import re
import shlex
import socket
import struct
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ray
import yaml
from ray._private.utils import check_version_info
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.exceptions import AuthenticationError
from tensorboardX.proto.event_pb2 import Event

from sed_model.core.errors import ConfigError, TrainingError
from sed_model.model.checkpoint import load_model
from trainables.on_ray.cluster import (
    ALLOCATOR_ENVIRONMENT,
    SUBMITTED_JOB,
    check_address,
    joined_address,
    prepare_environment,
    ray_session,
    runtime_environment,
)
from trainables.search import build_parser

ROOT = Path(__file__).parents[3]
EPOCHS = 30
"""Enough that a trial still trains when the last of the others starts, seconds later."""
LONG = (
    *("--scheduler", "none", "--no-pseudo-labels", "--set", "optim.early_stopping_epochs=0"),
    *("--set", "stages.pretrain_ce.epochs=1", "--set", f"stages.train_bce.epochs={EPOCHS - 1}"),
    *("--set", "optim.batch_size=2"),
)
"""Trials of two stages: the state that the first leaves is what a lost trial goes on from."""


def test_workers_get_the_code_and_the_variables_that_are_read_when_they_start() -> None:
    prepare_environment()
    environment = runtime_environment()

    assert environment["py_modules"] == [str(ROOT / "sed_model"), str(ROOT / "trainables")]
    assert environment["env_vars"].keys() >= ALLOCATOR_ENVIRONMENT.keys()
    assert all(isinstance(value, str) for value in environment["env_vars"].values())


@pytest.mark.parametrize(
    ("given", "submitted", "joined"),
    [(None, False, None), (None, True, "auto"), ("auto", False, "auto"), ("head:6379", True, "head:6379")],
)
def test_a_submitted_job_belongs_to_its_cluster(
    monkeypatch: pytest.MonkeyPatch, given: str | None, submitted: bool, joined: str | None
) -> None:
    monkeypatch.delenv(SUBMITTED_JOB, raising=False)
    if submitted:
        monkeypatch.setenv(SUBMITTED_JOB, "{}")
    assert joined_address(given) == joined


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://head:10001", "ray job submit"),
        ("head", "neither auto nor host:port"),
        (":6379", "neither auto nor host:port"),
        ("head:http", "neither auto nor host:port"),
        ("head:99999", "neither auto nor host:port"),
        ("no-such-host.invalid:6379", "no Ray cluster answers there"),
    ],
)
def test_addresses_that_cannot_be_a_cluster(address: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        check_address(address)
    assert str(refusal.value).startswith(f"--address {address}: ")


def test_a_port_where_nobody_listens_is_told_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(ConfigError, match=r"no Ray cluster answers there.*ray start --head"):
            check_address(f"127.0.0.1:{taken.getsockname()[1]}")


def refusal_of(monkeypatch: pytest.MonkeyPatch, error: Exception) -> str:
    """What a user reads when ray.init raises an error."""

    def init(**options: object) -> None:
        raise error

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ConfigError) as refusal, ray_session("auto"):
        pass
    return str(refusal.value)


def test_a_machine_that_is_too_busy_for_ray_is_told_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**options: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because some of the raylet ..")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(TrainingError, match="Ray does not start within half a minute: other work"), ray_session():
        pass


def test_another_version_is_named_with_the_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError) as mismatch:
        check_version_info({"ray_version": "2.1.0", "python_version": "3.9.1"}, "node 10.0.0.1")

    message = refusal_of(monkeypatch, mismatch.value)

    ours = f"Ray {ray.__version__} and Python {'.'.join(map(str, sys.version_info[:3]))}"
    assert message == (
        f"--address auto: the cluster runs Ray 2.1.0 and Python 3.9.1, this environment {ours}; install the same "
        "versions on all machines (docs/cluster.md)."
    )


def test_a_missing_token_is_named_with_the_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal_of(monkeypatch, AuthenticationError("Token authentication is enabled but no token was found. "))

    assert "asks for its token (Token authentication is enabled but no token was found" in message
    assert "set RAY_AUTH_TOKEN" in message


def test_the_documented_cluster_is_one_that_ray_takes() -> None:
    cluster_yaml = yaml.safe_load((ROOT / "docs" / "cluster.yaml").read_text(encoding="utf-8"))
    validate_config(prepare_config(cluster_yaml))

    workers = cluster_yaml["available_node_types"]["gpu_worker"]
    assert workers["min_workers"] == workers["max_workers"]  # a search counts the machines when it starts


def test_the_documented_searches_can_be_typed() -> None:
    text = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"-m trainables\.search([^`\n]*)", text)
    complete = [shlex.split(command) for command in commands if ".." not in command]

    assert len(complete) == 4
    for words in complete:
        assert build_parser().parse_args(words).name == "first"


class LocalCluster:
    """Nodes 0 (the head) to 2 in a process of their own."""

    def __init__(self, caches: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parents[1] / "local_cluster.py"), str(caches), "3"],
            env=environment | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.caches = caches
        self.address = self._answer()

    def tell(self, command: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", uuid.uuid4().hex * 2)
        patch.delenv("RAY_ADDRESS", raising=False)
        nodes = LocalCluster(tmp_path_factory.mktemp("caches"))
        try:
            yield nodes
        finally:
            nodes.end()


def measured_rates(events: Path) -> dict[int, float]:
    """Clips a second of each epoch, from TensorBoard's records: length, checksum, content, checksum."""
    data, rates = events.read_bytes(), {}
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        event = Event.FromString(data[12 : 12 + length])
        for value in event.summary.value:
            if value.tag == "samples_per_s":
                rates[event.step] = value.simple_value
        data = data[16 + length :]
    return rates


def check_that_it_went_on(folder: Path, lost_after: int) -> None:
    """Epochs before the state were not trained again: what was measured in them is told a second time."""
    first, second = (measured_rates(path) for path in sorted(folder.glob("events.*")))
    assert second[1] == first[1]
    assert max(first) >= lost_after
    assert list(second) == list(range(1, EPOCHS + 1))


def lost_trial(output: str) -> str:
    (line,) = [line for line in output.splitlines() if "broke off and starts again" in line]
    assert "the actor's node was terminated unexpectedly" in line
    return line.split()[0]


def check_tables(run: Path, n_trials: int) -> None:
    trials, curves = pd.read_parquet(run / "trials.parquet"), pd.read_parquet(run / "curves.parquet")
    assert trials["status"].to_list() == ["complete"] * n_trials
    assert trials["number"].to_list() == list(range(n_trials))
    assert curves.groupby("trial_id")["epoch"].apply(list).to_list() == [list(range(1, EPOCHS + 1))] * n_trials
    assert list(run.rglob("state.*")) == []


@pytest.mark.slow
def test_workers_have_the_code_of_the_driver(cluster: LocalCluster) -> None:
    assert "/py_modules_files/" in cluster.tell("code")


@pytest.mark.slow
def test_every_machine_is_looked_at(cluster: LocalCluster, tiny_root: Path, tmp_path: Path) -> None:
    assert cluster.tell(f"check {tiny_root} {tmp_path / 'runs' / 'x'}") == "fine"
    assert cluster.tell(f"check {tiny_root} {tmp_path} file:///proc").startswith("--storage file:///proc: cannot be")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_search_survives_the_death_of_a_node(
    cluster: LocalCluster, start_search: Callable[..., Any], tiny_space: Path, tiny_root: Path, tmp_path: Path
) -> None:
    """Three nodes, a trial on each, in a folder that only its node has: another node has it from the storage."""
    storage = tmp_path / "bucket"
    search = start_search(
        *("--space", tiny_space, "--data", tiny_root, "--num-trials", "3", "--address", cluster.address, *LONG),
        *("--storage", storage.as_uri()),
    )
    search.wait_until(lambda: {(f"trial_000{n}", 3) for n in range(3)} <= search.epochs())
    assert list(tmp_path.glob("run/trials/*/*")) == []
    states = cluster.caches.glob("*/trials/*/*/state.pt")
    assert sorted(path.relative_to(cluster.caches).parts[0] for path in states) == ["node_0", "node_1", "node_2"]
    assert cluster.tell("kill 2") == "killed"
    assert search.process.wait(timeout=120) == 0

    check_tables(tmp_path / "run", n_trials=3)
    trials = tmp_path / "run" / "trials"
    check_that_it_went_on(trials / lost_trial(search.output), lost_after=3)
    for folder in trials.iterdir():
        assert load_model(folder).lineage.metrics["macro_auc"] > 0
        assert (folder / "oof.parquet").is_file()
    assert list(storage.rglob("*.pt")) == []
    assert list(cluster.caches.glob("node_[01]/trials/*/*")) == []
    assert "Raylet" not in search.output
    assert search.errors == ""
