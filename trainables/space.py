"""`python -m trainables.space show FILE`: a search space as a table, its size, and three samples."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from sed_model.config.stages import check_stage_names
from sed_model.core import cli
from sed_model.core.errors import UserError
from trainables.spaces.load import load_space
from trainables.spaces.overrides import Use, check_used, parse_overrides
from trainables.spaces.table import as_json, print_space

EXAMPLES = """  python -m trainables.space show arch.yaml
  python -m trainables.space show my_space.yaml --set model.backbone=efficientnet_b0 --json"""


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser("trainables.space", "Look at a search space before it is searched.", EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="show")
    show = commands.add_parser("show", help="print the space as a table, its size and three samples")
    show.add_argument("space", metavar="FILE", help="a YAML file, or a name in search_spaces/")
    show.add_argument("--json", action="store_true", help="one JSON object, for scripts")
    cli.add_set(show)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 2 when the space or an override is wrong."""
    options = build_parser().parse_args(arguments)
    try:
        overrides = parse_overrides(options.overrides)
        space = load_space(options.space, overrides)
        check_used(
            overrides, space.base, Use("space show", space.search.stages, tuple(p.key for p in space.parameters))
        )
        check_stage_names(space.search.stages)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return cli.exit_status(error)
    if options.json:
        print(as_json(space))
        return 0
    console = Console()
    print_space(space, console if console.is_terminal else Console(width=120))
    fixed = ", ".join(f"{name}={space.base.flat()[name]}" for name in overrides)
    if fixed:
        print(f"fixed: {fixed}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
