"""`sed-search COMMAND`: each command by its short name."""

from __future__ import annotations

import sys

import pytest

from scripts.make_reference import COMMANDS as DOCUMENTED
from trainables.__main__ import COMMANDS, main


def test_each_documented_command_has_a_short_name() -> None:
    assert set(COMMANDS.values()) == set(DOCUMENTED)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_short_name_runs_the_module(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sed-search", name, "--help"])
    monkeypatch.delitem(sys.modules, COMMANDS[name], raising=False)  # runpy warns of one that is there
    with pytest.raises(SystemExit) as status:
        main()
    assert status.value.code == 0
    assert f"usage: python -m {COMMANDS[name]}" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "code"), [(["serch"], 2), ([], 2), (["--help"], 0)])
def test_other_words_name_the_commands(
    words: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sed-search", *words])
    with pytest.raises(SystemExit) as status:
        main()
    assert status.value.code == code
    assert "search, train, ensemble" in "".join(capsys.readouterr())
