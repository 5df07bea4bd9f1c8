"""Macro AUC of trained models on labelled soundscapes: for final figures on test data, never for choosing anything.

python benchmarks/score_trial.py --model runs/NAME/trials/trial_0003 --data DIR [--model ..] [--ensemble]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from sed_model.audio.windows import decode_as_cached
from sed_model.core.errors import UserError
from sed_model.data.soundscape_labels import read_soundscape_labels
from sed_model.model.checkpoint import LoadedModel, load_model
from sed_model.model.devices import Runtime, choose_runtime
from sed_model.predict.soundscapes import check_members_fit
from sed_model.predict.window_scores import predict_soundscape
from sed_model.run_folder.metrics import macro_auc


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, action="append", required=True, help="folder of a model; may be repeated")
    parser.add_argument("--data", type=Path, required=True, help="data folder with test_soundscapes/")
    parser.add_argument("--ensemble", action="store_true", help="score the mean of the models as well")
    options = parser.parse_args(arguments)
    try:
        scores = score(options.model, options.data, options.ensemble)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(scores))
    return 0


def score(folders: Sequence[Path], data_dir: Path, ensemble: bool = False) -> dict[str, float]:
    """Test macro AUC of each model, and of the mean of all."""
    members = [load_model(folder) for folder in folders]
    if ensemble:
        check_members_fit(members, [str(folder) for folder in folders])
    runtime = choose_runtime(members[0].config.optim)
    for member in members:
        runtime.place(member.model)
    targets, by_member = predict_labelled(members, data_dir, runtime)
    scores = {str(folder): macro_auc(targets, rows) for folder, rows in zip(folders, by_member, strict=True)}
    if ensemble:
        scores["ensemble"] = macro_auc(targets, by_member.mean(axis=0))
    return scores


def predict_labelled(members: Sequence[LoadedModel], data_dir: Path, runtime: Runtime) -> tuple[np.ndarray, np.ndarray]:
    """Targets [windows, classes] and probabilities [members, windows, classes] of the test soundscapes."""
    config, classes = members[0].config, members[0].lineage.classes
    labels = read_soundscape_labels(
        data_dir / "test_soundscapes_labels.csv", data_dir / "test_soundscapes", classes, config.data.target_s
    )
    targets, results = [], []
    for path, rows in labels.groupby("path", sort=True):
        waveform = decode_as_cached(data_dir / str(path), config.front_end.sample_rate_hz)
        results.append(predict_soundscape(members, waveform, rows["start_s"].to_numpy(float), runtime))
        targets.append(rows[list(classes)].to_numpy(np.float32))
    return np.concatenate(targets), np.concatenate(results, axis=1)


if __name__ == "__main__":
    torch.set_num_threads(2)
    raise SystemExit(main())
