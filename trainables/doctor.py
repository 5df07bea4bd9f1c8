"""The doctor command: what this machine has, and what to set before a search."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sed_model.core import cli

DESCRIPTION = """What this machine has for searches, a line for each thing: processor and precision, cores and memory
(as a container limits them), disks, /dev/shm, open files, GPU, decoders, versions, ports. Each line says ok, or set
with what to set, or fails where a search certainly would; then the exit status is 1. Nothing is changed."""
EXAMPLES = """  python -m trainables.doctor
  python -m trainables.doctor --data DIR --out runs"""


def main(arguments: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(arguments)
    cli.say("looking at this machine")
    from trainables.machine.advice import findings, told
    from trainables.machine.facts import look

    machine = look(options.out)
    found = findings(machine)
    if options.data is not None:
        from trainables.machine.data_cost import data_finding

        found.append(data_finding(options.data, machine))
    print("\n".join(told(found)), flush=True)
    if any(one.level == "fails" for one in found):
        raise SystemExit(cli.EXIT_FAILURE)


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser("trainables.doctor", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("--data", type=cli.path, metavar="DIR", help="a data folder: what its audio takes in the cache")
    add("--out", type=cli.path, default=Path("runs").absolute(), metavar="DIR", help="where run folders go (runs)")
    return parser


if __name__ == "__main__":
    cli.run(main)
