"""The reference says of every key what it is, and of every command and module what it does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.make_reference import COMMANDS, PACKAGES, ROOT, Key, keys, main
from sed_model.config.sed_config import SedConfig, known_keys

KEYS = list(keys(SedConfig()))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("reference")
    main(["--out", str(out)])
    return {file.name: file.read_text(encoding="utf-8") for file in out.iterdir()}


@pytest.mark.parametrize("key", KEYS, ids=[key.name for key in KEYS])
def test_a_key_says_what_it_is(key: Key) -> None:
    assert key.description
    assert key.default
    if "number" in key.type:
        assert key.range, "no limits"
        assert key.unit, "no unit"
    if key.type == "one of":
        assert f"`{key.default}`" in key.range


def test_a_key_of_each_kind() -> None:
    shown = {key.name: key for key in KEYS}
    assert shown["optim.ema_decay"].range == "from 0 below 1"
    assert (shown["stages.finetune.secondary_weight"].type, shown["stages.finetune.secondary_weight"].default) == (
        "number or null",
        "0.95",
    )
    assert shown["model.pool_type"].range == "`avg`, `max`, `gem`"
    assert shown["data.cache_dir"].type == "path or null"
    assert shown["optim.compile"].default == "false"


def test_the_page_of_keys_has_a_row_for_each(pages: dict[str, str]) -> None:
    assert re.findall(r"^\| `([a-z0-9_.]+)` \|", pages["configuration.md"], re.MULTILINE) == known_keys()


def test_the_page_of_commands_has_the_help_of_each(pages: dict[str, str]) -> None:
    for command, inner in COMMANDS.items():
        assert f"usage: python -m {command} " in pages["commands.md"]
        assert all(f"usage: python -m {command} {word} " in pages["commands.md"] for word in inner)


def test_the_page_of_modules_has_each_with_its_docstring(pages: dict[str, str]) -> None:
    for package in PACKAGES:
        for path in Path(ROOT / package).glob("[!_]*.py"):
            _, _, after = pages["modules.md"].partition(f"### {package}.{path.stem}\n\n")
            assert after[:1].isalnum() or after[:1] == "`", f"{path.name} has no docstring"
