"""Where a Ray that is started here keeps its sockets and its token: places that a container may not have."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

from sed_model.core.errors import ConfigError
from sed_model.core.paths import FULL_DISK_ERRORS

LONGEST_SOCKET = 107 if sys.platform.startswith("linux") else 103
"""Bytes of a socket's path, by the kernel."""
SOCKET = f"ray/session_2026-11-29_02-16-58_123456_{os.getpid()}/sockets/plasma_store"
"""As long as the longest that Ray makes in its folder."""
TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def ray_folder() -> tuple[str, Path]:
    """The variable that names Ray's temporary folder (RAY_TMPDIR where none does), and the folder."""
    for name in ("RAY_TMPDIR", "TMPDIR"):
        if name in os.environ:
            return name, Path(os.environ[name])
    return "RAY_TMPDIR", Path("/tmp")  # noqa: S108 - as Ray has it


def check_ray_folder() -> None:
    """
    Raises:
        ConfigError: Ray's sockets cannot be made in its temporary folder; the message names the variable to set.
    """
    name, folder = ray_folder()
    advice = "set RAY_TMPDIR to a short folder that can be written, such as /tmp."
    room = LONGEST_SOCKET - len(SOCKET) - 1
    if len(os.fsencode(folder)) > room:
        raise ConfigError(
            f"{name}={folder}: is {len(os.fsencode(folder))} bytes long; Ray makes sockets in it, whose paths leave "
            f"room for {room}; {advice}"
        )
    place = folder / "ray" if (folder / "ray").exists() else folder
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        if error.errno in FULL_DISK_ERRORS:
            return  # which may have room by then
        where = f"{name}={folder}: " if name in os.environ else ""
        raise ConfigError(f"{where}Ray cannot write to {place} ({error.strerror}); {advice}") from None


def token_for_this_process(environment: MutableMapping[str, str] | None = None) -> str:
    """A note where Ray's token is made anew and kept in the environment, because ~/.ray cannot be written; else "".

    Ray would end with "Permission denied" instead; its workers read the token from the environment.
    """
    environment = os.environ if environment is None else environment
    mode = environment.get("RAY_AUTH_MODE", "token")
    if mode != "token" or any(name in environment for name in TOKEN_VARIABLES):
        return ""
    home = environment.get("HOME", "")
    token = Path(home or "~") / ".ray" / "auth_token"
    if home and _can_be_made(token):
        return ""
    environment["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    return (
        f"Ray's token cannot be kept in {token}: one of this process alone is used; set RAY_AUTH_TOKEN to open the "
        "dashboard"
    )


def _can_be_made(token: Path) -> bool:
    try:
        if token.read_text(encoding="utf-8").strip():
            return True
    except (OSError, UnicodeDecodeError):
        pass
    try:
        token.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=token.parent):
            return not token.exists() or os.access(token, os.W_OK)
    except OSError:
        return False
