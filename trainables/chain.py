"""The chain command: from a data folder to a Kaggle folder within some hours."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sed_model.core import cli
from trainables.chaining.options import DEFAULT_HOURS, DEFAULT_ROUNDS, DEFAULT_SPACE, ChainOptions
from trainables.searching.options import add_trial_resources

DESCRIPTION = """The whole road in one command: a data folder goes in, a folder for Kaggle comes out.

  search           trials of --space; the first ones are measured, and tell how much fits into --hours
  finalists        the default and the trials that beat it train again, with parts of the labelled soundscapes
  labels           the finalists label the unlabelled soundscapes
  students         rounds that learn from these labels, until a round gains less than its error
  post-processing  tuned where labelled soundscapes prove a gain
  kaggle           models, graphs, code and a notebook

The plan is printed first, and again after the first trials. What the hours have no room for is left out, and said;
the Kaggle folder is always made, a little late if need be. Killed at any moment, the same command goes on with what is
missing; the hours count while it runs. The search is a run like any, RUN = OUT/NAME, and so are the students,
RUN-student-1, ..; RUN-chain holds chain.json (what is done), post.json and kaggle/."""
EXAMPLES = """  python -m trainables.chain --data birdclef-2025 --hours 8 --gpus-per-trial 1
  python -m trainables.chain --data birdclef-2025 --hours 8 --gpus-per-trial 1 --plan      (only the plan)
  python -m trainables.chain --data DIR --space pooling.yaml --set model.backbone=efficientnet_b0 --name pooled
  python -m trainables.chain --space teacher.yaml --teacher runs/PROBE --name taught"""


def main(arguments: Sequence[str] | None = None) -> None:
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = build_parser().parse_args(words)
    cli.say("checking the space and the data; recordings that are new are decoded")
    from trainables.on_ray.cluster import prepare_environment

    prepare_environment()  # Ray reads some variables when it is imported
    from trainables.chaining.run import run_chain  # imports torch and ray, which --help can do without

    run_chain(ChainOptions(cli.typed("trainables.chain", words), **cli.frozen(vars(options))))


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser("trainables.chain", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("--data", type=cli.path, metavar="DIR", help="folder in BirdCLEF layout (train.csv, train_audio/, ..)")
    add(
        "--space",
        default=DEFAULT_SPACE,
        metavar="FILE",
        help=f"search space: a path, or a name in search_spaces/ ({DEFAULT_SPACE})",
    )
    add("--out", type=cli.path, default=Path("runs").absolute(), metavar="DIR", help="where run folders go (runs)")
    add("--name", help="name of the search's run folder (that of the data folder)")
    add(
        "--teacher",
        type=cli.run_folder,
        metavar="RUN",
        help="the search starts from that run or learns from its probe, as trainables.search --teacher does",
    )
    add("--plan", action="store_true", help="check everything, print the plan, and leave")
    budget = parser.add_argument_group("budget").add_argument
    budget("--hours", type=cli.positive_float, default=DEFAULT_HOURS, metavar="H", help=f"for all ({DEFAULT_HOURS:g})")
    budget("--num-trials", type=cli.positive_int, metavar="N", help="trials at most (the space's)")
    budget("--finalists", type=cli.whole_number, metavar="N", help="finalists at most (the space's); 0: none")
    budget(
        "--rounds",
        type=cli.whole_number,
        default=DEFAULT_ROUNDS,
        metavar="N",
        help=f"rounds of students at most ({DEFAULT_ROUNDS}); 0: none",
    )
    method = parser.add_argument_group("method")
    method.add_argument("--seed", type=cli.seed, metavar="N", help="seed of the draws and of the training (0)")
    cli.add_set(method)
    method.add_argument(
        "--student-set",
        dest="student_overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="the same for the students, e.g. stages.pseudo.epochs=24",
    )
    add_trial_resources(parser.add_argument_group("machine"))
    return parser


if __name__ == "__main__":
    cli.run(main)
