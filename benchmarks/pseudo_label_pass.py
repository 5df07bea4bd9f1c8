"""Soundscapes -> probabilities of all members: windows per second of one thread, and the time a competition takes.

Plain: each model decodes each window and makes its log-mel with torchaudio, eager fp32. Ours: a soundscape decoded
once, one log-mel for all members, graphs of OpenVINO in what the CPU is fast at (bf16 or fp32). Random weights: speed
does not depend on them. Then 700 soundscapes and five efficientnet_b0 on two cores, measured on 20 and scaled.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from _common import Side, interleaved_ms, plain_log_mel, report
from _result import print_result

from sed_model.audio.decoding import decode
from sed_model.config.sed_config import SedConfig
from sed_model.export.job import write_onnx, write_openvino
from sed_model.model.checkpoint import Lineage, LoadedModel
from sed_model.model.devices import Runtime
from sed_model.model.graph import GraphModel, fastest, open_openvino
from sed_model.model.network import SedModel
from sed_model.predict.ensemble import Ensemble
from sed_model.predict.job import PredictJob, predict_soundscapes
from sed_model.predict.window_scores import predict_members, target_starts

N_CLASSES, FILE_S, N_ROUNDS = 206, 60, 3
CPU = Runtime(torch.device("cpu"), None, channels_last=False)
N_FILES, ALL_FILES, BUDGET_MIN, N_CORES = 20, 700, 90, 2
FARTHEST = 0.1
"""A probability of ours may be so far from the plain one: bf16, and another log-mel."""


@dataclass(frozen=True)
class Members:
    """PyTorch's models, and graphs in their place: all with the weights of the first, whose answers are compared."""

    torch: tuple[LoadedModel, ...]
    graphs: tuple[LoadedModel, ...]


def make_members(backbone: str, n_members: int, folder: Path, n_threads: int = 1) -> Members:
    config = SedConfig().with_overrides({"model.backbone": backbone, "model.pretrained": False})
    lineage = Lineage(
        stage="", loss="bce", epoch=1, parent=None, classes=tuple(f"class_{number}" for number in range(N_CLASSES)),
        data_fingerprint="", validation="", seed=0, metrics={},
    )  # fmt: skip
    torch.manual_seed(0)
    models = tuple(LoadedModel(SedModel(config, N_CLASSES).eval(), config, lineage) for _ in range(n_members))
    onnx_path, xml = folder / f"{backbone}.onnx", folder / f"{backbone}.xml"
    silence = torch.zeros(1, round(config.data.window_s * config.front_end.sample_rate_hz))
    write_onnx(models[0], (models[0].model.images(silence), torch.tensor([[0.25, 0.75]])), onnx_path)
    precision = fastest("auto", "openvino")
    write_openvino(onnx_path, xml, precision, [])
    runs = [open_openvino(xml, xml.with_suffix(".bin"), precision, n_threads) for _ in models]
    return Members(models, tuple(LoadedModel(GraphModel(config, run), config, lineage) for run in runs))


def write_soundscapes(folder: Path, n_files: int) -> list[Path]:
    """Tones in noise, at the rate of the models, as those of the competitions are."""
    rate_hz = SedConfig().front_end.sample_rate_hz
    rng, time_s = np.random.default_rng(0), np.arange(FILE_S * rate_hz) / rate_hz
    folder.mkdir()
    paths = []
    for number in range(n_files):
        tones = sum(np.sin(2 * np.pi * rng.uniform(500, 8000) * time_s) for _ in range(3))
        paths.append(folder / f"soundscape_{number:03d}.ogg")
        soundfile.write(paths[-1], (0.05 * (tones + rng.standard_normal(len(time_s)))).astype(np.float32), rate_hz)
    return paths


@torch.inference_mode()
def plain(members: Sequence[LoadedModel], path: Path) -> list[np.ndarray]:
    """Probabilities [windows, classes] of each member."""
    config = members[0].config
    s, window_s = config.front_end, config.data.window_s
    log_mel = plain_log_mel(s)
    starts_s = target_starts(FILE_S, config.data.target_s, config.data.target_s)
    results = []
    for member in members:
        images, targets = [], []
        for start_s in starts_s:
            first_s = min(max(0.0, start_s - (window_s - config.data.target_s) / 2), FILE_S - window_s)
            images.append(log_mel(torch.from_numpy(decode(path, s.sample_rate_hz, window_s, first_s))).unsqueeze(0))
            targets.append([(start_s - first_s) / window_s, (start_s - first_s + config.data.target_s) / window_s])
        logits = member.model(torch.stack(images), torch.tensor(targets)).clip_logits
        results.append(torch.sigmoid(logits).numpy())
    return results


def ours(members: Sequence[LoadedModel], path: Path) -> list[np.ndarray]:
    config = members[0].config
    starts_s = target_starts(FILE_S, config.data.target_s, config.data.target_s)
    waveform = decode(path, config.front_end.sample_rate_hz)
    return [scores.clip for scores in predict_members(members, waveform, starts_s, CPU)]


def compare(name: str, members: Members, path: Path, target: float) -> bool:
    """Print the line of one ensemble; whether the ratio holds and both sides say the same."""
    n_windows = len(target_starts(FILE_S, SedConfig().data.target_s, SedConfig().data.target_s))
    difference = float(np.abs(plain(members.torch[:1], path)[0] - ours(members.graphs[:1], path)[0]).max())
    sides = [
        Side(lambda _: plain(members.torch, path), n_windows),
        Side(lambda _: ours(members.graphs, path), n_windows),
    ]
    holds = report(name, interleaved_ms(sides, N_ROUNDS), target)
    if difference > FARTHEST:
        print(f"{name}: the sides differ by {difference:.2g}", file=sys.stderr)
    return holds and difference <= FARTHEST


def budget(members: Members, soundscapes: Path) -> bool:
    """Print how long all soundscapes of a competition take by the predict command; whether that is in time."""
    ensemble = Ensemble(members.graphs)
    job = PredictJob(soundscapes, soundscapes.parent / "submission.csv", n_threads=N_CORES)
    start_s, start_cpu_s = time.monotonic(), time.process_time()
    predict_soundscapes(job, ensemble, lambda line: None)
    scale = ALL_FILES / N_FILES / 60
    minutes, cpu_minutes = (time.monotonic() - start_s) * scale, (time.process_time() - start_cpu_s) * scale
    return print_result(
        f"{ALL_FILES}_soundscapes_{len(members.graphs)}_efficientnet_b0",
        ours=minutes,
        unit=f"minutes on {N_CORES} cores",
        minutes_of_cpu_a_core=cpu_minutes / N_CORES,
        ratio=BUDGET_MIN / minutes,
        target=1,
        holds=minutes < BUDGET_MIN,
    )


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_soundscapes(folder / "soundscapes", N_FILES)
        holds = [
            compare("pseudo_label_pass_seresnext26t", make_members("seresnext26t_32x4d", 1, folder), paths[0], 2.8),
            compare("pseudo_label_pass_5_mobilenetv3", make_members("mobilenetv3_small_100", 5, folder), paths[0], 5.5),
            budget(make_members("efficientnet_b0", 5, folder, N_CORES), folder / "soundscapes"),
        ]
    return 0 if all(holds) else 1


if __name__ == "__main__":
    sys.exit(main())
