"""The Dockerfile step by step, without Docker: what it copies is there, what it installs pinned, its command runs."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
PACKAGED = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


def steps() -> list[tuple[str, str]]:
    """Instruction and the rest of its line, comments left out and continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest) for line in joined.splitlines() if line.strip() for word, _, rest in [line.partition(" ")]]


def of(instruction: str) -> list[str]:
    return [rest for word, rest in steps() if word == instruction]


def in_context(path: str) -> bool:
    """Whether .dockerignore leaves a path of the top folder to the build: the last pattern that fits decides."""
    is_in = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#") and fnmatch.fnmatch(path, line.removeprefix("!")):
            is_in = line.startswith("!")
    return is_in


def installs() -> list[list[str]]:
    return [words for run in of("RUN") for words in [shlex.split(run)] if "install" in words and "pip" in words]


def test_what_is_copied_is_in_the_repository_and_in_the_context() -> None:
    sources = [source for rest in of("COPY") for source in rest.split()[:-1]]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    top = {path.partition("/")[0] for path in tracked}
    assert set(sources) <= top
    assert all(map(in_context, sources))
    assert set(PACKAGED) <= set(sources)
    assert {PROJECT["readme"], *PROJECT["license-files"]} <= set(sources), "the wheel cannot be built without them"


@pytest.mark.parametrize("name", [".env", ".git", ".venv", "runs", "demo_data", "id_rsa", "tests", "docs"])
def test_nothing_else_is_sent_to_the_build(name: str) -> None:
    assert not in_context(name)


def test_a_step_uses_only_files_that_were_copied_before() -> None:
    copied: set[str] = set()
    for instruction, rest in steps():
        if instruction == "COPY":
            copied |= set(rest.split()[:-1])
        if instruction == "RUN":
            used = {word for word in shlex.split(rest) if re.fullmatch(r"[\w-]+\.(toml|txt|md|yaml)", word)}
            assert used <= copied, rest
    assert installs()[-1][-1] == "."


def test_packages_are_those_of_the_constraints() -> None:
    tool, packages, project = installs()
    assert tool[-1] == "uv", "which makes no part of what runs"
    assert packages[packages.index("-c") + 1] == "constraints.txt"
    assert packages[packages.index("-r") + 1] == "pyproject.toml"
    extras = [after for word, after in pairwise(packages) if word == "--extra"]
    assert set(extras) <= set(PROJECT["optional-dependencies"])
    assert "--no-deps" in project
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    for name, version in re.findall(r"([\w-]+)==([\w.]+)", (ROOT / "Dockerfile").read_text()):
        assert f"{name}=={version}" in pinned


def test_the_python_is_one_that_the_project_takes() -> None:
    (version,) = [rest.partition("=")[2] for rest in of("ARG") if rest.startswith("PYTHON_VERSION")]
    least = PROJECT["requires-python"].removeprefix(">=")
    assert [int(part) for part in version.split(".")] >= [int(part) for part in least.split(".")]


def test_it_runs_as_a_user_who_is_not_root() -> None:
    words = [word for word, _ in steps()]
    (user,) = of("USER")
    assert user not in ("root", "0")
    assert f"--uid ${{USER_ID}} {user}" in of("RUN")[-1]
    assert dict(rest.split("=") for rest in of("ARG"))["USER_ID"] != "0"
    assert "RUN" not in words[words.index("USER") :]


def test_it_names_no_host_and_no_secret() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert not re.search(r"https?://|--index-url|--extra-index-url", text)
    assert not re.search(r"(?i)password|secret|api_?key|token", text)
    assert "ADD" not in {word for word, _ in steps()}


def test_its_command_is_one_of_the_project_and_prints_help() -> None:
    ((program,), default) = (json.loads(of(name)[0]) for name in ("ENTRYPOINT", "CMD"))
    assert program in PROJECT["scripts"]
    shown = subprocess.run(
        [Path(sys.executable).with_name(program), *default], capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith(f"usage: {program} COMMAND")


@pytest.mark.slow
def test_the_wheel_holds_what_commands_read_and_starts_from_elsewhere(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "uv", "build", "--wheel", "--no-build-isolation", "--offline", "-o", tmp_path, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        held = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    wanted = [
        path.relative_to(ROOT).as_posix()
        for folder in PACKAGED
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert set(wanted) <= held
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in held)
    space = [sys.executable, "-P", "-m", "trainables", "space", "show", "arch.yaml"]
    environment = {"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"}
    shown = subprocess.run(space, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert "model.multi_resolution" in shown
