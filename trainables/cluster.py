"""Starting Ray, or joining a cluster that runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

QUIET_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",  # the dashboard's Train page
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # a report to Ray Train costs 0.3 s instead of 2 s
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the run folder has its own tables
    "RAY_AIR_NEW_OUTPUT": "0",
}
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
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray  # after the environment is set: Ray reads it on import

    if ray.is_initialized():
        yield _info("")
        return
    # It warns of what the printed dashboard line says: a local cluster asks for a token.
    logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if address is None:
        options |= {
            "include_dashboard": dashboard,
            "dashboard_host": "127.0.0.1",
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    context = ray.init(address=address or "local", **options)
    try:
        yield _info(getattr(context, "dashboard_url", None) or "")
    finally:
        ray.shutdown()


def _info(dashboard_url: str) -> ClusterInfo:
    import ray

    resources = ray.cluster_resources()
    dashboard = f"http://{dashboard_url}" if dashboard_url else ""
    return ClusterInfo(resources.get("CPU", 0), resources.get("GPU", 0), dashboard)
