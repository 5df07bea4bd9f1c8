"""Places that a container may not have: a name for its user, a home, a short folder for Ray's sockets."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sed_model.core.errors import ConfigError
from trainables.on_ray.ray_places import SOCKET, check_ray_folder, token_for_this_process

NO_HOME = "/proc/nohome"


def test_a_folder_that_is_too_long_for_sockets_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel takes 107 bytes; Ray's own part is 4 + 42 + 21 with a process number of seven digits."""
    own = 4 + 35 + len(str(os.getpid())) + 21
    assert len(SOCKET) == own
    room = 107 - own - 1
    long = "/tmp/" + "x" * (room + 1 - len("/tmp/"))
    monkeypatch.setenv("RAY_TMPDIR", long)
    with pytest.raises(
        ConfigError, match=rf"RAY_TMPDIR=.*: is {room + 1} bytes long; .*room for {room}; set RAY_TMPDIR"
    ):
        check_ray_folder()
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setenv("TMPDIR", long)  # where Ray goes without the other
    with pytest.raises(ConfigError, match=r"^TMPDIR=.*set RAY_TMPDIR to a short folder"):
        check_ray_folder()
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    check_ray_folder()


def test_a_folder_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", NO_HOME)
    with pytest.raises(ConfigError, match=rf"RAY_TMPDIR={NO_HOME}: Ray cannot write to {NO_HOME} .*set RAY_TMPDIR"):
        check_ray_folder()


@pytest.mark.slow
def test_it_is_told_before_recordings_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own: this one may have a Ray already, whose folder is no longer a question."""
    monkeypatch.setenv("RAY_TMPDIR", NO_HOME)
    code = "from trainables.on_ray.cluster import machine_for; assert machine_for('auto') is None; machine_for(None)"
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert f"ConfigError: RAY_TMPDIR={NO_HOME}: Ray cannot write" in failed.stderr


def test_a_token_that_cannot_be_kept_is_one_of_this_process(tmp_path: Path) -> None:
    told = token_for_this_process(environment := {"HOME": NO_HOME})
    assert told.startswith(f"Ray's token cannot be kept in {NO_HOME}/.ray/auth_token: ")
    assert "set RAY_AUTH_TOKEN" in told
    assert len(environment["RAY_AUTH_TOKEN"]) == 64
    assert token_for_this_process(environment) == ""

    assert token_for_this_process(usual := {"HOME": str(tmp_path)}) == ""
    assert list(usual) == ["HOME"]  # Ray makes the token there
    assert token_for_this_process({"HOME": NO_HOME, "RAY_AUTH_MODE": "disabled"}) == ""


WHO = "import getpass, sed_model; print(getpass.getuser())"


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare, of util-linux")
def test_a_user_number_without_a_name_gets_one() -> None:
    """As in a container: PyTorch asks for the name when it is imported."""
    alone = ["unshare", "-U", "--map-user=12345", "--map-group=12345", "env", "-i", f"HOME={NO_HOME}"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make user namespaces")
    words = [*alone, f"PYTHONPATH={Path(__file__).parents[3]}", sys.executable, "-c", WHO]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("uid12345\n", "")
