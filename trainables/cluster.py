"""Starting Ray, or joining a cluster that runs."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sed_model.errors import ConfigError

QUIET_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",  # the dashboard's Train page
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # a report to Ray Train costs 0.3 s instead of 2 s
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the run folder has its own tables
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the recorder prints a line; the traceback is in the trial's error.txt
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune would take Ctrl-C for the end of the search, and go on to the ensemble
}
ALLOCATOR_ENVIRONMENT = {
    # Activations of tens of MB go back to the kernel after every layer otherwise, and come back page by page: training
    # tf_efficientnet_lite0 took 82 ms a clip of 10 s instead of 65, prediction 17 ms instead of 12 (bf16, one core).
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**26),
}
"""glibc reads these when a process starts: a local Ray hands them to its workers."""
NOISY_LOGGERS = (
    "ray._private.authentication.authentication_token_setup",  # the printed dashboard line says it
    "ray.tune.tune",  # "Trials did not complete": the recorder has said so of each
    "ray.tune.analysis.experiment_analysis",  # looks for the files of Tune's own loggers, which are off
)
OBJECT_STORE_BYTES = 300 * 2**20
"""Audio is memory-mapped, so little passes through the object store."""


@dataclass(frozen=True)
class ClusterInfo:
    """What the search may use."""

    cpus: float
    gpus: float
    dashboard: str


@contextmanager
def ray_session(address: str | None = None, dashboard: bool = True) -> Iterator[ClusterInfo]:
    """Ray for the length of the block: `address` names a running cluster (`auto`, `ray://host:10001`), None starts one.

    A Ray that this process had before stays as it is, and stays afterwards. The dashboard listens on loopback only.
    """
    prepare_environment()
    import ray

    if ray.is_initialized():
        yield _info("")
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if address is None:
        options |= {
            "include_dashboard": dashboard,
            "dashboard_host": "127.0.0.1",
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        context = ray.init(address=address or "local", **options)
    except (ConnectionError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"--address {address}: no Ray cluster answers there ({reason}); start one with `ray start --head`, "
            "or leave --address out for a local Ray."
        ) from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own would leave with status 15
    try:
        yield _info(getattr(context, "dashboard_url", None) or "")
    finally:
        ray.shutdown()


def prepare_environment() -> None:
    """What Ray prints in many lines, the commands say in one; Ctrl-C is theirs to handle; workers allocate fast."""
    for name, value in (QUIET_ENVIRONMENT | ALLOCATOR_ENVIRONMENT).items():
        os.environ.setdefault(name, value)
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _info(dashboard_url: str) -> ClusterInfo:
    import ray

    resources = ray.cluster_resources()
    dashboard = f"http://{dashboard_url}" if dashboard_url else ""
    return ClusterInfo(resources.get("CPU", 0), resources.get("GPU", 0), dashboard)
