"""The train command: one stage or all of them, through Ray Train."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sed_model.core import cli

DESCRIPTION = """Train one configuration with Ray Train: one stage, or all in order. Each stage has a folder in --out,
and starts from the model of the stage before it in the same --out."""
EXAMPLES = """  python -m trainables.train --stage all --data DIR --out runs/mine
  python -m trainables.train --stage train_bce --data DIR --out runs/mine --set stages.train_bce.lr=3e-4
  python -m trainables.train --config runs/NAME/trials/trial_0003/config.json --stage all --data DIR --out runs/again
  python -m trainables.train --teacher runs/PROBE --stage all --data DIR --out runs/taught --set distil.weight=1"""


def main(arguments: Sequence[str] | None = None) -> None:
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = build_parser().parse_args(words)
    cli.say("checking the configuration and the data; recordings that are new are decoded")
    from trainables.searching.training import TrainOptions, run_training

    run_training(TrainOptions(tuple(words), **cli.frozen(vars(options))))


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser("trainables.train", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("--config", metavar="FILE", help="a path, or a name in search_spaces/ (base.yaml; demo.yaml without --data)")
    add("--stage", required=True, choices=["pretrain_ce", "train_bce", "finetune", "all"], help="what to train")
    add(
        "--data",
        type=cli.path,
        metavar="DIR",
        help="folder in BirdCLEF layout (default: the demo data, small settings)",
    )
    add(
        "--out",
        type=cli.path,
        default=Path("runs/train").absolute(),
        metavar="DIR",
        help="where models go (runs/train)",
    )
    add(
        "--teacher",
        type=cli.run_folder,
        metavar="DIR",
        help="run of a probe whose foreign model's embeddings distil.weight is about",
    )
    add("--epochs-scale", type=cli.positive_float, default=1.0, metavar="X", help="multiplies the epochs of each stage")
    add("--workers", type=cli.positive_int, default=1, metavar="N", help="data-parallel workers (1)")
    add("--cpus-per-worker", type=cli.positive_int, metavar="N", help="CPUs per worker (default: all, shared out)")
    add(
        "--gpus-per-worker",
        type=cli.nonnegative_float,
        metavar="X",
        help="GPUs per worker (default: 1 where there are any)",
    )
    add("--resume", action="store_true", help="go on with training that was broken off in --out")
    add("--address", help="a running Ray cluster: auto, or host:6379 (default: a local Ray)")
    cli.add_set(parser)
    return parser


if __name__ == "__main__":
    cli.run(main)
