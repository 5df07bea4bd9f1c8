"""A search space as a table, its size, and three samples."""

from __future__ import annotations

import json

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sed_model.config.stages import plan_stages
from trainables.spaces.rungs import describe_rungs
from trainables.spaces.search_space import SearchSpace, space_size


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
