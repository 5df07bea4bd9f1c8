"""`python -m trainables.space show FILE`: a search space as a table, its size, and three samples."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sed_model.errors import UserError
from sed_model.stages import check_stage_names, plan_stages
from trainables import cli
from trainables.overrides import Use, check_used, parse_overrides
from trainables.rungs import describe_rungs
from trainables.search_space import SearchSpace, space_size
from trainables.space import load_space

EXAMPLES = """  python -m trainables.space show arch.yaml
  python -m trainables.space show my_space.yaml --set model.backbone=efficientnet_b0 --json"""


def samples(space: SearchSpace, n_samples: int, seed: int) -> list[dict[str, object]]:
    """What random search would draw first."""
    import optuna  # which --help can do without

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [space.suggest(study.ask()) for _ in range(n_samples)]


def print_space(space: SearchSpace, console: Console) -> None:
    flat = space.base.flat()
    table = Table(title=f"{space.name}: {len(space.parameters)} parameters", title_justify="left")
    table.add_column("key", no_wrap=True)
    for column in ("drawn from", "when", "base"):
        table.add_column(column, overflow="fold")
    for parameter in space.parameters:
        kind, arguments = next(iter(parameter.distribution.as_dict().items()))
        drawn_from = f"{kind} {', '.join(map(str, arguments))}"
        when = " and ".join(f"{c.parent} in {list(c.values)}" for c in parameter.when)
        table.add_row(*map(escape, (parameter.key, drawn_from, when, str(flat[parameter.key]))))
    console.print(table)
    console.print(f"size: {space_size(space)}")
    console.print(escape(f"rungs: {rungs_text(space)}"), highlight=False)
    for number, sample in enumerate(samples(space, 3, space.search.seed), start=1):
        text = ", ".join(
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in sample.items()
        )
        console.print(escape(f"sample {number}: {text}"), highlight=False)


def rungs_text(space: SearchSpace) -> str:
    return describe_rungs(
        space.search.scheduler, plan_stages(space.base, space.search.stages, space.search.epochs_scale)
    )


def as_json(space: SearchSpace) -> str:
    """The whole space, as in a run's search.yaml, with its size and what random search would draw first."""
    told = {"name": space.name, "size": space_size(space), "rungs": rungs_text(space)}
    tree = {**told, "samples": samples(space, 3, space.search.seed)}
    return json.dumps({**tree, **space.as_dict()}, indent=2, ensure_ascii=False)


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
