"""Hostile models: checkpoints, states, exports, predictions, pseudo-labels and caches that are damaged or lie."""

from __future__ import annotations

import hashlib
import io
import json
import math
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from sed_model.audio_cache import AudioCache, DamagedCacheError
from sed_model.backbones import create_timm_model
from sed_model.cache_build import join_text
from sed_model.checkpoint import load_model, load_state, read_config, read_lineage, save_state
from sed_model.config import SedConfig
from sed_model.exported import read_record
from sed_model.files import sha256_of
from sed_model.oof import OOF_SCHEMA, read_predictions
from sed_model.postprocess import read_post
from sed_model.pseudo import PSEUDO_LABEL_SCHEMA
from sed_model.pseudo_clips import read_pseudo_labels
from tests.hostile import (
    DEEP,
    ODD_JSON,
    drawn,
    in_time,
    overwritten,
    places,
    refusal,
    refused,
    trees,
    truncated,
)


class Touch:
    """Pickles as a call that leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch.__get__(self.path), ()  # type: ignore[return-value]


def pickled(trace: Path) -> bytes:
    return pickle.dumps(Touch(trace))


def zipped(trace: Path) -> bytes:
    content = io.BytesIO()
    torch.save(Touch(trace), content)
    return content.getvalue()


@pytest.fixture
def model(tiny_models: list[Path], tmp_path: Path) -> Path:
    """A copy of a model, free to be damaged."""
    return Path(shutil.copytree(tiny_models[0], tmp_path / "model"))


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
    "a length alone": struct.pack("<Q", 100),
    "a length beyond the file": struct.pack("<Q", 2**62) + b"{}",
    "a negative length": b"\xff" * 8 + b"{}",
    "no JSON": struct.pack("<Q", 4) + b"{{{{",
    "a list": header([1, 2]),
    "no tensor": header({}),
    "text for a tensor": header({"head.x": "F32"}),
    "an unknown type": header(tensor(dtype="F31"), bytes(8)),
    "a negative shape": header(tensor(shape=[-2]), bytes(8)),
    "a shape beyond the data": header(tensor(shape=[2**40]), bytes(8)),
    "a shape that overflows": header(tensor(shape=[2**33, 2**33]), bytes(8)),
    "offsets beyond the file": header(tensor(data_offsets=[0, 2**40]), bytes(8)),
    "offsets that run backwards": header(tensor(data_offsets=[8, 0]), bytes(8)),
    "overlapping tensors": header(
        {f"t{n}": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in range(3)}, bytes(8)
    ),
    "deep JSON": struct.pack("<Q", len(DEEP)) + DEEP,
    "a zip": b"PK\x03\x04" + bytes(100),
    "an HTML page": b"<!doctype html>" + bytes(100),
    "a link to large files": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
}


@pytest.mark.parametrize("content", WEIGHTS.values(), ids=WEIGHTS)
def test_weights_that_are_none_are_refused(model: Path, content: bytes) -> None:
    (model / "model.safetensors").write_bytes(content)
    refusal(lambda: load_model(model), "model.safetensors", "checksum")
    seal(model)
    refusal(lambda: load_model(model), "model.safetensors", "does not fit")


@pytest.mark.parametrize("percent", [0, 1, 10, 50, 90, 99])
def test_truncated_weights_are_refused(model: Path, percent: int) -> None:
    truncated(model / "model.safetensors", percent)
    refusal(lambda: load_model(model), "model.safetensors", "checksum")
    seal(model)
    refusal(lambda: load_model(model), "model.safetensors", "does not fit")


@pytest.mark.parametrize("disguise", [pickled, zipped])
def test_a_pickle_in_disguise_is_refused_and_not_run(
    model: Path, tmp_path: Path, disguise: Callable[[Path], bytes]
) -> None:
    trace = tmp_path / "was here"
    for name in ("model.safetensors", "model.json", "config.json"):
        whole = (model / name).read_bytes()
        (model / name).write_bytes(disguise(trace))
        refusal(lambda: load_model(model), name)
        (model / name).write_bytes(whole)
    (model / "model.safetensors").write_bytes(disguise(trace))
    seal(model)
    refusal(lambda: load_model(model), "model.safetensors")
    assert not trace.exists()


CHANGES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "NaN": lambda weight: weight * math.nan,
    "Inf": lambda weight: weight / 0,
    "another shape": lambda weight: weight[:-1],
    "another axis": lambda weight: weight[None],
    "the same numbers in one row": lambda weight: weight.flatten(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_weights_with_a_hostile_tensor_are_refused(model: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    path = model / "model.safetensors"
    weights = load_file(path)
    name = next(name for name, weight in weights.items() if weight.ndim == 4)
    save_file(weights | {name: change(weights[name]).contiguous()}, path)
    seal(model)
    refusal(lambda: load_model(model), "model.safetensors")


@pytest.mark.parametrize("change", ["one more", "one less", "another name"])
def test_weights_with_other_tensors_are_refused(model: Path, change: str) -> None:
    path = model / "model.safetensors"
    weights = load_file(path)
    name, weight = weights.popitem()
    extra = {"one more": {name: weight, "x": weight.clone()}, "one less": {}, "another name": {"x": weight}}[change]
    save_file(weights | extra, path)
    seal(model)
    refusal(lambda: load_model(model), "model.safetensors", "does not fit")


# --- JSON beside them

JSON_FILES = [(name, kind) for name in ("model.json", "config.json") for kind in ODD_JSON]
JSON_FILES.remove(("config.json", "an empty mapping"))  # a configuration may leave out every key


@pytest.mark.parametrize(("name", "kind"), JSON_FILES)
def test_json_of_another_kind_is_refused_by_name(model: Path, name: str, kind: str) -> None:
    (model / name).write_bytes(ODD_JSON[kind])
    refusal(lambda: load_model(model), name)


LINEAGE: dict[str, object] = {
    "format": "1.5",
    "stage": 3,
    "loss": None,
    "epoch": [7],
    "parent": "pretrain_ce",
    "classes": {"grekis": 1},
    "data_fingerprint": 7,
    "validation": [],
    "seed": "seven",
    "metrics": [0.5],
    "round": "first",
    "teachers": "one",
    "pseudo_labels": 3,
    "weights_sha256": None,
    "surprise": 1,
}


@pytest.mark.parametrize("name", LINEAGE)
def test_a_lineage_with_a_value_of_another_kind_is_refused(model: Path, name: str) -> None:
    path = model / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: LINEAGE[name]}))
    refusal(lambda: read_lineage(model), "model.json", name)


@drawn
@given(section=st.sampled_from(list(SedConfig.model_fields)), value=trees)
def test_any_configuration_is_read_or_refused_by_name(model: Path, section: str, value: Any) -> None:
    (model / "config.json").write_text(json.dumps({section: value}))
    refused(lambda: read_config(model), "config.json", section)


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "nowhere", "model/model.json"], ids=lambda name: name[:8])
def test_a_folder_that_is_none_has_no_model(model: Path, name: str) -> None:
    refusal(lambda: load_model(model.parent / name), "no trained model here")


@pytest.mark.parametrize("content", [content for kind, content in ODD_JSON.items() if kind != "an empty mapping"])
def test_a_hostile_file_of_post_processing_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "post.json").write_bytes(content)
    refusal(lambda: read_post(tmp_path / "post.json"), "post.json")


@pytest.mark.parametrize("content", ODD_JSON.values(), ids=ODD_JSON)
def test_a_hostile_record_of_an_export_is_refused(model: Path, content: bytes) -> None:
    (model / "export.onnx.json").write_bytes(content)
    refusal(lambda: read_record(model, "onnx"), "export.onnx.json")


@pytest.mark.parametrize(
    "files", [{}, {"../../x": "0"}, {"model.onnx": "0", "x": "0"}, {"/etc/passwd": "0"}, ["model.onnx"]]
)
def test_a_record_of_an_export_cannot_name_other_files(model: Path, files: object) -> None:
    record = {
        "runtime": "onnx",
        "precision": "fp32",
        "weights_sha256": "0" * 64,
        "files": files,
        "versions": {},
        "n_windows": 1,
        "max_difference": 0.0,
    }
    (model / "export.onnx.json").write_text(json.dumps(record))
    refusal(lambda: read_record(model, "onnx"), "export.onnx.json")


# --- training states


def sealed(payload: bytes) -> bytes:
    return hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload


def stored(value: object) -> bytes:
    content = io.BytesIO()
    torch.save(value, content)
    return content.getvalue()


STATES: dict[str, bytes] = {
    "nothing": b"",
    "a checksum alone": b"0" * 64 + b"\n",
    "no checksum": stored({"epoch": 1}),
    "sealed nothing": sealed(b""),
    "a sealed list": sealed(stored([1])),
    "a sealed tensor": sealed(stored(torch.ones(2))),
    "sealed text": sealed(b"epoch"),
    "a sealed zip": sealed(b"PK\x03\x04" + bytes(50)),
    "a sealed cut": sealed(stored({"epoch": 1})[:-100]),
    "a sealed head": sealed(stored({"epoch": 1})[:50]),
    "sealed JSON": sealed(b'{"epoch": 1}'),
    "a sealed tar": sealed(b"x" * 257 + b"ustar\0" + bytes(300)),
    "a sealed number": sealed(pickle.dumps(3)),
    "a sealed memo": sealed(b"\x80\x02h\x05."),
    "a sealed pop": sealed(b"\x80\x02000."),
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


# --- weights to start from

STARTS = {
    "a pickle": ("x.pth", pickled),
    "a pickle in disguise": ("x.safetensors", pickled),
    "a zip": ("x.pt", zipped),
    "a zip in disguise": ("x.safetensors", zipped),
    "an unknown suffix": ("x.weights", pickled),
    "no suffix": ("safetensors", pickled),
    "nothing": ("x.safetensors", lambda trace: b""),
    "numpy": ("x.npz", zipped),
    "a header alone": ("x.safetensors", lambda trace: header({})),
    "another network": ("x.safetensors", lambda trace: header(tensor(), bytes(8))),
    "a shape that overflows": ("x.safetensors", lambda trace: WEIGHTS["a shape that overflows"]),
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


# --- Parquet


OOF_ROW: dict[str, Any] = {
    "filename": "a.ogg",
    "start_s": 0.0,
    "end_s": 5.0,
    "target": [0.0, 1.0],
    "probabilities": [0.1, 0.9],
}
PSEUDO_ROW: dict[str, Any] = {
    "filename": "a.ogg",
    "start_s": 0.0,
    "end_s": 5.0,
    "primary_label": "grekis",
    "confidence": 0.9,
    "labels": ["grekis"],
    "probabilities": [0.1, 0.9],
    "n_members": 2,
    "disagreement": 0.1,
    "weight": 0.9,
    "from_validation": False,
}
OOF_VALUES: dict[str, list[Any]] = {
    "target": [None, [], [1.0], [0.0, None], [0.0, math.nan], [0.0, 2.0], [0.0, -1.0], [0.0, math.inf]],
    "probabilities": [None, [], [1.0], [0.1, None], [0.1, math.nan], [0.1, 1.5], [0.1, -0.5], [0.1, math.inf]],
}
PSEUDO_VALUES: dict[str, list[Any]] = {
    "filename": [None, "", ".", "..", "../a.ogg", "/etc/passwd", "a/b.ogg", "a/"],
    "start_s": [None, -1.0, math.nan, 5.0, 9.0],
    "end_s": [None, 0.0, math.nan, math.inf, -1.0],
    "primary_label": [None, "", "gull", "../x"],
    "probabilities": OOF_VALUES["probabilities"],
    "weight": [None, math.nan, -0.1, 1.5, math.inf],
}


def write_oof(folder: Path, **changes: Any) -> Path:
    rows = [OOF_ROW, OOF_ROW | {"start_s": 5.0, "end_s": 10.0} | changes]
    pq.write_table(pa.Table.from_pylist(rows, OOF_SCHEMA), folder / "oof.parquet")
    return folder / "oof.parquet"


def write_labels(folder: Path, classes: bytes = b'["1139490", "grekis"]', **changes: Any) -> Path:
    (folder / "pseudo_labels").mkdir(exist_ok=True)
    (folder / "members.json").write_text('{"members": [{"weights_sha256": "0"}]}')
    schema = PSEUDO_LABEL_SCHEMA.with_metadata({"classes": classes})
    path = folder / "pseudo_labels" / "part-0000.parquet"
    pq.write_table(pa.Table.from_pylist([PSEUDO_ROW, PSEUDO_ROW | changes], schema), path)
    return path


def test_the_tables_themselves_are_good(tmp_path: Path) -> None:
    write_oof(tmp_path)
    write_labels(tmp_path)
    assert read_predictions(tmp_path).targets.shape == (2, 2)
    assert len(read_pseudo_labels(tmp_path)) == 2


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in OOF_VALUES for value in OOF_VALUES[name]])
def test_predictions_with_a_hostile_value_are_refused(tmp_path: Path, name: str, value: Any) -> None:
    write_oof(tmp_path, **{name: value})
    refusal(lambda: read_predictions(tmp_path), "oof.parquet")


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in PSEUDO_VALUES for value in PSEUDO_VALUES[name]])
def test_pseudo_labels_with_a_hostile_value_are_refused(tmp_path: Path, name: str, value: Any) -> None:
    write_labels(tmp_path, **{name: value})
    refusal(lambda: read_pseudo_labels(tmp_path), str(tmp_path))


CLASSES = [b"", b"[]", b"{}", b"3", b"[1, 2]", b'"ab"', b'["grekis"]', b'["a", "b", "c"]', b"\xff", DEEP, b"null"]


@pytest.mark.parametrize("classes", CLASSES, ids=lambda text: ascii(text[:12]))
def test_pseudo_labels_of_hostile_classes_are_refused(tmp_path: Path, classes: bytes) -> None:
    write_labels(tmp_path, classes=classes)
    refusal(lambda: read_pseudo_labels(tmp_path), str(tmp_path))


@pytest.mark.parametrize("content", [*ODD_JSON.values(), b'{"members": 3}', b'{"members": [3]}', b'{"members": [{}]}'])
def test_pseudo_labels_of_unknown_members_are_refused(tmp_path: Path, content: bytes) -> None:
    write_labels(tmp_path)
    (tmp_path / "members.json").write_bytes(content)
    refusal(lambda: read_pseudo_labels(tmp_path), "members.json")


TABLES: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "predictions": (write_oof, read_predictions),
    "pseudo-labels": (write_labels, read_pseudo_labels),
}


@pytest.mark.parametrize("percent", [0, 1, 30, 60, 90, 99])
@pytest.mark.parametrize(("write", "read"), TABLES.values(), ids=TABLES)
def test_a_truncated_table_is_refused_by_name(
    tmp_path: Path, write: Callable[[Path], Path], read: Callable[[Path], object], percent: int
) -> None:
    path = write(tmp_path)
    truncated(path, percent)
    refusal(lambda: read(tmp_path), path.name)


COLUMNS = [("predictions", name) for name in OOF_SCHEMA.names]
COLUMNS += [("pseudo-labels", name) for name in PSEUDO_LABEL_SCHEMA.names]


@pytest.mark.parametrize(("kind", "name"), COLUMNS)
@pytest.mark.parametrize("change", ["missing", "of another type", "there twice"])
def test_a_table_with_a_hostile_column_is_refused_by_name(tmp_path: Path, kind: str, name: str, change: str) -> None:
    write, read = TABLES[kind]
    path = write(tmp_path)
    table = pq.read_table(path)
    place = table.column_names.index(name)
    changed = {
        "missing": lambda: table.remove_column(place),
        "of another type": lambda: table.set_column(place, name, pa.array([b"1", b"2"])),
        "there twice": lambda: table.append_column(name, table[name]),
    }[change]()
    pq.write_table(changed, path)
    refusal(lambda: read(tmp_path), path.name)


@drawn
@given(place=places, data=st.binary(min_size=1, max_size=6))
def test_a_table_with_other_bytes_is_refused_or_within_its_limits(tmp_path: Path, place: float, data: bytes) -> None:
    path = write_oof(tmp_path)
    overwritten(path, place, data)
    if not refused(lambda: read_predictions(tmp_path), "oof.parquet"):
        assert np.isfinite(read_predictions(tmp_path).probabilities).all()


# --- the audio cache


def write_cache(folder: Path, **changes: Any) -> None:
    index = {
        "header": np.array([1, 8_000]),
        "paths": join_text(["a", "b"]),
        "lengths": np.array([8_000, 8_000]),
        "bad_paths": join_text([]),
        "bad_reasons": join_text([]),
    } | changes
    np.savez(folder / "index.npz", **{name: value for name, value in index.items() if value is not None})
    np.zeros(16_000, np.int16).tofile(folder / "samples.int16")
    np.zeros(2, np.float32).tofile(folder / "energies.float32")


INDEXES: dict[str, dict[str, Any]] = {
    "no header": {"header": None},
    "a short header": {"header": np.array([1])},
    "a header of text": {"header": np.array(["a", "b"])},
    "a rate of 0": {"header": np.array([1, 0])},
    "a negative rate": {"header": np.array([1, -8_000])},
    "another version": {"header": np.array([99, 8_000])},
    "no paths": {"paths": None},
    "no lengths": {"lengths": None},
    "one length": {"lengths": np.array([16_000])},
    "negative lengths": {"lengths": np.array([-1, 16_001])},
    "fractions": {"lengths": np.array([8_000.0, 8_000.0])},
    "lengths of text": {"lengths": np.array(["a", "b"])},
    "square lengths": {"lengths": np.array([[8_000], [8_000]])},
    "one number": {"lengths": np.array(8_000)},
    "lengths beyond the file": {"lengths": np.array([2**40, 2**40])},
    "a path twice": {"paths": join_text(["a", "a"])},
    "more bad paths than reasons": {"bad_paths": join_text(["c", "d"])},
}


@pytest.mark.parametrize("changes", INDEXES.values(), ids=INDEXES)
def test_a_cache_with_a_hostile_index_is_damaged_and_so_built_again(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_cache(tmp_path, **changes)
    with in_time(), pytest.raises(DamagedCacheError):
        AudioCache(tmp_path)


@drawn
@given(place=places, data=st.binary(min_size=1, max_size=6))
def test_an_index_with_other_bytes_is_damaged_or_as_long_as_its_files(
    tmp_path: Path, place: float, data: bytes
) -> None:
    write_cache(tmp_path)
    path = tmp_path / "index.npz"
    overwritten(path, place, data)
    try:
        with in_time():
            cache = AudioCache(tmp_path)
    except DamagedCacheError:
        return
    assert len(cache) == 2
