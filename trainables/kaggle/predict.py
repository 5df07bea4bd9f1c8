"""Soundscapes -> submission.csv with the models of this folder. Needs neither Ray nor a network.

python predict.py --soundscapes DIR --out submission.csv
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from sed_model.audio.audio_files import is_audio
from sed_model.core.errors import ConfigError, UserError
from sed_model.core.paths import check_output
from sed_model.export.bundle import Bundle, read_bundle
from sed_model.export.exported import emulated_note, load_exported
from sed_model.model.checkpoint import load_model
from sed_model.model.graph import check_installed
from sed_model.predict.ensemble import Ensemble, load_ensemble
from sed_model.predict.job import PredictJob, predict_soundscapes
from sed_model.predict.submission import find_sample, read_sample

FOLDER = Path(__file__).resolve().parent


def main(arguments: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    try:
        predict(options, read_bundle(FOLDER))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--soundscapes", type=Path, required=True, metavar="DIR", help="folder of audio files")
    add("--out", type=Path, required=True, metavar="FILE", help="submission.csv to write")
    add("--sample-submission", type=Path, metavar="FILE", help="default: the one in or beside the soundscapes")
    add(
        "--runtime",
        choices=("auto", "torch", "onnx", "openvino"),
        default="auto",
        help="auto: the exported graphs where their runtime is installed, else torch",
    )
    add(
        "--threads", type=threads, default=len(os.sched_getaffinity(0)), metavar="N", help="files at a time (one a CPU)"
    )
    return parser


def threads(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def predict(options: argparse.Namespace, bundle: Bundle) -> None:
    check_output(options.out, "--out")
    sample = options.sample_submission or find_sample(options.soundscapes)
    if sample and not has_audio(options.soundscapes):
        # Kaggle shows no test soundscapes before a notebook is submitted.
        read_sample(sample)
        shutil.copyfile(sample, options.out)
        print(f"{options.soundscapes}: no soundscapes; {options.out} is a copy of {sample.name}", flush=True)
        return
    ensemble = open_ensemble(options, bundle)
    job = PredictJob(
        soundscapes=options.soundscapes,
        out=options.out,
        sample=sample,
        post=bundle.post,
        n_threads=options.threads,
    )
    done = predict_soundscapes(job, ensemble)
    print(f"{options.out}: {done.n_rows} rows of {done.n_files} soundscapes, {len(done.bad)} of them unreadable")


def has_audio(folder: Path) -> bool:
    return folder.is_dir() and any(is_audio(path.name) for path in folder.iterdir())


def open_ensemble(options: argparse.Namespace, bundle: Bundle) -> Ensemble:
    folders = [FOLDER / "models" / name for name in bundle.models]
    runtime = options.runtime
    if runtime == "auto":
        runtime = bundle.runtime
        try:
            check_installed(runtime)
        except ConfigError:
            print(f"{runtime} is not installed here: predicting with torch", flush=True)
            runtime = "torch"
    load = load_model if runtime == "torch" else partial(load_exported, runtime=runtime, n_threads=options.threads)
    ensemble = load_ensemble(folders, bundle.joining, load)
    if runtime != "torch" and (note := emulated_note(folders, runtime)):
        print(note, flush=True)
    return ensemble


if __name__ == "__main__":
    sys.exit(main())
