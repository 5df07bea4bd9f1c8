"""What a trial reserves, and how many of them a cluster holds at a time."""

from __future__ import annotations

from sed_model.core.errors import ConfigError
from trainables.on_ray.cluster import ClusterInfo, Node
from trainables.trials.trial import SearchJob

MEMORY_OF_A_DRIVER = 200 * 2**20
"""Tune refuses a trial that reserves nothing."""
ROUNDING = 1e-9
"""Three times a third is a whole GPU."""


def check_room(job: SearchJob, cluster: ClusterInfo) -> None:
    """Raise ConfigError unless the cluster has room for one trial, and its workers can share what they get."""
    if job.workers_per_trial > 1 and 0 < job.gpus_per_trial < 1:
        raise ConfigError(
            f"--gpus-per-trial {job.gpus_per_trial:g} with --workers-per-trial {job.workers_per_trial}: NCCL joins no "
            "two workers on one GPU; give each worker a whole GPU, or each trial one worker."
        )
    if room(job, cluster) < 1:
        workers = f"--workers-per-trial {job.workers_per_trial} with " if job.workers_per_trial > 1 else "a trial with "
        place = "the cluster" if cluster.nodes else "this machine"
        machines = f" on {len(cluster.machines)} machines" if len(cluster.machines) > 1 else ""
        repair = "lower --cpus-per-trial, --gpus-per-trial or --workers-per-trial."
        if job.gpus_per_trial and not cluster.gpus:
            repair = "leave --gpus-per-trial out, or look with nvidia-smi why no GPU is found."
        raise ConfigError(
            f"{workers}{job.cpus_per_trial} CPUs and {job.gpus_per_trial:g} GPUs does not fit {place}, which has "
            f"{cluster.cpus:g} CPUs and {cluster.gpus:g} GPUs{machines}; {repair}"
        )


def unused_gpus(job: SearchJob, cluster: ClusterInfo) -> str:
    """A note where the cluster has GPUs and trials ask for none; else ""."""
    if job.gpus_per_trial or not cluster.gpus:
        return ""
    return (
        f"note: there are {cluster.gpus:g} GPUs, and trials will use none of them; --gpus-per-trial 1 gives a trial a "
        "whole GPU, --gpus-per-trial 0.25 puts four trials on one"
    )


def room(job: SearchJob, cluster: ClusterInfo) -> int:
    """How many trials the cluster holds at a time. A trial's workers may be on several machines, each on one."""
    return sum(slots(job, node) for node in cluster.machines) // max(1, job.workers_per_trial)


def slots(job: SearchJob, node: Node) -> int:
    """How many trials, or workers of trials, one machine holds."""
    trials = int(node.cpus // job.cpus_per_trial)
    if not job.gpus_per_trial:
        return trials
    if job.gpus_per_trial < 1:
        return min(trials, int(node.gpus) * int(1 / job.gpus_per_trial + ROUNDING))  # a share is of one GPU
    return min(trials, int(node.gpus // job.gpus_per_trial))


def trial_resources(job: SearchJob) -> dict[str, float]:
    """What Tune reserves for a trial. A trial that only drives Ray Train workers must not take the CPUs they need."""
    if job.workers_per_trial > 0:
        return {"CPU": 0, "memory": MEMORY_OF_A_DRIVER}
    return {"CPU": job.cpus_per_trial} | ({"GPU": job.gpus_per_trial} if job.gpus_per_trial else {})
