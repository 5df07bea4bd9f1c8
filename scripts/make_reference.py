"""Write the reference pages of the documentation, from the code alone: configuration keys, commands, modules.

python -m scripts.make_reference --out docs/reference     (`make docs` calls it)

The modules are read, not imported: their docstrings say what the rest of the documentation does not.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import io
import os
import types
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sed_model.config.sed_config import SedConfig
from sed_model.core.files import write_text

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("sed_model", "trainables", "analysis")
COMMANDS: dict[str, tuple[str, ...]] = {
    "trainables.search": (),
    "trainables.chain": (),
    "trainables.train": (),
    "trainables.probe": (),
    "trainables.ensemble": (),
    "trainables.student": (),
    "trainables.predict": (),
    "trainables.export": (),
    "trainables.space": ("show",),
    "trainables.runs": ("list", "show", "prune"),
    "trainables.doctor": (),
    "trainables.check_data": (),
    "analysis.ranking": (),
    "analysis.report": (),
    "analysis.score": (),
    "analysis.found": (),
    "analysis.suggest": (),
    "sed_model.demo_data": (),
    "sed_model.import_annotations": (),
}
"""Each command with its sub-commands."""
EDGES = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}


@dataclass(frozen=True)
class Key:
    """A configuration key as the reference shows it."""

    name: str
    type: str
    default: str
    range: str
    unit: str
    description: str


def keys(model: BaseModel, prefix: str = "") -> Iterator[Key]:
    """Every key of a configuration with its default, in order."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from keys(value, f"{prefix}{name}.")
        else:
            unit = field.json_schema_extra["unit"] if isinstance(field.json_schema_extra, dict) else ""
            default = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            yield Key(prefix + name, type_of(field), default, range_of(field), str(unit), field.description or "")


def type_of(field: FieldInfo) -> str:
    """The type as YAML knows it."""
    options = (
        get_args(field.annotation) if get_origin(field.annotation) in (Union, types.UnionType) else (field.annotation,)
    )
    names: dict[Any, str] = {
        bool: "true or false",
        int: "whole number",
        float: "number",
        str: "text",
        Path: "path",
        Literal: "one of",
    }
    return " or ".join(
        "null" if kind is type(None) else names.get(get_origin(kind) or kind, "text") for kind in options
    )


def range_of(field: FieldInfo) -> str:
    """The limits of a number, or the values to choose from."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    limits = [
        text.format(f"{getattr(limit, edge):,}")
        for limit in field.metadata
        for edge, text in EDGES.items()
        if hasattr(limit, edge)
    ]
    return " ".join(limits)


def configuration_page() -> str:
    """A table a section of the configuration."""
    lines = [
        "# Configuration keys",
        "",
        "Every key that `--set KEY=VALUE`, a search space or a YAML file can name. Unknown keys and values out of",
        "range are errors before anything starts, all in one message. `search_spaces/base.yaml` holds all defaults.",
    ]
    config = SedConfig()
    top = [key for key in keys(config) if "." not in key.name]
    lines += ["", "## At the top", "", *table(top)]
    for name in type(config).model_fields:
        section = getattr(config, name)
        if isinstance(section, BaseModel):
            lines += ["", f"## {name}", "", *section_lines(section, f"{name}.")]
    return "\n".join(lines) + "\n"


def section_lines(section: BaseModel, prefix: str) -> Iterator[str]:
    """A section's own keys, then the sections in it."""
    documentation = type(section).__doc__
    if documentation:
        yield from (inspect.cleandoc(documentation), "")
    own = [key for key in keys(section, prefix) if key.name.count(".") == prefix.count(".")]
    if own:
        yield from (*table(own), "")
    for name in type(section).model_fields:
        inner = getattr(section, name)
        if isinstance(inner, BaseModel):
            yield from (f"### {prefix}{name}", "", *section_lines(inner, f"{prefix}{name}."))


def table(rows: Sequence[Key]) -> list[str]:
    lines = ["| key | default | values | what it is |", "|---|---|---|---|"]
    for key in rows:
        unit = "" if key.unit == "number" else key.unit
        values = ", ".join(filter(None, (key.type, f"{key.range} {unit}".strip())))
        cells = (f"`{key.name}`", f"`{key.default}`", values, key.description)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def parser_of(command: str) -> argparse.ArgumentParser:
    """The arguments of a `python -m` command."""
    module = importlib.import_module(command)
    parser: argparse.ArgumentParser = module.build_parser()
    return parser


def commands_page() -> str:
    """The help of every command, as it prints it."""
    lines = ["# Commands", "", "Each command as its `--help` shows it."]
    for command, inner in COMMANDS.items():
        parser = parser_of(command)
        texts = [help_text(parser, words) for words in [(), *((word,) for word in inner)]]
        lines += ["", f"## {command}", "", "```text", "\n\n".join(texts), "```"]
    return "\n".join(lines) + "\n"


def help_text(parser: argparse.ArgumentParser, words: Sequence[str]) -> str:
    with redirect_stdout(io.StringIO()) as output, suppress(SystemExit):
        parser.parse_args([*words, "--help"])
    return output.getvalue().rstrip()


def modules_page() -> str:
    """What each module is for, with its public functions and classes."""
    lines = ["# Modules", "", "What each module is for, and what it offers; read from the docstrings."]
    for package in PACKAGES:
        lines += ["", f"## {package}"]
        for path in sorted((ROOT / package).rglob("*.py"), key=lambda path: (path.parent, path.stem)):
            if not path.stem.startswith("_"):
                lines += module_lines(path, ".".join(path.relative_to(ROOT).with_suffix("").parts))
    return "\n".join(lines) + "\n"


def module_lines(path: Path, name: str) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from ("", f"### {name}", "", *prose(tree))
    for node in tree.body:
        public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if public and isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            yield from ("", "```python", signature(node), "```", "", *prose(node))


def prose(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> list[str]:
    """A docstring; its argument lists stay as they are written, what could be markup is none."""
    text = ast.get_docstring(node) or ""
    head, *sections = text.split("\n\n")
    lines = ["\n".join(line.replace("<", "&lt;") for line in head.splitlines())]
    for section in sections:
        listed = section.split("\n", 1)[0].rstrip() in (
            "Args:",
            "Raises:",
            "Returns:",
            "Yields:",
        ) or section.startswith(" ")
        lines += ["", "```text", section, "```"] if listed else ["", section.replace("<", "&lt;")]
    return lines


def signature(node: ast.FunctionDef | ast.ClassDef) -> str:
    """A function's first line; a class's name, bases and public fields."""
    if isinstance(node, ast.FunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"def {node.name}({ast.unparse(node.args)}){returns}"
    bases = f"({', '.join(ast.unparse(base) for base in node.bases)})" if node.bases else ""
    fields = [
        f"    {ast.unparse(item.target)}: {ast.unparse(item.annotation)}"
        for item in node.body
        if isinstance(item, ast.AnnAssign) and not ast.unparse(item.target).startswith("_")
    ]
    return "\n".join([f"class {node.name}{bases}", *fields])


PAGES = {"configuration.md": configuration_page, "commands.md": commands_page, "modules.md": modules_page}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "reference", help="folder of the pages")
    os.environ["COLUMNS"] = "88"  # argparse wraps its help at the width of the terminal: here, of a page
    out: Path = parser.parse_args(arguments).out
    for name, page in PAGES.items():
        write_text(out / name, page())


if __name__ == "__main__":
    main()
