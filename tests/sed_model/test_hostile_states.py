"""Hostile training states: passed over with a note, and never run."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sed_model.model.checkpoint import load_state, save_state
from tests.hostile import drawn, in_time
from tests.sed_model.pickles import pickled, zipped


def sealed(payload: bytes) -> bytes:
    return hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload


def stored(value: object) -> bytes:
    content = io.BytesIO()
    torch.save(value, content)
    return content.getvalue()


STATES: dict[str, bytes] = {
    "nothing": b"",
    "sealed nothing": sealed(b""),
    "a sealed list": sealed(stored([1])),
    "a sealed zip": sealed(b"PK\x03\x04" + bytes(50)),
    "a sealed cut": sealed(stored({"epoch": 1})[:-100]),
    "a sealed tar": sealed(b"x" * 257 + b"ustar\0" + bytes(300)),
    "a sealed memo": sealed(b"\x80\x02h\x05."),
    "a sealed call": sealed(pickle.dumps(print)),
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@pytest.mark.parametrize("content", STATES.values(), ids=STATES)
def test_a_hostile_training_state_is_passed_over_with_a_note(tmp_path: Path, content: bytes) -> None:
    save_state(tmp_path, {"epoch": 1})
    save_state(tmp_path, {"epoch": 2})
    (tmp_path / "state.pt").write_bytes(content)
    with in_time():
        state, note = load_state(tmp_path)

    assert state == {"epoch": 1}
    assert "state.pt" in note


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
def test_a_sealed_pickle_in_a_state_is_not_run(tmp_path: Path) -> None:
    for disguise in (pickled, zipped):
        (tmp_path / "state.pt").write_bytes(sealed(disguise(tmp_path / "was here")))
        assert load_state(tmp_path)[0] is None
    assert not (tmp_path / "was here").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@drawn
@given(payload=st.binary(max_size=40), start=st.sampled_from([b"", b"\x80\x02", b"PK\x03\x04", stored({"a": 1})[:200]]))
def test_any_sealed_bytes_are_passed_over(tmp_path: Path, payload: bytes, start: bytes) -> None:
    (tmp_path / "state.pt").write_bytes(sealed(start + payload))
    with in_time():
        state, note = load_state(tmp_path)
    assert state is None or isinstance(state, dict)
    assert state is not None or "state.pt" in note
