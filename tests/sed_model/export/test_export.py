"""Exported graphs say what PyTorch says, for any number of windows; others are refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sed_model.audio.decoding import decode
from sed_model.core.errors import CheckpointError, ConfigError, DataError
from sed_model.export.check import CheckAudio, find_check_audio, labelled_auc, target_images
from sed_model.export.exported import emulated_note, load_exported
from sed_model.export.job import ExportJob, check_job, compare, export_model
from sed_model.model.checkpoint import LoadedModel, load_model, save_model
from sed_model.model.devices import Runtime
from sed_model.model.graph import OUTPUTS, GraphModel, GraphRuntime, fastest
from sed_model.predict.window_scores import predict_members

for name in ("onnxscript", "onnxruntime", "openvino"):
    pytest.importorskip(name, reason="the extra `export` is not installed")

CPU = Runtime(torch.device("cpu"), None)
RUNTIMES: tuple[GraphRuntime, ...] = ("onnx", "openvino")


@pytest.fixture(scope="module")
def model_dir(tiny_models: list[Path], tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights with the batch statistics of real windows: their scores differ by more than rounding does."""
    first = load_model(tiny_models[0])
    torch.manual_seed(0)
    for waveform in find_check_audio(tiny_root, first, need_labels=False).files:
        first.model.train()(*target_images(first, [waveform])[0])
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, first.model.state_dict(), first.config, first.lineage)
    return folder


@pytest.fixture(scope="module")
def exported(model_dir: Path, tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with both graphs, without PyTorch's weights."""
    out = tmp_path_factory.mktemp("exported")
    for runtime in RUNTIMES:
        record = export_model(ExportJob(model_dir, out, runtime, tiny_root), lambda line: None)
        assert record.max_difference < 1e-4
        assert record.macro_auc == pytest.approx(record.macro_auc_torch, abs=1e-3)
    return out


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "model"))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_graph_scores_a_soundscape_as_pytorch_does(
    exported: Path, model_dir: Path, tiny_root: Path, runtime: GraphRuntime
) -> None:
    members = [load_model(model_dir), load_exported(exported, runtime, n_threads=2)]
    waveform = decode(tiny_root / "train_soundscapes" / "S0.wav", 8_000)
    wanted, given = predict_members(members, waveform, np.arange(6.0), CPU)
    np.testing.assert_allclose(given.clip, wanted.clip, atol=1e-4)
    np.testing.assert_allclose(given.frames, wanted.frames, atol=1e-4)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_batches_have_any_size_and_targets_any_place(exported: Path, model_dir: Path, runtime: GraphRuntime) -> None:
    model, graph = load_model(model_dir).model, load_exported(exported, runtime).model
    images = model.images(torch.randn(5, 12_000, generator=torch.Generator().manual_seed(0)))
    early, late = (torch.tensor([place]).repeat(5, 1) for place in ([0.0, 0.4], [0.6, 1.0]))
    for n in (1, 5, 2):
        for target in (early, late):
            wanted = model(images[:n], target[:n]).clip_logits.detach()
            torch.testing.assert_close(graph(images[:n], target[:n]).clip_logits, wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(graph(images).clip_logits, model(images).clip_logits.detach(), atol=1e-4, rtol=0)
    assert not torch.allclose(graph(images, early).clip_logits, graph(images, late).clip_logits, atol=1e-4)


TWO_FIRST_READS = """
import sys, threading
from itertools import chain, repeat
from operator import attrgetter
from pathlib import Path
import numpy as np, openvino
from sed_model.model.graph import open_openvino
xml, weights = (Path(sys.argv[1], name) for name in ("model.xml", "model.bin"))
open_openvino(xml, weights, n_threads=2)
compiled = openvino.Core().compile_model(xml, "CPU")
tensors = [compiled.create_infer_request().get_input_tensor(0) for _ in range(2)]
seen = []

def wait_then_read():
    while not seen:
        pass
    tensors[1].data

# One long call in C, which does not give way to the other thread before the first read lets go of the lock.
reads = map(attrgetter("data"), chain(repeat(np.zeros(1), 1_000_000), tensors[:1]))
for target in (wait_then_read, lambda: seen.extend(reads)):
    threading.Thread(target=target).start()
"""


def test_two_threads_may_begin_to_predict_at_once(exported: Path) -> None:
    """OpenVINO's first read of an array stopped both for good, a submission among others."""
    subprocess.run([sys.executable, "-c", TWO_FIRST_READS, exported], timeout=100, check=True)


def _damage(folder: Path) -> None:
    for name in ("model.onnx", "model.bin"):
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 255
        (folder / name).write_bytes(content)


def _remove(folder: Path) -> None:
    for runtime in RUNTIMES:
        (folder / f"export.{runtime}.json").unlink()


def _break_record(folder: Path) -> None:
    for runtime in RUNTIMES:
        (folder / f"export.{runtime}.json").write_text("{")


def _train_anew(folder: Path) -> None:
    lineage = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**lineage, "weights_sha256": "0"}))


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_damage, "does not match the checksum"),
        (_remove, "has no export for"),
        (_break_record, "is damaged"),
        (_train_anew, "from other weights"),
    ],
)
def test_an_export_that_cannot_be_trusted_is_refused(
    copy: Path, runtime: GraphRuntime, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(copy)
    with pytest.raises(CheckpointError, match=rf"{message}.*python -m trainables.export --model .* --format {runtime}"):
        load_exported(copy, runtime)


@pytest.mark.parametrize(("runtime", "package"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_missing_runtime_is_named(
    exported: Path, monkeypatch: pytest.MonkeyPatch, runtime: GraphRuntime, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"{package} is not installed.*--runtime torch"):
        load_exported(exported, runtime)
    with pytest.raises(ConfigError, match=rf"not installed: {package}"):
        check_job(runtime, "fp32")


def test_auto_is_what_the_cpu_is_fast_in() -> None:
    assert [fastest("auto", "openvino", native) for native in (True, False)] == ["bf16", "fp32"]
    assert [fastest("auto", "onnx", native) for native in (True, False)] == ["fp32", "fp32"]
    assert fastest("int8", "openvino", native=False) == "int8"


def test_a_graph_in_bf16_is_computed_in_fp32_where_bf16_is_slower(
    copy: Path, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = load_model(model_dir).model.images(torch.randn(2, 12_000, generator=torch.Generator().manual_seed(0)))
    exact = load_exported(copy, "openvino").model(images).clip_logits
    record = json.loads((copy / "export.openvino.json").read_text())
    (copy / "export.openvino.json").write_text(json.dumps({**record, "precision": "bf16"}))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI")

    assert torch.equal(load_exported(copy, "openvino").model(images).clip_logits, exact)
    assert emulated_note([copy], "openvino", native=True) == ""
    assert emulated_note([copy], "openvino").startswith(
        "1 of 1 models were exported in bf16, for which this CPU has no"
    )


def test_onnx_is_in_fp32_only() -> None:
    with pytest.raises(ConfigError, match="--precision bf16 with --format onnx"):
        check_job("onnx", "bf16")


@pytest.fixture(scope="module")
def judged(model_dir: Path, tiny_root: Path) -> tuple[LoadedModel, CheckAudio, ExportJob]:
    """A model that ranks better than chance, with what its graphs are judged by."""
    loaded = load_model(model_dir)
    job = ExportJob(model_dir, model_dir, "openvino", tiny_root, "int8", max_difference=1.0)
    audio = find_check_audio(tiny_root, loaded, need_labels=True)
    assert audio.labelled
    if labelled_auc(loaded, audio.labelled) < 0.5:
        loaded = LoadedModel(GraphModel(loaded.config, turned_round(loaded, -1)), loaded.config, loaded.lineage)
    return loaded, audio, job


def turned_round(loaded: LoadedModel, sign: float) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]:
    """A graph whose logits are the model's, or their opposites."""

    def run(images: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, ...]:
        with torch.no_grad():
            output = loaded.model(torch.from_numpy(images), torch.from_numpy(target))
        return tuple(sign * getattr(output, name).numpy() for name in OUTPUTS)

    return run


def test_a_graph_that_ranks_worse_on_labelled_soundscapes_is_refused(
    judged: tuple[LoadedModel, CheckAudio, ExportJob],
) -> None:
    loaded, audio, job = judged
    record = compare(loaded, turned_round(loaded, 1), audio, job, lambda line: None)
    assert (record.max_difference, record.macro_auc) == (0, record.macro_auc_torch)
    assert record.macro_auc > 0.5
    with pytest.raises(CheckpointError, match=r"int8: macro AUC 0\.\d{4}, PyTorch 0\.\d{4}, on 2 .*loses 0\.\d{4}"):
        compare(loaded, turned_round(loaded, -1), audio, job, lambda line: None)


def test_a_graph_too_far_from_pytorch_is_refused(judged: tuple[LoadedModel, CheckAudio, ExportJob]) -> None:
    loaded, audio, _ = judged
    job = ExportJob(Path("m"), Path("m"), "onnx", Path("d"))
    for sign in (-1, np.nan):
        with pytest.raises(CheckpointError, match=r"is above the limit 0\.001; nothing is exported"):
            compare(loaded, turned_round(loaded, sign), audio, job, lambda line: None)


def test_int8_is_refused_where_nothing_is_labelled(tiny_root: Path, tiny_models: list[Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(tiny_root, tmp_path / "data"))
    (root / "train_soundscapes_labels.csv").unlink()
    with pytest.raises(DataError, match=r"int8 is judged by train_soundscapes_labels\.csv"):
        find_check_audio(root, load_model(tiny_models[0]), need_labels=True)


def test_nothing_is_left_of_a_refused_export(tiny_root: Path, tiny_models: list[Path], tmp_path: Path) -> None:
    first = load_model(tiny_models[0])
    lineage = first.lineage.model_copy(update={"classes": ("1139490", "abethr1", "wolf")})
    save_model(tmp_path / "other", first.model.state_dict(), first.config, lineage)
    before = sorted((tmp_path / "other").iterdir())
    with pytest.raises(CheckpointError, match="its classes are not those of the models"):
        export_model(ExportJob(tmp_path / "other", tmp_path / "other", "onnx", tiny_root))
    assert sorted((tmp_path / "other").iterdir()) == before


def test_a_limit_of_macro_auc_is_refused_where_nothing_is_labelled(
    tiny_root: Path, tiny_models: list[Path], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(tiny_root, tmp_path / "data"))
    (root / "train_soundscapes_labels.csv").unlink()
    with pytest.raises(ConfigError, match=r"--max-auc-loss 0\.01: .* has no labelled train soundscapes"):
        export_model(ExportJob(tiny_models[0], tmp_path / "out", "onnx", root, max_auc_loss=0.01))
    assert not (tmp_path / "out").exists()
