"""What this machine has: processor, memory, disks, limits, GPUs, versions. Looks, and changes nothing that lasts."""

from __future__ import annotations

import importlib.metadata
import io
import os
import platform
import resource
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import soundfile
import torch
from packaging.requirements import Requirement

from sed_model.audio.audio_files import default_cache_home
from sed_model.core.errors import ConfigError
from sed_model.core.paths import check_folder
from trainables.keeping.run_contents import size_of
from trainables.machine.cgroups import available_bytes, memory_limit_bytes, quota_cores
from trainables.on_ray.ray_places import check_ray_folder, ray_folder

DASHBOARD_PORT = 8265
SHM = Path("/dev/shm")  # noqa: S108 - where Ray puts its object store
FORMATS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"),
           "mp3": ("MP3", "MPEG_LAYER_III")}  # fmt: skip
"""Suffix of recordings -> format and coding in libsndfile."""


@dataclass(frozen=True)
class Gpu:
    name: str
    memory_bytes: int


@dataclass(frozen=True)
class Place:
    """A folder that is written to; `problem` says why it cannot be, or nothing."""

    what: str
    path: Path
    free_bytes: int
    problem: str = ""


@dataclass(frozen=True)
class Package:
    """A package that is needed, the version that is there (None: it is not), and those that will do."""

    name: str
    version: str | None
    wanted: str
    fits: bool


@dataclass(frozen=True)
class Machine:
    """All that `advice` judges.

    Attributes:
        cores: of the machine.
        allowed_cores: those that this process may run on.
        quota_cores: how many cores' time its container may use; None: all.
        memory_bytes: of the machine, or the limit of the container where that is lower.
        shm_bytes: free in /dev/shm; None: there is none.
        open_files: the most files that a process may open, and the most that it may raise that to.
        driver: version of NVIDIA's driver; None: there is none.
        cuda: what PyTorch was built for; None: for CPUs only.
        ray_problem: why Ray has no place for its sockets, or nothing.
    """

    cpu: str
    cpuinfo: str
    cores: int
    allowed_cores: int
    quota_cores: float | None
    memory_bytes: int
    available_bytes: int
    shm_bytes: int | None
    open_files: tuple[int, int]
    places: tuple[Place, ...]
    cache_bytes: int
    gpus: tuple[Gpu, ...]
    driver: str | None
    cuda: str | None
    dashboard_is_free: bool
    ray_problem: str
    packages: tuple[Package, ...]
    unread: tuple[str, ...]


def look(out: Path) -> Machine:
    """This machine; `out` is where run folders go."""
    total_bytes = psutil.virtual_memory().total
    cpuinfo = _read("/proc/cpuinfo")
    cache = default_cache_home()
    return Machine(
        cpu=_cpu_name(cpuinfo),
        cpuinfo=cpuinfo,
        cores=os.cpu_count() or 1,
        allowed_cores=len(os.sched_getaffinity(0)),
        quota_cores=quota_cores(),
        memory_bytes=min(memory_limit_bytes() or total_bytes, total_bytes),
        available_bytes=available_bytes(),
        shm_bytes=shutil.disk_usage(SHM).free if SHM.is_dir() else None,
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE),
        places=(_place("runs", out), _place("audio cache", cache), _place("Ray's files", ray_folder()[1])),
        cache_bytes=size_of(cache),
        gpus=_gpus(),
        driver=_driver(),
        cuda=torch.version.cuda,
        dashboard_is_free=_is_free(DASHBOARD_PORT),
        ray_problem=_ray_problem(),
        packages=packages(),
        unread=tuple(name for name in FORMATS if not _is_read(name)),
    )


def packages(of: str = "sed-search") -> tuple[Package, ...]:
    """What a package needs, extras aside, against what is there."""
    needed = map(Requirement, importlib.metadata.requires(of) or ())
    plain = [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    return tuple(_package(one) for one in plain)


def _package(needed: Requirement) -> Package:
    try:
        version = importlib.metadata.version(needed.name)
    except importlib.metadata.PackageNotFoundError:
        return Package(needed.name, None, str(needed.specifier), False)
    return Package(needed.name, version, str(needed.specifier), needed.specifier.contains(version, prereleases=True))


def _place(what: str, path: Path) -> Place:
    there = next(one for one in (path, *path.parents) if one.exists())
    try:
        check_folder(path, what)
    except ConfigError as error:
        return Place(what, path, shutil.disk_usage(there).free, str(error))
    return Place(what, path, shutil.disk_usage(there).free)


def _gpus() -> tuple[Gpu, ...]:
    found = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    return tuple(Gpu(one.name, one.total_memory) for one in found)


def _driver() -> str | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    asked = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(answer.split()), None)


def _is_free(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) != 0


def _ray_problem() -> str:
    try:
        check_ray_folder()
    except ConfigError as error:
        return str(error)
    return ""


def _is_read(suffix: str) -> bool:
    """Whether libsndfile reads what it has written itself: a tenth of a second of silence."""
    container, coding = FORMATS[suffix]
    try:
        buffer = io.BytesIO()
        soundfile.write(buffer, np.zeros(4_800, np.float32), 48_000, format=container, subtype=coding)
        buffer.seek(0)
        return len(soundfile.read(buffer)[0]) > 0
    except (soundfile.SoundFileError, ValueError):
        return False


def _cpu_name(cpuinfo: str) -> str:
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == "model name"), platform.machine())


def _read(path: str) -> str:
    file = Path(path)
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
