"""Each line about a machine, with limits made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from trainables.machine import advice
from trainables.machine.advice import Finding
from trainables.machine.facts import Gpu, Machine, Package, Place

GOOD = Machine(
    cpu="EPYC",
    cpuinfo="vendor_id : AuthenticAMD flags : avx2 avx512f avx512_bf16",
    cores=8,
    allowed_cores=8,
    quota_cores=None,
    memory_bytes=64 * 10**9,
    available_bytes=60 * 10**9,
    shm_bytes=10**10,
    open_files=(1024, 1_048_576),
    places=(Place("runs", Path("runs"), 10**12), Place("audio cache", Path("cache"), 10**12)),
    cache_bytes=10**9,
    gpus=(),
    driver=None,
    cuda=None,
    dashboard_is_free=True,
    ray_problem="",
    packages=(Package("torch", "2.11.0", ">=2.11,<2.12", True), Package("numpy", "2.4", ">=2", True)),
    unread=(),
)


def test_a_good_machine_has_nothing_to_set() -> None:
    found = advice.findings(GOOD)
    assert {one.level for one in found} == {"ok"}
    assert advice.told(found)[-1] == "nothing to set"


@pytest.mark.parametrize(
    ("check", "changes", "level", "words"),
    [
        ("versions", {"packages": (Package("timm", None, ">=1", False),)}, "fails", "not installed: timm"),
        ("versions", {"packages": (Package("ray", "2.61", "<2.61", False),)}, "set", "ray 2.61 is not <2.61"),
        ("versions", {}, "ok", "torch 2.11.0"),
        ("processor", {"cpuinfo": "flags : sse4_1"}, "ok", "EPYC; none of avx2"),
        ("processor", {}, "ok", "EPYC; avx2, avx512f, avx512_bf16"),
        ("precision", {}, "ok", "auto takes bf16"),
        ("precision", {"cpuinfo": "flags : avx2"}, "ok", "auto takes fp32: the processor is slower in bf16"),
        ("cores", {"quota_cores": 2.5}, "ok", "8 cores, a container's quota of 2.5: 2 trials"),
        ("cores", {"quota_cores": 0.5}, "set", "quota of 0.5: less than one"),
        ("cores", {"allowed_cores": 2}, "set", "may run on 2, which Ray does not see"),
        ("cores", {"allowed_cores": 2, "quota_cores": 2.0}, "ok", "quota of 2: 2 trials"),
        ("memory", {"available_bytes": 7 * 10**9, "cores": 2, "allowed_cores": 2}, "ok", "7 GB of it free"),
        ("memory", {"available_bytes": 7 * 10**9}, "set", "room for 2, cores for 8"),
        ("memory", {"available_bytes": 10**9}, "set", "too little for one"),
        ("memory", {"available_bytes": 10**9, "gpus": (Gpu("H200", 10**11),)}, "ok", "1 GB of it free"),
        ("shared_memory", {"shm_bytes": 64 * 2**20}, "set", "0.067 GB free; Ray's object store wants 300 MB"),
        ("shared_memory", {"shm_bytes": None}, "ok", "there is none"),
        ("open_files", {"open_files": (1024, 4000)}, "set", "may open 1024, and raise that to 4000"),
        ("open_files", {"open_files": (1024, -1)}, "ok", "any number"),
        ("gpu", {}, "ok", "none; trials run on the processor"),
        ("gpu", {"driver": "570.1"}, "set", "is built for processors only"),
        ("gpu", {"driver": "470.1", "cuda": "12.8"}, "set", "built for CUDA 12.8, sees no GPU"),
        ("gpu", {"gpus": (Gpu("H200", 141 * 10**9),), "driver": "570.1", "cuda": "12.8"}, "ok", "H200 with 141 GB"),
        ("decoders", {"unread": ("mp3",)}, "set", "does not read mp3"),
        ("decoders", {"unread": ("ogg", "mp3")}, "fails", "does not read ogg, mp3"),
        ("dashboard", {"dashboard_is_free": False}, "ok", "port 8265 is taken"),
        ("sockets", {"ray_problem": "RAY_TMPDIR=/x: too long"}, "fails", "too long"),
    ],
)  # fmt: skip
def test_a_line_about_each_limit(check: str, changes: dict[str, object], level: str, words: str) -> None:
    found: Finding = getattr(advice, check)(replace(GOOD, **changes))  # type: ignore[arg-type]
    assert (found.level, words in found.text) == (level, True), found.text
    assert (found.repair != "") == (level == "set") or level == "fails"


def test_bf16_that_a_variable_hides_is_told() -> None:
    found = advice.precision(GOOD, max_isa="AVX2")
    assert (found.level, found.repair) == ("set", "unset ONEDNN_MAX_CPU_ISA")


@pytest.mark.parametrize(
    ("free_bytes", "problem", "level"),
    [(10**12, "", "ok"), (10**9, "", "set"), (1000, "", "fails"), (10**12, "runs /x: cannot be written to", "fails")],
)
def test_a_place_has_to_have_room(free_bytes: int, problem: str, level: str) -> None:
    assert advice.disk(Place("runs", Path("runs"), free_bytes, problem)).level == level


def test_data_that_does_not_fit_into_the_cache_fails() -> None:
    place = Place("audio cache", Path("cache"), 10**9)
    assert advice.data(100, 10**9, place) == Finding("ok", "data", "100 recordings, decoded 1 GB in cache")
    assert advice.data(100, 10**9 + 1, place).level == "fails"


def test_the_last_line_counts() -> None:
    found = [Finding("set", "a", "x", "do a"), Finding("fails", "b", "y"), Finding("ok", "c", "z")]
    lines = advice.told(found)
    assert lines[0].split() == ["set", "a", "x"]
    assert lines[1].split() == ["->", "do", "a"]
    assert lines[-1] == "1 thing will fail, 1 to set"
