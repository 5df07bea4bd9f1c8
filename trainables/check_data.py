"""Which recordings of a data folder are copies, hold the same sound, or are clipped, silent or damaged.

python -m trainables.check_data --data DIR [--out FILE] [--leave-out FILE]
"""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sed_model.core import cli

if TYPE_CHECKING:
    from sed_model.data.care import Finding

DESCRIPTION = """Hears every recording and soundscape of a data folder, and lists: copies to the last byte; recordings
of the same sound at another level, in another format, or cut otherwise (by audio fingerprints); what is clipped, silent
or cannot be read. It says where copies have different labels, and where one trains and one validates: scores are too
good then. Speech is not looked for.

Nothing is changed. --leave-out writes a list of what can go without loss (copies under the same label, what is part of
another recording, silence, damage); after a look at it, --set data.leave_out=FILE leaves these out of a search."""
EXAMPLES = """  python -m trainables.check_data --data DIR --out checked.csv
  python -m trainables.check_data --data DIR --out checked.csv --leave-out leave_out.txt"""
N_SHOWN = 10
"""Findings of a kind that are printed."""
REPORT_EVERY_S = 10.0


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser("trainables.check_data", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("--data", type=cli.path, required=True, metavar="DIR", help="the data folder")
    add("--out", type=cli.path, metavar="FILE", help="table of everything found: path, kind, other, what, leave_out")
    add("--leave-out", type=cli.path, metavar="FILE", help="list to write for data.leave_out")
    cli.add_set(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(arguments)
    cli.say(f"reading {options.data}")
    from sed_model.config.sed_config import SedConfig
    from sed_model.core.files import write_text
    from sed_model.core.paths import check_output
    from sed_model.data.care import check_sounds, finding_table
    from sed_model.data.recordings import read_configured
    from trainables.spaces.overrides import absolute_paths, parse_overrides

    for name in ("out", "leave_out"):
        if getattr(options, name):
            check_output(getattr(options, name), f"--{name.replace('_', '-')}")
    settings = SedConfig().with_overrides(absolute_paths(parse_overrides(options.overrides))).data
    folder = read_configured(options.data, settings)
    for note in folder.notes:
        cli.say(f"data: {note}")
    progress = _Progress()
    found = check_sounds(folder, settings, progress)
    tell(found)
    if options.out:
        write_text(options.out, finding_table(found).to_csv(index=False))
        cli.say(f"{options.out}: {len(found)} findings")
    names = sorted({one.path for one in found if one.leave_out})
    if options.leave_out and not names:
        cli.say(f"nothing can go without loss: {options.leave_out} is not written")
    elif options.leave_out:
        write_text(options.leave_out, "\n".join(names) + "\n")
        place, data = shlex.quote(f"data.leave_out={options.leave_out}"), shlex.quote(str(options.data))
        cli.say(f"{options.leave_out}: {len(names)} files that can go without loss")
        cli.print_next(f"python -m trainables.search --space arch.yaml --data {data} --set {place} --dry-run")


def tell(found: Sequence[Finding]) -> None:
    """The first findings of each kind, and how many there are."""
    from sed_model.data.care import KINDS

    for kind in KINDS:
        of_kind = [one for one in found if one.kind == kind]
        cli.say(f"{kind}: {len(of_kind)}")
        for one in of_kind[:N_SHOWN]:
            cli.say(f"  {one.path}{' = ' if one.other else ''}{one.other}: {one.told}")
        if len(of_kind) > N_SHOWN:
            cli.say(f"  and {len(of_kind) - N_SHOWN} more (--out FILE lists all)")
    cli.say("speech: not looked for")


class _Progress:
    """Says now and then how far it is, and how long the rest takes."""

    def __init__(self) -> None:
        self._start_s = self._last_s = time.monotonic()

    def __call__(self, n_done: int, n_files: int) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s >= REPORT_EVERY_S or n_done == n_files:
            self._last_s, taken_s = now_s, now_s - self._start_s
            cli.say(
                f"heard {n_done}/{n_files} files in {taken_s:.0f} s, {taken_s / n_done * (n_files - n_done):.0f} s left"
            )


if __name__ == "__main__":
    cli.run(main)
