"""chain.json: what is done, for how long the chain has run, and which settings it keeps."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sed_model.core.errors import ConfigError, DataError
from sed_model.run_folder.delivered import Lead
from trainables.chaining.ledger import CHAIN_FILE, Done, Ledger

SETTINGS = {"data": "/d", "hours": 3.0, "num-trials": None, "set": ["seed=1"]}


class StoppedError(Exception):
    pass


def stop() -> Done:
    raise StoppedError


def test_a_step_is_done_once(tmp_path: Path) -> None:
    lead = Lead(mean=0.1, se=0.05, p_better=0.9, shrunken=0.05)
    Ledger(tmp_path, SETTINGS).do("student 1", lambda: Done(score="0.9", said="kept", lead=lead))
    again = Ledger(tmp_path, SETTINGS)

    assert again.has("student 1")
    assert again.do("student 1", stop).done == Done(score="0.9", said="kept", lead=lead)


def test_a_step_that_broke_off_is_not_done_and_keeps_its_beginning(tmp_path: Path) -> None:
    first = Ledger(tmp_path, SETTINGS)
    with pytest.raises(StoppedError):
        first.do("search", stop)
    again = Ledger(tmp_path, SETTINGS)
    began_s = again.record.steps["search"].began_s
    time.sleep(0.12)

    assert not again.has("search")
    step = again.do("search", Done)
    assert step.began_s == began_s
    assert step.took_s >= 0.1


def test_the_clock_stands_while_the_chain_does_not_run(tmp_path: Path) -> None:
    first = Ledger(tmp_path, SETTINGS)
    first.write()
    (tmp_path / CHAIN_FILE).write_text(
        (tmp_path / CHAIN_FILE).read_text().replace('"spent_s": 0.0', '"spent_s": 600.0')
    )

    assert 600 <= Ledger(tmp_path, SETTINGS).spent_s < 601


def test_the_time_is_written_down_while_a_step_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.chaining.ledger.WRITE_EVERY_S", 0.02)
    ledger = Ledger(tmp_path, SETTINGS)
    with ledger.counting():
        time.sleep(0.3)
        assert Ledger(tmp_path, SETTINGS).record.spent_s >= 0.1


def test_each_setting_that_differs_is_named(tmp_path: Path) -> None:
    Ledger(tmp_path / "x-chain", SETTINGS).write()
    with pytest.raises(ConfigError) as refusal:
        Ledger(tmp_path / "x-chain", SETTINGS | {"num-trials": 5, "set": []})

    first, second = str(refusal.value).splitlines()
    assert first.startswith("--num-trials 5: x-chain was begun with (not given), and goes on with that; give the same")
    assert second.startswith("--set (nothing set): x-chain was begun with seed=1")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"settings": {}, "spent_s": -1}', '{"settings": {}, "kept": 1}'])
def test_a_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / CHAIN_FILE).write_text(text)
    with pytest.raises(DataError, match=r"chain\.json: is damaged .*; restore it, or begin a chain of another --name"):
        Ledger(tmp_path, SETTINGS)


def test_what_is_cut_is_said_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Ledger(tmp_path, SETTINGS).cut("search", "30 of 40 trials")

    assert capsys.readouterr().out == "cut: 30 of 40 trials\n"
    assert Ledger(tmp_path, SETTINGS).record.cut == {"search": "30 of 40 trials"}
