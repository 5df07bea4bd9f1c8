"""The student command: rounds of learning from pseudo-labels; each round's best student teaches the next."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sed_model.core import cli
from trainables.searching.options import add_trial_resources

DESCRIPTION = """A student starts from the best model of a run and learns from the pseudo-labels of its ensemble, mixed
with the real recordings. Each round is a run of its own, RUN-student-1, RUN-student-2, ..: its best models label the
soundscapes for the next round. The last round is kept unless it is proven worse. (Noisy student, Xie et al.)
With --teachers the models of other runs label for one round: of another backbone, or of several rounds; RUN's own
models label only where it is named among them."""
EXAMPLES = """  python -m trainables.student --run runs/NAME --rounds 2
  python -m trainables.student --run runs/NAME --rounds 3 --num-trials 8 --top-k 3      (a small search in each round)
  python -m trainables.student --run runs/NAME --teachers runs/OTHER                    (another backbone's labels)
  python -m trainables.student --run runs/NAME --set pseudo.prob=0.5 --set stages.pseudo.epochs=12"""

ROUNDS, ROUNDS_OF_TEACHERS = 2, 1


def main(arguments: Sequence[str] | None = None) -> None:
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = build_parser().parse_args(words)
    if options.rounds is None:
        options.rounds = ROUNDS_OF_TEACHERS if options.teachers else ROUNDS
    cli.say("looking for the model and the labels to learn from")
    from trainables.searching.rounds import StudentOptions, run_rounds

    run_rounds(StudentOptions(cli.typed("trainables.student", words), **cli.frozen(vars(options))))


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser("trainables.student", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("--run", type=cli.run_folder, required=True, metavar="DIR", help="run folder of the first teacher")
    add("--rounds", type=cli.positive_int, metavar="N", help=f"rounds at most ({ROUNDS}; 1 with --teachers)")
    add(
        "--teachers",
        type=cli.run_folder,
        nargs="+",
        default=[],
        metavar="DIR",
        help="runs whose models label instead of RUN's own, each run alike",
    )
    add("--name", metavar="NAME", help="the rounds' run folders are NAME-1, NAME-2, .. beside RUN (RUN-student)")
    add("--data", type=cli.path, metavar="DIR", help="the run's data folder, if it has moved")
    add("--space", default="pseudo.yaml", metavar="FILE", help="what each round's trials are drawn from (pseudo.yaml)")
    add("--num-trials", type=cli.positive_int, default=1, metavar="N", help="trials per round; 1: the defaults (1)")
    add(
        "--finalists",
        type=cli.whole_number,
        metavar="N",
        help="best trials of a round that train on parts of the labelled soundscapes (as in a search); 0: none",
    )
    add("--top-k", type=cli.positive_int, default=3, metavar="K", help="trials that teach the next round (3)")
    add_trial_resources(parser)
    cli.add_set(parser)
    return parser


if __name__ == "__main__":
    cli.run(main)
