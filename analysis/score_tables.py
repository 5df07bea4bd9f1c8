"""The tables of a score: on the terminal, as JSON and as CSV."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sed_model.core.errors import DataError
from sed_model.core.texts import shown

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

N_CLASSES = 20
"""So many of the worst classes are printed; a file has all."""


@dataclass(frozen=True)
class Scored:
    """What was scored. Names are of columns, with their headings; metrics have `_low` and `_high` beside them.

    Attributes:
        tables: metrics, sites and classes.
        names: the metrics of the first table.
        site_names: those of a site.
        site_counts: columns that say how much of a site there is.
        class_names: the metrics of a class that are printed; the first one sorts them.
        class_counts: columns that say how much of a class there is.
        class_metrics: all metrics of a class.
        size: how much was scored, for people.
        head: what a .json file begins with.
    """

    tables: Mapping[str, pd.DataFrame]
    names: Mapping[str, str]
    site_names: Mapping[str, str]
    site_counts: Mapping[str, str]
    class_names: Mapping[str, str]
    class_counts: Mapping[str, str]
    class_metrics: Sequence[str]
    size: str
    head: Mapping[str, Any]


def check_sites(pattern: re.Pattern[str] | None, sites: Sequence[str], files: Sequence[str]) -> None:
    """
    Raises:
        DataError: the user's pattern is in no file's name.
    """
    if pattern and not any(sites):
        raise DataError(f"--sites {pattern.pattern}: is in no file's name, such as {files[0]}.")


def print_scores(scored: Scored, console: Console) -> None:
    """Print the metrics, the sites and the worst classes."""
    print_metrics(scored.tables["metrics"], scored.names, scored.size, console)
    values = scored.tables["metrics"].set_index("metric")["value"]
    if "padded_cmap" in values and values.isna()["padded_cmap"]:
        console.print("padded cmAP is of scores within 0 and 1 only, which these are not", highlight=False)
    print_sites(scored.tables["sites"], scored.site_names, scored.site_counts, console)
    print_classes(scored.tables["classes"], scored.class_names, scored.class_counts, console)
    metric, name = next(iter(scored.class_names.items()))
    if absent := int(scored.tables["classes"][metric].isna().sum()):
        console.print(f"classes that are in no window, and have no {name}: {absent}", highlight=False)


def print_metrics(table: pd.DataFrame, names: Mapping[str, str], size: str, console: Console) -> None:
    """Print a row a metric: metric, value, low, high, n_classes."""
    from rich.table import Table

    metrics = Table("metric", "value", "95 %", "classes", title=size)
    for row in table.to_dict("records"):
        classes = "-" if row["n_classes"] != row["n_classes"] else f"{row['n_classes']:.0f}"
        metrics.add_row(names[str(row["metric"])], _value(row["value"]), _interval(row["low"], row["high"]), classes)
    console.print(metrics)


def print_sites(table: pd.DataFrame, names: Mapping[str, str], counts: Mapping[str, str], console: Console) -> None:
    """Print a row a site: its counts, by column and heading, and each metric with its interval."""
    from rich.markup import escape
    from rich.table import Table

    if table.empty:
        console.print("no site: no file's name tells one (--sites PATTERN)", highlight=False)
        return
    sites = Table("site", *counts.values(), *names.values(), title="sites")
    for row in table.to_dict("records"):
        values = [f"{_value(row[name])} ({_interval(row[f'{name}_low'], row[f'{name}_high'])})" for name in names]
        sites.add_row(escape(shown(row["site"])), *(str(row[count]) for count in counts), *values)
    console.print(sites)


def print_classes(table: pd.DataFrame, names: Mapping[str, str], counts: Mapping[str, str], console: Console) -> None:
    """Print the worst classes by the first metric: label, counts by column and heading, metrics with intervals."""
    from rich.markup import escape
    from rich.table import Table

    worst = table.dropna(subset=next(iter(names))).head(N_CLASSES)
    title = "classes, the worst first" if len(worst) < N_CLASSES else f"the {N_CLASSES} worst classes"
    headings = [heading for name in names.values() for heading in (name, "95 %")]
    classes = Table("class", *counts.values(), *headings, title=title)
    for row in worst.to_dict("records"):
        values = [(_value(row[name]), _interval(row[f"{name}_low"], row[f"{name}_high"])) for name in names]
        cells = [cell for pair in values for cell in pair]
        classes.add_row(escape(shown(row["label"])), *(str(row[count]) for count in counts), *cells)
    console.print(classes)


def _value(value: float) -> str:
    return "-" if value != value else f"{value:.4f}"


def _interval(low: float, high: float) -> str:
    return "-" if low != low else f"{low:.3f}-{high:.3f}"


def as_json(scored: Scored) -> str:
    """Everything as one JSON object; what is not defined is null."""
    tables = scored.tables.items()
    records = {name: json.loads(table.to_json(orient="records", double_precision=10)) for name, table in tables}
    return json.dumps({**scored.head, **records}, indent=2)


def as_csv(scored: Scored) -> str:
    """Everything in one table: level (all, site or class), name, metric, value, low, high."""
    import pandas as pd

    parts = [scored.tables["metrics"].assign(level="all", name="")]
    for level, table, name, metrics in (
        ("site", scored.tables["sites"], "site", tuple(scored.site_names)),
        ("class", scored.tables["classes"], "label", scored.class_metrics),
    ):
        for metric in metrics if len(table) else ():
            columns = {metric: "value", f"{metric}_low": "low", f"{metric}_high": "high", name: "name"}
            parts.append(table[list(columns)].rename(columns=columns).assign(level=level, metric=metric))
    return pd.concat(parts)[["level", "name", "metric", "value", "low", "high"]].to_csv(index=False)
