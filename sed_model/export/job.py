"""A trained model -> a graph for ONNX Runtime or OpenVINO, compared with PyTorch on real audio before it is kept.

The graph is backbone and head: log-mel images and the target's place in the window go in, clip and frame logits come
out, for any number of windows. The log-mel stays outside, in the compiled loops of `fast_mel`: no graph is as fast.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from sed_model.core.errors import CheckpointError, ConfigError
from sed_model.core.files import explained_full_disk, sha256_of, write_json
from sed_model.export.check import CheckAudio, Images, find_check_audio, labelled_auc, largest_difference, target_images
from sed_model.export.exported import GRAPH_FILES, RECORD_FILE, ExportRecord
from sed_model.model.checkpoint import CONFIG_FILE, LINEAGE_FILE, LoadedModel, load_model, without_pretraining
from sed_model.model.graph import INPUTS, OUTPUTS, GraphModel, GraphRuntime, Precision, Run, open_onnx, open_openvino

MAX_DIFFERENCE: dict[str, float] = {"fp32": 1e-3, "fp16": 0.05, "bf16": 0.3, "int8": 1.0}
"""Of a probability against PyTorch in fp32. bf16 moves some by 0.15 and int8 by 0.4: there macro AUC is the judge."""
MAX_AUC_LOSS = 0.005
NEEDS: dict[str, tuple[str, ...]] = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}
OPSET = 20


@dataclass(frozen=True)
class ExportJob:
    """What to export, and what it is compared on.

    Attributes:
        out: folder of the export; that of the model, or one of its own.
        data_dir: data folder; its train soundscapes (else train recordings) are the real audio.
        max_difference: largest difference of a probability from PyTorch's; None: MAX_DIFFERENCE.
        max_auc_loss: what macro AUC on the labelled train soundscapes may lose; None: MAX_AUC_LOSS.
    """

    model_dir: Path
    out: Path
    runtime: GraphRuntime
    data_dir: Path
    precision: Precision = "fp32"
    max_difference: float | None = None
    max_auc_loss: float | None = None


def check_job(runtime: GraphRuntime, precision: Precision) -> None:
    """
    Raises:
        ConfigError: a package is missing, or ONNX in another precision than fp32.
    """
    if runtime == "onnx" and precision != "fp32":
        raise ConfigError(
            f"--precision {precision} with --format onnx: ONNX Runtime is slower in it on CPUs; use fp32, or "
            "--format openvino."
        )
    needed = dict.fromkeys([*NEEDS["onnx"][:2], *NEEDS[runtime], *(["nncf"] if precision == "int8" else [])])
    if missing := [name for name in needed if find_spec(name) is None]:
        raise ConfigError(
            f"--format {runtime} --precision {precision}: not installed: {', '.join(missing)}; "
            "install them: pip install '.[export]' in the project's folder, or the packages by their names."
        )


def export_model(job: ExportJob, report: Callable[[str], None] = print) -> ExportRecord:
    """Export, compare, and only then put the files in place.

    Raises:
        ConfigError: see `check_job`; or `max_auc_loss` has no labelled train soundscapes to be measured on.
        CheckpointError: the model cannot be used, or its graph is too far from it.
        DataError: the data folder cannot be used, or int8 finds no labelled train soundscapes.
        AudioError: no audio of it can be read.
    """
    check_job(job.runtime, job.precision)
    loaded = load_model(job.model_dir)
    audio = find_check_audio(job.data_dir, loaded, need_labels=job.precision == "int8")
    if job.max_auc_loss is not None and audio.labelled is None:
        raise ConfigError(
            f"--max-auc-loss {job.max_auc_loss:g}: {job.data_dir} has no labelled train soundscapes to measure macro "
            "AUC on; leave it out, or give other --data."
        )
    with explained_full_disk(job.out):
        job.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=job.out) as name:
            folder = Path(name)
            what = f"{job.model_dir.name}: {job.runtime} {job.precision}"
            report(f"{what}: making the graph, to be compared on {len(audio.files)} files")
            run = write_graph(loaded, folder, job, audio)
            record = compare(loaded, run, audio, job, report)
            return _put_in_place(folder, loaded, record, job)


def write_graph(loaded: LoadedModel, folder: Path, job: ExportJob, audio: CheckAudio) -> Run:
    """Write the graph's files and open them."""
    onnx_path, paths = folder / GRAPH_FILES["onnx"][0], [folder / name for name in GRAPH_FILES[job.runtime]]
    write_onnx(loaded, target_images(loaded, audio.files[:1])[0], onnx_path)
    if job.runtime == "onnx":
        return open_onnx(onnx_path)
    calibration = target_images(loaded, audio.files) if job.precision == "int8" else []
    write_openvino(onnx_path, paths[0], job.precision, calibration)
    return open_openvino(paths[0], paths[1], job.precision)


def write_onnx(loaded: LoadedModel, example: Images, path: Path) -> None:
    """Write backbone and head with the inputs `images` and `target`, for any number of windows."""
    # Two windows: the exporter takes an axis of length 1 for one that is always 1.
    inputs = tuple(torch.cat([tensor[:1], tensor[:1]]) for tensor in example)
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", message=r".*LeafSpec.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=r".*The axis name: batch will not be used", category=UserWarning)
        program = torch.onnx.export(
            loaded.model.eval(),
            inputs,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_shapes={name: {0: batch} for name in INPUTS},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise CheckpointError(f"{loaded.config.model.backbone}: PyTorch makes no ONNX graph of it; predict with torch.")
    program.save(str(path), external_data=False)


def write_openvino(onnx_path: Path, xml: Path, precision: Precision, calibration: Sequence[Images]) -> None:
    """Write the graph as OpenVINO IR (`xml` and the .bin beside it), with weights in fp16 for that precision.

    bf16 keeps them in fp32: rounded before the layers are fused and once more after it, they lost 0.004 of macro AUC.
    """
    openvino = import_module("openvino")
    graph = openvino.Core().read_model(onnx_path)
    if precision == "int8":
        graph = quantise(graph, calibration)
    openvino.save_model(graph, xml, compress_to_fp16=precision == "fp16")


def quantise(graph: Any, calibration: Sequence[Images]) -> Any:
    """int8 convolutions and matrix products, their ranges taken from real windows (post-training quantisation)."""
    os.environ.setdefault("NNCF_CI", "1")  # or nncf reports its use to its makers
    nncf = import_module("nncf")
    nncf.set_log_level(logging.ERROR)
    windows = [
        {name: tensor[i : i + 1].numpy() for name, tensor in zip(INPUTS, batch, strict=True)}
        for batch in calibration
        for i in range(len(batch[0]))
    ]
    # Asymmetric activations: those of SiLU reach further up than down.
    preset = nncf.QuantizationPreset.MIXED
    return nncf.quantize(graph, nncf.Dataset(windows), preset=preset, subset_size=len(windows))


def compare(
    loaded: LoadedModel, run: Run, audio: CheckAudio, job: ExportJob, report: Callable[[str], None]
) -> ExportRecord:
    """The record of a graph that may be kept.

    Raises:
        CheckpointError: it is too far from PyTorch, or its macro AUC on the labelled train soundscapes is too low.
    """
    what = f"{job.model_dir.name}: {job.runtime} {job.precision}"
    graph = LoadedModel(GraphModel(loaded.config, run).eval(), loaded.config, loaded.lineage)
    batches = target_images(loaded, audio.files)
    difference, n_windows = largest_difference(loaded, graph, batches), sum(len(images) for images, _ in batches)
    limit = MAX_DIFFERENCE[job.precision] if job.max_difference is None else job.max_difference
    found = f"largest difference of a probability from PyTorch {difference:.2g} over {n_windows} windows"
    report(f"{what}: {found} (limit {limit:g})")
    if not difference <= limit:  # NaN, too
        raise CheckpointError(
            f"{what}: {found} is above the limit {limit:g}; nothing is exported. Take --precision fp32."
        )
    before = after = None
    may_lose = MAX_AUC_LOSS if job.max_auc_loss is None else job.max_auc_loss
    if audio.labelled:
        report(f"{what}: scoring {len(audio.labelled.tasks)} labelled soundscapes with the graph and with PyTorch")
        before, after = (labelled_auc(model, audio.labelled) for model in (loaded, graph))
        found = f"macro AUC {after:.4f}, PyTorch {before:.4f}, on {len(audio.labelled.tasks)} labelled soundscapes"
        report(f"{what}: {found} (it may lose {may_lose:g})")
        if before - after > may_lose:
            raise CheckpointError(
                f"{what}: {found}: loses {before - after:.4f}, more than --max-auc-loss {may_lose:g}; nothing "
                f"is exported. Take --precision {'fp32' if job.precision == 'bf16' else 'auto'}."
            )
    return ExportRecord(
        runtime=job.runtime,
        precision=job.precision,
        weights_sha256=loaded.lineage.weights_sha256,
        files={},
        versions={name: version(name) for name in ("torch", *NEEDS[job.runtime])},
        n_windows=n_windows,
        max_difference=difference,
        macro_auc=after,
        macro_auc_torch=before,
    )


def _put_in_place(folder: Path, loaded: LoadedModel, record: ExportRecord, job: ExportJob) -> ExportRecord:
    """The record, with the checksums of the files, comes last: without it they are no export."""
    if job.out != job.model_dir:
        write_json(job.out / CONFIG_FILE, without_pretraining(loaded.config).model_dump(mode="json"))
        write_json(job.out / LINEAGE_FILE, loaded.lineage.model_dump(mode="json"))
    checksums = {}
    for name in GRAPH_FILES[job.runtime]:
        checksums[name] = sha256_of(folder / name)
        (folder / name).replace(job.out / name)
    record = record.model_copy(update={"files": checksums})
    write_json(job.out / RECORD_FILE[job.runtime], record.model_dump(mode="json"))
    return record
