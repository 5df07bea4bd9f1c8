"""What a machine has -> a line for each thing: fine as it is, better set otherwise, or certain to fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sed_model.config.training import Optim
from sed_model.core.texts import counted, gigabytes
from sed_model.model.devices import choose_runtime, cpu_is_faster_in_bf16
from trainables.machine.facts import DASHBOARD_PORT, FORMATS, SHM, Machine, Place
from trainables.on_ray.cluster import OBJECT_STORE_BYTES
from trainables.on_ray.stopping import LEAST_FREE_BYTES

Level = Literal["ok", "set", "fails"]
TRIAL_BYTES = 2.5e9
"""Of a trial on CPUs with steps of 8 clips of 10 s, without what trials share: 1.5 GB with tf_efficientnet_lite0 and
1.8 GB with seresnext26t_32x4d in bf16, 2.1 GB with the former in fp32 (30 November 2026); larger batches take more."""
FEW_OPEN_FILES = 4_096
"""Fewer make Ray complain; it asks for 8192."""
LOW_DISK_BYTES = 5e9
SPEED_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
NAMED_PACKAGES = ("torch", "ray", "optuna", "timm")


@dataclass(frozen=True)
class Finding:
    """A line about one thing; `repair` is what to set, as a command where there is one."""

    level: Level
    what: str
    text: str
    repair: str = ""


def findings(machine: Machine) -> list[Finding]:
    """All lines, in the order in which people look for them."""
    checks = (
        versions,
        processor,
        precision,
        cores,
        memory,
        shared_memory,
        open_files,
        gpu,
        decoders,
        dashboard,
        sockets,
    )
    found = [check(machine) for check in checks]
    return [*found, *(disk(place) for place in machine.places), cache(machine)]


def versions(machine: Machine) -> Finding:
    missing = [one.name for one in machine.packages if one.version is None]
    other = [one for one in machine.packages if one.version is not None and not one.fits]
    if missing:
        return Finding("fails", "versions", f"not installed: {', '.join(missing)}", "make setup")
    if other:
        text = "; ".join(f"{one.name} {one.version} is not {one.wanted}" for one in other)
        return Finding("set", "versions", f"{text}: not what this release was tested with", "make setup")
    named = ", ".join(
        f"{one.name} {one.version}" for one in machine.packages if one.name.partition("[")[0] in NAMED_PACKAGES
    )
    return Finding("ok", "versions", named)


def processor(machine: Machine) -> Finding:
    flags = set(machine.cpuinfo.split())
    fast = [flag for flag in SPEED_FLAGS if flag in flags]
    return Finding("ok", "processor", f"{machine.cpu}; {', '.join(fast) or 'none of ' + ', '.join(SPEED_FLAGS)}")


def precision(machine: Machine, max_isa: str | None = None) -> Finding:
    """Args:
    max_isa: as in `cpu_is_faster_in_bf16`.
    """
    if machine.gpus:
        dtype = choose_runtime(Optim()).autocast_dtype
        return Finding("ok", "precision", f"optim.precision=auto takes {_name(dtype)} on the GPU")
    if cpu_is_faster_in_bf16(machine.cpuinfo, max_isa):
        return Finding("ok", "precision", "optim.precision=auto takes bf16: the processor is faster in it")
    if cpu_is_faster_in_bf16(machine.cpuinfo, ""):
        text = "optim.precision=auto takes fp32: ONEDNN_MAX_CPU_ISA hides the processor's bf16, which is faster"
        return Finding("set", "precision", text, "unset ONEDNN_MAX_CPU_ISA")
    return Finding("ok", "precision", "optim.precision=auto takes fp32: the processor is slower in bf16")


def cores(machine: Machine) -> Finding:
    """Ray minds the quota of a container, and not the cores that taskset allows."""
    quota = machine.quota_cores
    limits = "" if quota is None else f", a container's quota of {quota:g}"
    usable = usable_cores(machine)
    text = f"{counted(machine.cores, 'core')}{limits}"
    if quota is not None and quota < 1:
        return Finding("set", "cores", f"{text}: less than one, everything takes longer", "docker run --cpus 2 ..")
    if machine.allowed_cores < min(machine.cores, quota or machine.cores):
        repair = f"python -m trainables.search .. --max-concurrent {usable}"
        return Finding(
            "set", "cores", f"{text}; this process may run on {machine.allowed_cores}, which Ray does not see", repair
        )
    return Finding("ok", "cores", f"{text}: {counted(usable, 'trial')} of one core at a time")


def usable_cores(machine: Machine) -> int:
    """Whole cores, at least one."""
    return max(1, int(min(machine.allowed_cores, machine.quota_cores or machine.allowed_cores)))


def memory(machine: Machine) -> Finding:
    """By the trials that the cores have room for."""
    wanted, room = usable_cores(machine), int(machine.available_bytes // TRIAL_BYTES)
    free = f"{gigabytes(machine.memory_bytes)}, {gigabytes(machine.available_bytes)} of it free"
    about = f"about {gigabytes(TRIAL_BYTES)} on a CPU, of a large one several times that"
    text = f"{free}; a trial of a small model takes {about}"
    if room < 1 and not machine.gpus:
        return Finding(
            "set",
            "memory",
            f"{text}: perhaps too little for one",
            "--set model.backbone=tf_efficientnet_lite0 --set data.window_s=5 --set optim.batch_size=8",
        )
    if room < wanted and not machine.gpus:
        return Finding(
            "set",
            "memory",
            f"{text}: room for {room}, cores for {wanted}",
            f"python -m trainables.search .. --max-concurrent {room}",
        )
    return Finding("ok", "memory", text)


def shared_memory(machine: Machine) -> Finding:
    what, needed = str(SHM), f"Ray's object store wants {OBJECT_STORE_BYTES / 2**20:.0f} MB"
    if machine.shm_bytes is None:
        return Finding("ok", what, f"there is none; {needed}, and takes its temporary folder")
    if machine.shm_bytes < OBJECT_STORE_BYTES:
        text = f"{gigabytes(machine.shm_bytes)} free; {needed}, and would take the slower temporary folder"
        return Finding("set", what, text, "docker run --shm-size 1g ..")
    return Finding("ok", what, f"{gigabytes(machine.shm_bytes)} free; {needed}")


def open_files(machine: Machine) -> Finding:
    """Ray raises the limit of its processes to the most that it may."""
    soft, hard = machine.open_files
    if 0 <= hard < FEW_OPEN_FILES:
        text = f"a process may open {soft}, and raise that to {hard}; Ray asks for 8192"
        return Finding("set", "open files", text, "ulimit -n 8192 (docker run --ulimit nofile=8192:8192 ..)")
    return Finding("ok", "open files", f"{soft} a process, which Ray may raise to {'any number' if hard < 0 else hard}")


def gpu(machine: Machine) -> Finding:
    if machine.gpus:
        named = ", ".join(f"{one.name} with {gigabytes(one.memory_bytes)}" for one in machine.gpus)
        built = f"driver {machine.driver or 'unknown'}, PyTorch for CUDA {machine.cuda}"
        text = f"{named}; {built}; trials use it with --gpus-per-trial 1"
        return Finding("ok", "GPU", text)
    if machine.driver is None:
        return Finding("ok", "GPU", "none; trials run on the processor (docs/howto/cpu.md)")
    if machine.cuda is None:
        text = f"there is a driver ({machine.driver}), but this PyTorch is built for processors only"
        return Finding(
            "set",
            "GPU",
            text,
            "python -m uv pip install --torch-backend auto --reinstall-package torch -c constraints.txt torch",
        )
    text = f"there is a driver ({machine.driver}), but PyTorch, built for CUDA {machine.cuda}, sees no GPU"
    return Finding(
        "set", "GPU", text, "a newer driver; in a container: docker run --gpus all ..; CUDA_VISIBLE_DEVICES unset"
    )


def decoders(machine: Machine) -> Finding:
    if machine.unread:
        text = f"libsndfile does not read {', '.join(machine.unread)}: an old one hides that of soundfile"
        level: Level = "set" if {"mp3", "opus"}.issuperset(machine.unread) else "fails"
        return Finding(level, "decoders", text, "LD_LIBRARY_PATH unset, or without the folder of that libsndfile")
    return Finding("ok", "decoders", f"libsndfile reads {', '.join(FORMATS)}")


def dashboard(machine: Machine) -> Finding:
    if machine.dashboard_is_free:
        return Finding("ok", "dashboard", f"port {DASHBOARD_PORT} of 127.0.0.1 is free")
    text = f"port {DASHBOARD_PORT} is taken, perhaps by another Ray; the next free one is used, a search prints it"
    return Finding("ok", "dashboard", text)


def sockets(machine: Machine) -> Finding:
    if machine.ray_problem:
        return Finding("fails", "sockets", machine.ray_problem)
    return Finding("ok", "sockets", "Ray has a place for them")


def disk(place: Place) -> Finding:
    text = f"{place.path}: {gigabytes(place.free_bytes)} free"
    if place.problem:
        return Finding("fails", place.what, place.problem)
    if place.free_bytes < LEAST_FREE_BYTES:
        return Finding("fails", place.what, f"{text}: the disk is full", "make room")
    if place.free_bytes < LOW_DISK_BYTES:
        return Finding(
            "set", place.what, f"{text}: little for models and tables", "make room (python -m trainables.runs prune)"
        )
    return Finding("ok", place.what, text)


def cache(machine: Machine) -> Finding:
    place = next(place.path for place in machine.places if place.what == "audio cache")
    return Finding("ok", "cache size", f"{gigabytes(machine.cache_bytes)}; {place} can be removed, and is made again")


def data(n_recordings: int, need_bytes: int, place: Place) -> Finding:
    """Of decoded recordings, which the cache holds.

    Args:
        need_bytes: with what the disk is to have left.
    """
    text = f"{counted(n_recordings, 'recording')}, decoded {gigabytes(need_bytes)} in {place.path}"
    if need_bytes > place.free_bytes:
        return Finding(
            "fails",
            "data",
            f"{text}, which has {gigabytes(place.free_bytes)} free (unless they are in it already)",
            "SED_CACHE_DIR=DIR, on a larger disk; or lower data.max_recording_s",
        )
    return Finding("ok", "data", text)


def _name(dtype: object) -> str:
    return {"torch.bfloat16": "bf16", "torch.float16": "fp16"}.get(str(dtype), "fp32")


def told(found: Sequence[Finding]) -> list[str]:
    """The findings as lines, what to set below each, and the sum."""
    lines = []
    for one in found:
        lines.append(f"{one.level:<6}{one.what:<12} {one.text}")
        if one.repair:
            lines.append(f"{'':<18} -> {one.repair}")
    n_set, n_fails = (sum(one.level == level for one in found) for level in ("set", "fails"))
    if n_fails:
        return [*lines, "", f"{counted(n_fails, 'thing')} will fail, {n_set} to set"]
    return [*lines, "", f"{counted(n_set, 'thing')} to set" if n_set else "nothing to set"]
