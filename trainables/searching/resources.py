"""What a trial reserves, and how many of them a cluster holds at a time, by its cores, GPUs and memory."""

from __future__ import annotations

from sed_model.core.errors import ConfigError
from sed_model.core.texts import gigabytes
from trainables.machine.cgroups import available_bytes
from trainables.on_ray.cluster import ClusterInfo, Node
from trainables.trials.trial import SearchJob

MEMORY_OF_A_DRIVER = 200 * 2**20
"""Tune refuses a trial that reserves nothing."""
SMALLER = "lower optim.batch_size or data.window_s, or choose a smaller model.backbone"
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


def free_bytes(node: Node) -> float:
    return available_bytes() if node.memory_bytes is None else node.memory_bytes


def memory_slots(job: SearchJob, node: Node) -> int:
    """As `slots`, of those that find memory too; 0 where there is less than the estimate of one."""
    found = slots(job, node)
    return min(found, int(free_bytes(node) // job.trial_bytes)) if job.trial_bytes else found


def memory_room(job: SearchJob, cluster: ClusterInfo) -> int:
    """As `room`, of those that find memory too."""
    return sum(memory_slots(job, node) for node in cluster.machines) // max(1, job.workers_per_trial)


def at_a_time(job: SearchJob, cluster: ClusterInfo, max_concurrent: int | None, n_trials: int) -> int:
    """How many of `n_trials` run at once: as --max-concurrent says, else as many as find memory, and at least one."""
    most = min(room(job, cluster), max_concurrent or n_trials, n_trials)
    return most if max_concurrent else min(most, max(1, memory_room(job, cluster)))


def memory_text(job: SearchJob, cluster: ClusterInfo, max_concurrent: int | None, n_trials: int) -> str:
    """What the trials that run at once take of the memory; and where it is short, what to do."""
    if not job.trial_bytes:
        return "not estimated for trials with GPUs"
    n_at_once = at_a_time(job, cluster, max_concurrent, n_trials)
    a_trial_bytes = job.trial_bytes * max(1, job.workers_per_trial)
    free = gigabytes(sum(map(free_bytes, cluster.machines)))
    need, short = gigabytes(n_at_once * a_trial_bytes), _shortage(job, cluster, max_concurrent, n_trials)
    return f"a trial takes about {gigabytes(a_trial_bytes)}; {n_at_once} at once need {need} of {free} free{short}"


def _shortage(job: SearchJob, cluster: ClusterInfo, max_concurrent: int | None, n_trials: int) -> str:
    n_wanted, n_that_fit = min(room(job, cluster), max_concurrent or n_trials, n_trials), memory_room(job, cluster)
    if n_that_fit >= n_wanted:
        return ""
    if n_that_fit < 1:
        return f": perhaps too little; {SMALLER}"
    if max_concurrent:
        return f": too little; --max-concurrent {n_that_fit} fits"
    return (
        f", too little for {n_wanted}, which there are cores for; {SMALLER}, or insist with --max-concurrent {n_wanted}"
    )


def memory_note(job: SearchJob, cluster: ClusterInfo, max_concurrent: int | None, n_trials: int) -> str:
    """A note where memory holds fewer trials than would run otherwise; else ""."""
    is_short = _shortage(job, cluster, max_concurrent, n_trials)
    return f"note: memory: {memory_text(job, cluster, max_concurrent, n_trials)}" if is_short else ""


def trial_resources(job: SearchJob, memory_bytes: int = 0) -> dict[str, float]:
    """What Tune reserves for a trial. A trial that only drives Ray Train workers must not take the CPUs they need."""
    if job.workers_per_trial > 0:
        return {"CPU": 0, "memory": MEMORY_OF_A_DRIVER}
    own = {"CPU": job.cpus_per_trial, "GPU": job.gpus_per_trial, "memory": memory_bytes}
    return {name: amount for name, amount in own.items() if amount}


def memory_to_reserve(job: SearchJob, cluster: ClusterInfo, max_concurrent: int | None) -> int:
    """What a trial reserves of Ray's memory, where there are several machines: Ray may put many trials on one of them.

    No more than the largest has: the trial would wait for ever. Nothing where a number of trials is asked for.
    """
    if max_concurrent or len(cluster.machines) < 2:
        return 0
    return int(min(job.trial_bytes, max(map(free_bytes, cluster.machines))))
