"""Starting Ray, or joining a cluster that runs."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import chdir, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from sed_model.core.errors import ConfigError, TrainingError
from trainables.on_ray.ray_places import check_ray_folder, token_for_this_process

QUIET_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",  # the dashboard's Train page
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # a report to Ray Train costs 0.3 s instead of 2 s
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the run folder has its own tables
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_WARN_THRESHOLD_S": "30",  # tables of a thousand trials take a second to write: no bottleneck, as Tune says
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the recorder prints a line; the traceback is in the trial's error.txt
    # Of a dead node the recorder tells which trial goes on; trials in Ray Train have many actors without CPUs.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "Raylet is terminated|has been marked dead|worker processes have been started",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # or trials that reserve no GPU would all compute on the first one
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune would take Ctrl-C for the end of the search, and go on to the ensemble
}
ALLOCATOR_ENVIRONMENT = {
    # Activations of tens of MB go back to the kernel after every layer otherwise, and come back page by page: training
    # tf_efficientnet_lite0 took 82 ms a clip of 10 s instead of 65, prediction 17 ms instead of 12 (bf16, one core).
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**26),
    # Ray trains in a thread that is not the first: the arenas of such threads give their heaps back all the same.
    "MALLOC_ARENA_MAX": "1",
}
"""glibc reads these when a process starts: Ray hands them to its workers."""
PACKAGES = ("sed_model", "trainables")
"""What workers import. The nodes of a cluster get the driver's code, whatever is installed there."""
SLOW_START = (
    "Ray does not start within half a minute: other work keeps this machine busy, or its memory is short; wait for "
    "that to end (python -m trainables.doctor shows what is free), and type the same command again."
)
ANSWER_S = 5.0
SUBMITTED_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets it for the command that `ray job submit` starts."""
NOISY_LOGGERS = (
    "ray._private.authentication.authentication_token_setup",  # the printed dashboard line says it
    "ray.tune.tune",  # "Trials did not complete": the recorder has said so of each
    "ray.tune.analysis.experiment_analysis",  # looks for the files of Tune's own loggers, which are off
)
OBJECT_STORE_BYTES = 300 * 2**20
"""Audio is memory-mapped, so little passes through the object store."""


@dataclass(frozen=True)
class Node:
    """A machine of the cluster; `name` is for people.

    `memory_bytes` is what was free when Ray was started there; None: Ray has not looked.
    """

    id: str
    name: str
    cpus: float
    gpus: float
    memory_bytes: float | None = None


@dataclass(frozen=True)
class ClusterInfo:
    """What the search may use. Without `nodes` it is one machine."""

    cpus: float
    gpus: float
    dashboard: str
    nodes: tuple[Node, ...] = ()

    @property
    def machines(self) -> tuple[Node, ...]:
        return self.nodes or (Node("", "this machine", self.cpus, self.gpus),)


@contextmanager
def ray_session(address: str | None = None, dashboard: bool = True) -> Iterator[ClusterInfo]:
    """Ray for the length of the block: `address` names a running cluster (`auto`, `host:6379`), None starts one.

    A cluster's workers get this code and environment through a runtime environment. A Ray that this process had before
    stays as it is, and stays afterwards. A local dashboard listens on loopback only.

    Raises:
        ConfigError: no cluster answers at the address, or it cannot be used from here; or a local one has no place for
            its sockets.
        TrainingError: a local Ray does not start on a machine that is busy.
    """
    prepare_environment()
    import ray

    address = joined_address(address)
    if ray.is_initialized():
        yield _info("")
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if address is None:
        check_ray_folder()
        if note := token_for_this_process():
            print(note, flush=True)
        options |= {
            "address": "local",
            "include_dashboard": dashboard,
            "dashboard_host": "127.0.0.1",
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    else:
        check_address(address)
        options |= {"address": address, "runtime_env": runtime_environment()}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        with working_elsewhere() if address else nullcontext():
            context = ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        if address is None:
            raise
        raise ConfigError(_connection_problem(address, str(error).strip())) from None
    except Exception as error:  # Ray raises nothing more exact where its own node takes longer than it waits
        if "timed out during startup" not in str(error):
            raise
        raise TrainingError(SLOW_START) from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own would leave with status 15
    try:
        yield _info(getattr(context, "dashboard_url", None) or "")
    finally:
        ray.shutdown()


def own_raylets() -> list[int]:
    """Ids of the processes that run the nodes of a Ray that this process has started; none where it joined one."""
    processes = psutil.process_iter(["name", "ppid"])
    return [one.pid for one in processes if one.info == {"name": "raylet", "ppid": os.getpid()}]


def has_ended(process_id: int) -> bool:
    """Whether a process has ended, though nobody may have asked for its status yet."""
    try:
        return psutil.Process(process_id).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def machine_for(address: str | None) -> ClusterInfo | None:
    """The most that trials could have, of this process's Ray or one started here; None where a cluster is joined.

    Raises:
        ConfigError: one started here has no place for its sockets.
    """
    import ray
    import torch

    if ray.is_initialized():
        return _info("")
    if joined_address(address) is not None:
        return None
    check_ray_folder()
    return ClusterInfo(os.cpu_count() or 1, torch.cuda.device_count(), "")


def joined_address(address: str | None) -> str | None:
    """The address to use: a command that `ray job submit` started belongs to the cluster that it was submitted to."""
    return "auto" if address is None and SUBMITTED_JOB in os.environ else address


def check_address(address: str) -> None:
    """Whether the address can be one of a cluster: Ray itself would look for it for minutes.

    Raises:
        ConfigError: it is that of Ray's client (tables would be written, and lines lost, on the head node), is
            malformed, or nobody answers.
    """
    if address.startswith("ray://"):
        raise ConfigError(
            f"--address {address}: a search runs on a machine of the cluster, not through Ray's client; start it there "
            "with --address auto, or hand it over with `ray job submit` (docs/cluster.md)."
        )
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal() and int(port) < 2**16):
        raise ConfigError(f"--address {address}: is neither auto nor host:port; the head's port is 6379 by default.")
    try:
        socket.create_connection((host, int(port)), ANSWER_S).close()
    except OSError as error:
        raise ConfigError(_connection_problem(address, error.strerror or str(error))) from None


@contextmanager
def working_elsewhere() -> Iterator[None]:
    """An empty working directory for the while: Ray has workers look for code where the driver was, before all else.

    Where the same path of another machine has another version of this project, that would be taken.
    """
    with TemporaryDirectory() as folder, chdir(folder):
        yield


def runtime_environment() -> dict[str, Any]:
    """What the workers of a cluster need from this machine: the code, and variables that are read when they start."""
    specs = [find_spec(name) for name in PACKAGES]
    return {
        "py_modules": [str(Path(spec.origin).parent) for spec in specs if spec is not None and spec.origin],
        "excludes": ["**/__pycache__/**", "*.pyc"],
        "env_vars": {name: os.environ[name] for name in (*QUIET_ENVIRONMENT, *ALLOCATOR_ENVIRONMENT)},
    }


def _connection_problem(address: str, message: str) -> str:
    versions = re.findall(r"^\s*(Ray|Python): (\S+)$", message, re.MULTILINE)
    if message.startswith("Version mismatch") and len(versions) == 4:
        theirs, ours = (" and ".join(map(" ".join, pair)) for pair in (versions[:2], versions[2:]))
        return (
            f"--address {address}: the cluster runs {theirs}, this environment {ours}; install the same versions on "
            "all machines (docs/cluster.md)."
        )
    reason = message.splitlines()[0].partition(". ")[0] if message else "no reason given"
    if "authentication" in message.lower() or "token" in message.lower():
        return (
            f"--address {address}: the cluster asks for its token ({reason}); copy the head's ~/.ray/auth_token, or "
            "set RAY_AUTH_TOKEN (docs/cluster.md)."
        )
    return (
        f"--address {address}: no Ray cluster answers there, or it has another token ({reason}); start one with "
        "`ray start --head`, or leave --address out for a local Ray (docs/cluster.md)."
    )


def prepare_environment() -> None:
    """What Ray prints in many lines, the commands say in one; Ctrl-C is theirs to handle; workers allocate fast."""
    for name, value in (QUIET_ENVIRONMENT | ALLOCATOR_ENVIRONMENT).items():
        os.environ.setdefault(name, value)
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def cluster_nodes() -> tuple[Node, ...]:
    """The machines that are alive, in the order of their names. Ray has to run."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    nodes = (
        Node(
            node["NodeID"],
            f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})",
            node["Resources"].get("CPU", 0),
            node["Resources"].get("GPU", 0),
            node["Resources"].get("memory"),
        )
        for node in alive
    )
    return tuple(sorted(nodes, key=lambda node: (node.name, node.id)))


def _info(dashboard_url: str) -> ClusterInfo:
    nodes = cluster_nodes()
    dashboard = f"http://{dashboard_url}" if dashboard_url else ""
    return ClusterInfo(sum(node.cpus for node in nodes), sum(node.gpus for node in nodes), dashboard, nodes)
