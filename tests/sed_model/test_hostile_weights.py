"""Hostile weights, those of a model and those to start from, and training states: refused by name, and never run."""

from __future__ import annotations

import hashlib
import io
import json
import math
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from sed_model.config.sed_config import SedConfig
from sed_model.core.files import sha256_of
from sed_model.model.backbones import create_timm_model
from sed_model.model.checkpoint import load_model, load_state, save_state
from tests.hostile import DEEP, drawn, in_time, refusal, truncated
from tests.sed_model.pickles import pickled, zipped


def seal(folder: Path) -> None:
    """Make model.json vouch for whatever model.safetensors holds."""
    path = folder / "model.json"
    digest = sha256_of(folder / "model.safetensors")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"weights_sha256": digest}))


# --- weights


def header(tree: object, data: bytes = b"") -> bytes:
    text = json.dumps(tree).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(**changes: object) -> dict[str, object]:
    return {"head.x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes}


WEIGHTS: dict[str, bytes] = {
    "nothing": b"",
    "a length beyond the file": struct.pack("<Q", 2**62) + b"{}",
    "no tensor": header({}),
    "an unknown type": header(tensor(dtype="F31"), bytes(8)),
    "a shape that overflows": header(tensor(shape=[2**33, 2**33]), bytes(8)),
    "offsets beyond the file": header(tensor(data_offsets=[0, 2**40]), bytes(8)),
    "overlapping tensors": header(
        {f"t{n}": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in range(3)}, bytes(8)
    ),
    "deep JSON": struct.pack("<Q", len(DEEP)) + DEEP,
}


@pytest.mark.parametrize("content", WEIGHTS.values(), ids=WEIGHTS)
def test_weights_that_are_none_are_refused(own_model: Path, content: bytes) -> None:
    (own_model / "model.safetensors").write_bytes(content)
    refusal(lambda: load_model(own_model), "model.safetensors", "checksum")
    seal(own_model)
    refusal(lambda: load_model(own_model), "model.safetensors", "does not fit")


@pytest.mark.parametrize("percent", [50, 99])
def test_truncated_weights_are_refused(own_model: Path, percent: int) -> None:
    truncated(own_model / "model.safetensors", percent)
    refusal(lambda: load_model(own_model), "model.safetensors", "checksum")
    seal(own_model)
    refusal(lambda: load_model(own_model), "model.safetensors", "does not fit")


@pytest.mark.parametrize("disguise", [pickled, zipped])
def test_a_pickle_in_disguise_is_refused_and_not_run(
    own_model: Path, tmp_path: Path, disguise: Callable[[Path], bytes]
) -> None:
    trace = tmp_path / "was here"
    for name in ("model.safetensors", "model.json", "config.json"):
        whole = (own_model / name).read_bytes()
        (own_model / name).write_bytes(disguise(trace))
        refusal(lambda: load_model(own_model), name)
        (own_model / name).write_bytes(whole)
    (own_model / "model.safetensors").write_bytes(disguise(trace))
    seal(own_model)
    refusal(lambda: load_model(own_model), "model.safetensors")
    assert not trace.exists()


CHANGES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "NaN": lambda weight: weight * math.nan,
    "Inf": lambda weight: weight / 0,
    "another shape": lambda weight: weight[:-1],
    "the same numbers in one row": lambda weight: weight.flatten(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_weights_with_a_hostile_tensor_are_refused(
    own_model: Path, change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    path = own_model / "model.safetensors"
    weights = load_file(path)
    name = next(name for name, weight in weights.items() if weight.ndim == 4)
    save_file(weights | {name: change(weights[name]).contiguous()}, path)
    seal(own_model)
    refusal(lambda: load_model(own_model), "model.safetensors")


@pytest.mark.parametrize("change", ["one more", "one less", "another name"])
def test_weights_with_other_tensors_are_refused(own_model: Path, change: str) -> None:
    path = own_model / "model.safetensors"
    weights = load_file(path)
    name, weight = weights.popitem()
    extra = {"one more": {name: weight, "x": weight.clone()}, "one less": {}, "another name": {"x": weight}}[change]
    save_file(weights | extra, path)
    seal(own_model)
    refusal(lambda: load_model(own_model), "model.safetensors", "does not fit")


# --- weights to start from

STARTS = {
    "a pickle": ("x.pth", pickled),
    "a pickle in disguise": ("x.safetensors", pickled),
    "nothing": ("x.safetensors", lambda trace: b""),
    "a header alone": ("x.safetensors", lambda trace: header({})),
    "another network": ("x.safetensors", lambda trace: header(tensor(), bytes(8))),
}


@pytest.mark.parametrize(("name", "content"), STARTS.values(), ids=STARTS)
def test_hostile_weights_to_start_from_are_refused(
    tmp_path: Path, tiny_config: SedConfig, name: str, content: Callable[[Path], bytes]
) -> None:
    (tmp_path / name).write_bytes(content(tmp_path / "was here"))
    override = {"model.weights": str(tmp_path / name)}
    refusal(lambda: create_timm_model(tiny_config.with_overrides(override).model, 1), "weights", name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a" * 300 + ".safetensors", "a\0.safetensors", ".safetensors/.."], ids=ascii)
def test_weights_that_are_no_file_are_refused(tmp_path: Path, tiny_config: SedConfig, name: str) -> None:
    override = {"model.weights": f"{tmp_path}/{name}"}
    refusal(lambda: create_timm_model(tiny_config.with_overrides(override).model, 1), "weights")


# --- training states


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
