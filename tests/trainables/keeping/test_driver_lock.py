"""One driver at a time for a folder: real processes, real locks."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sed_model.core.errors import ConfigError
from trainables import ensemble, train
from trainables.keeping.driver_lock import HOLDER_FILE, LOCK_FILE, check_free, is_held, only_driver

ROOT = Path(__file__).parents[3]
HOLD = """
import sys
from pathlib import Path
from trainables.keeping.driver_lock import only_driver

with only_driver(Path(sys.argv[1]), "search"):
    print("held", flush=True)
    sys.stdin.read()
"""

TAKE_TURNS = """
import os, sys
from pathlib import Path
from sed_model.core.errors import ConfigError
from trainables.keeping.driver_lock import only_driver

folder, n_left = Path(sys.argv[1]), 30
while n_left:
    try:
        with only_driver(folder, "search"), (folder / "turns").open("a", buffering=1) as turns:
            turns.write(f"{os.getpid()}\\n")
            turns.write(f"{os.getpid()}\\n")
            n_left -= 1
    except ConfigError:
        pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes into the folder."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def refused(folder: Path) -> str:
    with pytest.raises(ConfigError) as refusal, only_driver(folder, "search"):
        pytest.fail("the folder is held")
    return str(refusal.value)


def test_a_second_driver_is_refused_and_told_who_the_first_is(folder: Path, holder: subprocess.Popen[str]) -> None:
    message = refused(folder)

    assert re.fullmatch(
        rf"{folder}: a search on {re.escape(socket.gethostname())} \(process {holder.pid}, since 20\S+\) writes there; "
        r"wait until it has ended, or stop it\.",
        message,
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_free(folder)


def test_a_killed_driver_holds_nothing(folder: Path, holder: subprocess.Popen[str]) -> None:
    assert is_held(folder)
    holder.send_signal(signal.SIGKILL)
    holder.wait()

    assert not is_held(folder)
    check_free(folder)
    with only_driver(folder, "search"):
        assert json.loads((folder / HOLDER_FILE).read_text())["process_id"] == os.getpid()
    assert not (folder / HOLDER_FILE).exists()


def test_a_driver_that_ends_leaves_the_folder_to_others(folder: Path, holder: subprocess.Popen[str]) -> None:
    holder.communicate()

    assert not is_held(folder)
    assert list(folder.iterdir()) == []


def test_drivers_that_come_and_go_are_never_two_at_a_time(folder: Path) -> None:
    """Each removes the file of its lock when it ends, while others wait for it."""
    folder.mkdir()
    (folder / "turns").touch()
    command = [sys.executable, "-c", TAKE_TURNS, str(folder)]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]

    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    turns = (folder / "turns").read_text().split()
    assert len(turns) == 2 * 3 * 30
    assert turns[::2] == turns[1::2]  # each that came has gone before the next came


def test_a_driver_on_another_machine_is_told_from_one_that_died_there(
    folder: Path, holder: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    known = json.loads((folder / HOLDER_FILE).read_text())
    (folder / HOLDER_FILE).write_text(json.dumps(known | {"host": "node7"}))
    assert refused(folder).endswith(f"If that machine has failed, remove {folder / LOCK_FILE}.")

    holder.kill()
    holder.wait()
    with only_driver(folder, "search"):
        pass
    assert f"a search on node7 (process {holder.pid}, since" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["{", '{"host": "node7"}', "null"])
def test_a_damaged_note_of_the_holder_does_no_harm(folder: Path, holder: subprocess.Popen[str], content: str) -> None:
    (folder / HOLDER_FILE).write_text(content)
    assert refused(folder) == f"{folder}: another process writes there; wait until it has ended, or stop it."


def test_an_ensemble_and_a_training_are_drivers_too(
    written_run: Path, tiny_root: Path, tiny_space: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    data = ("--data", tiny_root, "--config", tiny_space.parent / "base.yaml")
    with only_driver(out, "search"):
        with pytest.raises(ConfigError, match=r"a search on .* writes there"):
            ensemble.main(["--run", str(written_run), "--out", str(out)])
        with pytest.raises(ConfigError, match=r"a search on .* writes there"):
            train.main([str(word) for word in ("--stage", "pretrain_ce", "--out", out, *data)])
    with only_driver(written_run, "search"), pytest.raises(ConfigError, match=r"a search on .* writes there"):
        ensemble.main(["--run", str(written_run)])


def test_a_file_system_without_locks_is_told_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unavailable(*_: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unavailable)
    with only_driver(folder, "search"):
        assert not is_held(folder)
    assert "this file system has no locks (No locks available); start nothing else there" in capsys.readouterr().out
