"""Hostile configurations, places and messages on a command's way out: one message that no terminal obeys."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sed_model.core.errors import DataError
from tests.hostile import NO_FILES, ODD_JSON, Outcome, refusal
from trainables.searching.training import TrainOptions, training_config

NO_CONFIGS = ODD_JSON | {
    "an unknown section": b'{"modle": {}}',
    "NaN for a number": b'{"model": {"gem_p": NaN}}',
    "a key twice": b'{"seed": 1, "seed": 2}',
    "the password file for weights": b'{"model": {"weights": "/etc/passwd"}}',
}


def configuration(path: Path | str) -> object:
    return training_config(TrainOptions((), "pretrain_ce", config=str(path)), ("pretrain_ce",), None)


@pytest.mark.parametrize("content", NO_CONFIGS.values(), ids=NO_CONFIGS)
def test_a_hostile_configuration_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    refusal(lambda: configuration(tmp_path / "config.json"), "config.json")


@pytest.mark.parametrize("name", [*NO_FILES, "nowhere", "a" * 300, "a\0b", "/dev/zero", ""], ids=ascii)
def test_a_configuration_that_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    for kind, put in NO_FILES.items():
        put(tmp_path / kind)
    refusal(lambda: configuration(tmp_path / name), "no such file")


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EROFS])
def test_a_place_that_may_not_be_used_is_named_in_one_message(number: int, outcome: Outcome) -> None:
    def command() -> None:
        raise OSError(number, os.strerror(number), "/some/\x1b[31mplace")

    reason = os.strerror(number)
    message = f"error: /some/\\x1b[31mplace: {reason}; give a place that you may use.\n"
    assert outcome(command) == (2, "", message)


def test_other_errors_of_the_system_keep_their_traceback(outcome: Outcome) -> None:
    def command() -> None:
        raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"):
        outcome(command)


def test_messages_do_not_colour_the_terminal(outcome: Outcome) -> None:
    def command() -> None:
        raise DataError("\x1b[31mred\x07: line\nsecond \udcff")

    assert outcome(command) == (2, "", "error: \\x1b[31mred\\x07: line\nsecond \\udcff\n")
