"""The search command: recordings -> trials on Ray Tune -> leaderboard -> ensemble -> pseudo-labels."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sed_model.core import cli
from trainables.searching.options import SearchOptions, add_trial_resources

DESCRIPTION = """Search a space of SED settings: Ray Tune runs the trials, Optuna draws them, ASHA stops the weak ones.
Without --data a small synthetic data set is made (once) and searched with small settings."""
EXAMPLES = """  python -m trainables.search --space arch.yaml
  python -m trainables.search --space pooling.yaml --data birdclef-2025 --num-trials 60 --gpus-per-trial 1
  python -m trainables.search --space arch.yaml --data DIR --set model.backbone=efficientnet_b0 --set data.window_s=5
  python -m trainables.search --space arch.yaml --data DIR --cost cpu_ms_per_window --warm-start runs/OLD
  python -m trainables.search --space pseudo.yaml --teacher runs/NAME
  python -m trainables.search --resume --name NAME      (goes on with a search that was broken off)"""


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(sys.argv[1:] if arguments is None else arguments)
    cli.say("checking the space and the data; recordings that are new are decoded")
    from trainables.on_ray.cluster import prepare_environment

    prepare_environment()  # Ray reads some variables when it is imported
    from trainables.searching.run import run_search  # imports torch and ray, which --help can do without

    run_search(options)


def parse(words: Sequence[str]) -> SearchOptions:
    """The options of a search. With --resume, --name may be the path of a run as well."""
    parser = build_parser()
    given = vars(parser.parse_args(words))
    if given["resume"] and "/" in (given["name"] or "") and given["out"] == parser.get_default("out"):
        run = cli.path(given["name"])
        given |= {"out": run.parent, "name": run.name}
    return SearchOptions(cli.typed("trainables.search", words), **cli.frozen(given))


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser("trainables.search", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add(
        "--space",
        metavar="FILE",
        help="search space: a path, or a name in search_spaces/ (arch.yaml, pooling.yaml, ..)",
    )
    add("--data", type=cli.path, metavar="DIR", help="folder in BirdCLEF layout (train.csv, train_audio/, ..)")
    add("--out", type=cli.path, default=Path("runs").absolute(), metavar="DIR", help="where run folders go (runs)")
    add("--name", help="name of the run folder (default: space and time); with --resume also its path")
    add(
        "--teacher",
        type=cli.run_folder,
        metavar="RUN",
        help="a student's search: start from that run's best model, and learn from its pseudo-labels (pseudo.yaml)",
    )
    add("--resume", action="store_true", help="go on with the run of that --name, or with the newest one")
    add_budget(parser)
    add_method(parser)
    add_machine(parser)
    add_afterwards(parser)
    return parser


def add_budget(parser: argparse.ArgumentParser) -> None:
    """How long."""
    add = parser.add_argument_group("budget").add_argument
    add("--num-trials", type=cli.positive_int, metavar="N", help="trials (default: the space's)")
    add("--time-budget", type=cli.duration_s, metavar="30m", help="start no more trials after that time")
    add("--epoch-budget", type=cli.positive_int, metavar="N", help="start no more trials after so many epochs in all")
    add("--stages", metavar="A,B,..", help="stages of a trial: pretrain_ce,train_bce,finetune")
    add("--epochs-scale", type=cli.positive_float, metavar="X", help="multiplies the epochs of each stage")


def add_method(parser: argparse.ArgumentParser) -> None:
    """How points are drawn, and weak trials stopped."""
    method = parser.add_argument_group("method")
    add = method.add_argument
    add(
        "--searcher",
        choices=["optuna", "random", "gp", "nsga2"],
        help="how points are drawn: TPE, independently, by a Gaussian process, by NSGA-II (the space's)",
    )
    add("--scheduler", choices=["asha", "none"], help="how weak trials are stopped (the space's)")
    add(
        "--cost",
        choices=["cpu_ms_per_window", "params_m"],
        help="second objective, to be small: search for the Pareto front of score and cost",
    )
    add(
        "--warm-start",
        type=cli.run_folder,
        action="append",
        default=[],
        metavar="RUN",
        help="start from what the search in that run folder found on the same data; may be repeated",
    )
    add("--seed", type=cli.seed, metavar="N", help="seed of the draws and of the training (0)")
    cli.add_set(method)


def add_machine(parser: argparse.ArgumentParser) -> None:
    """What trials get, and where they run."""
    machine = parser.add_argument_group("machine")
    add_trial_resources(machine)
    add = machine.add_argument
    add(
        "--storage",
        metavar="URI",
        help="where trials' files go on a cluster without a shared folder: s3://.., gs://.., file:///..",
    )
    add(
        "--track",
        metavar="TRACKER",
        help="report trials to mlflow, mlflow:URI or wandb, too (extras of these names); none ends it with --resume",
    )
    add("--dry-run", action="store_true", help="check everything, print what would run where, and leave")
    add("--dashboard", action=argparse.BooleanOptionalAction, default=True, help="Ray's dashboard (on)")


def add_afterwards(parser: argparse.ArgumentParser) -> None:
    """What follows the trials."""
    add = parser.add_argument_group("afterwards").add_argument
    add("--top-k", type=cli.positive_int, metavar="K", help="trials in the ensemble, and that --refit-folds trains (3)")
    add(
        "--finalists",
        type=cli.whole_number,
        metavar="N",
        help="best trials that train on parts of the labelled soundscapes and are delivered as their mean; 0: none",
    )
    add(
        "--refit-folds",
        type=cli.whole_numbers,
        metavar="0,1,2",
        help="train the --top-k best again on these folds (with labelled soundscapes: seeds), for mean and spread",
    )
    add(
        "--pseudo-labels",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="label the unlabelled soundscapes with the ensemble (on)",
    )


if __name__ == "__main__":
    cli.run(main)
