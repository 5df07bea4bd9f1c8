"""What a trial reserves, and how many of them a cluster holds at a time."""

from __future__ import annotations

from sed_model.errors import ConfigError
from trainables.cluster import ClusterInfo
from trainables.trial import SearchJob

MEMORY_OF_A_DRIVER = 200 * 2**20
"""Tune refuses a trial that reserves nothing."""


def check_room(job: SearchJob, cluster: ClusterInfo) -> None:
    """Raise ConfigError unless the cluster has room for one trial."""
    if room(job, cluster) < 1:
        workers = f"--workers-per-trial {job.workers_per_trial} with " if job.workers_per_trial > 1 else "a trial with "
        raise ConfigError(
            f"{workers}{job.cpus_per_trial} CPUs and {job.gpus_per_trial:g} GPUs does not fit the cluster, which has "
            f"{cluster.cpus:g} and {cluster.gpus:g}; lower --cpus-per-trial, --gpus-per-trial or --workers-per-trial."
        )


def room(job: SearchJob, cluster: ClusterInfo) -> int:
    """How many trials the cluster holds at a time."""
    workers = max(1, job.workers_per_trial)
    trials = int(cluster.cpus // (job.cpus_per_trial * workers))
    if job.gpus_per_trial:
        trials = min(trials, int(cluster.gpus // (job.gpus_per_trial * workers)))
    return trials


def trial_resources(job: SearchJob) -> dict[str, float]:
    """What Tune reserves for a trial. A trial that only drives Ray Train workers must not take the CPUs they need."""
    if job.workers_per_trial > 0:
        return {"CPU": 0, "memory": MEMORY_OF_A_DRIVER}
    return {"CPU": job.cpus_per_trial} | ({"GPU": job.gpus_per_trial} if job.gpus_per_trial else {})
