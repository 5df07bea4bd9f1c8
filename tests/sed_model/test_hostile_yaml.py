"""Hostile YAML and configuration values: refused by name, and quickly."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sed_model.audio.cache import cache_home
from sed_model.config.sed_config import Data, SedConfig, config_from_dict, load_config
from sed_model.core.errors import ConfigError
from sed_model.core.yaml_file import MAX_CHARACTERS, MAX_DEPTH, read_yaml
from tests.hostile import drawn, refusal, refused, trees

BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
LADDER = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, MAX_DEPTH))
BAD_YAML = {
    "a billion values by aliases": (BOMB, "aliases"),
    "millions of letters": (f"a: &a {'x' * 50_000}\nb: [{', '.join(['*a'] * 1_000)}]", "aliases"),
    "a billion values by merged mappings": (
        "a0: &a0 {x: [1, 1, 1, 1]}\n" + "".join(f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}}}\n" for n in range(1, 30)),
        "aliases",
    ),
    "a ladder of aliases": (LADDER, "levels deep"),
    "an alias inside its own anchor": ("a: &a [*a]", "alias"),
    "a circle through a mapping": ("a: &a {b: *a}", "alias"),
    "an alias of nothing": ("a: *b", "not valid YAML"),
    "deep lists": ("a: " + "[" * 3000, "not valid YAML"),
    "deep lists that end": ("a: " + "[" * 60 + "]" * 60, "nested"),
    "a bool that is none": ("a: !!bool maybe", "tag"),
    "an integer that is none": ("a: !!int ''", "tag"),
    "a time that is none": ("a: !!timestamp noon", "tag"),
    "a month 13": ("a: 2020-13-45", "not valid YAML"),
    "a Python call": ("a: !!python/object/apply:os.system [touch pwned]", "not valid YAML"),
    "a private tag": ("a: !mine {b: 1}", "not valid YAML"),
    "a list for a key": ("? [a]\n: 1", "not valid YAML"),
    "a merge of numbers": ("a: {<<: [1]}", "not valid YAML"),
    "too many digits": ("a: " + "9" * 5000, "not valid YAML"),
    "a NUL": ("a: \0", "not valid YAML"),
    "two documents": ("a: 1\n---\nb: 2", "not valid YAML"),
    "an open quote": ("a: 'b", "not valid YAML"),
    "a number for a key": ("1: 2", "top level has to be a mapping of keys"),
    "a list": ("- a", "holds a list"),
    "a key in another spelling": ("'a': 1\na: 2", "twice"),
    "a key twice, deep": ("a: {b: {c: [{d: 1, d: 2}]}}", "twice"),
}


@pytest.mark.parametrize(("text", "word"), BAD_YAML.values(), ids=BAD_YAML)
def test_bad_yaml_is_refused_by_name(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text(text, encoding="utf-8")

    refusal(lambda: read_yaml(path), "hostile.yaml", word)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "content", [b"\xff\xfea\x00:\x00", b"a: \x80", b"\xed\xa0\x80: 1"], ids=["UTF-16", "Latin-1", "surrogate"]
)
def test_another_encoding_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "hostile.yaml").write_bytes(content)
    refusal(lambda: read_yaml(tmp_path / "hostile.yaml"), "hostile.yaml")


def test_what_is_no_file_is_no_yaml(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    refusal(lambda: read_yaml(tmp_path), str(tmp_path))
    for name in ("loop.yaml", "absent.yaml"):
        refusal(lambda name=name: read_yaml(tmp_path / name), f"{name}: cannot be read")


def test_a_usual_number_of_aliases_is_fine(tmp_path: Path) -> None:
    n_values = MAX_CHARACTERS // 400
    (tmp_path / "a.yaml").write_text(f"a: &a {[0] * n_values}\nb: [{', '.join(['*a'] * 100)}]\n")
    assert len(read_yaml(tmp_path / "a.yaml")["b"]) == 100


TAGS = [f"!!{name} " for name in ["int", "float", "bool", "null", "timestamp", "binary", "set", "omap", "str"]]
SIGNS = ["a", "b", ":", "-", "?", "[", "]", "{", "}", "&x", "*x", "<<:", "'", '"', "|", ">", "#", "%", "1", ".",
         "e9", "0x", ",", "~", "=", "\\", "é"]  # fmt: skip
PIECES = [*SIGNS, *TAGS, "", "! ", ": ", "- ", "? ", "\n", "  ", "\t", "\u2028", "\x85"]


@drawn
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=25))
def test_any_text_is_a_mapping_or_refused(tmp_path: Path, pieces: list[str]) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text("a: " + "".join(pieces), encoding="utf-8")

    assert refused(lambda: read_yaml(path), "hostile.yaml") or isinstance(read_yaml(path), dict)


@drawn
@given(content=st.binary(max_size=60))
def test_any_bytes_are_a_mapping_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_bytes(content)

    assert refused(lambda: read_yaml(path), "hostile.yaml") or isinstance(read_yaml(path), dict)


# --- configuration

VALUES: dict[str, Any] = {
    "nan": math.nan, "inf": math.inf, "minus inf": -math.inf, "a large integer": 10**400,
    "a large negative": -(10**400), "a list": [1], "a mapping": {"a": 1}, "no list": [], "no mapping": {},
}  # fmt: skip


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_no_key_takes_it(value: Any) -> None:
    config = SedConfig()
    for name in config.flat():
        assert refused(lambda name=name: config.with_overrides({name: value}), name.rsplit(".", 1)[-1])


@pytest.mark.parametrize("name", [1, None, (), True, "", ".", "model", "model.", "a" * 5000, "\0"], ids=repr)
def test_no_such_key(name: Any) -> None:
    refusal(lambda: SedConfig().with_overrides({name: 1}), "unknown configuration key")


@drawn
@given(name=st.sampled_from(list(SedConfig().flat())), value=trees)
def test_any_value_makes_a_configuration_that_reads_back_or_is_refused(name: str, value: Any) -> None:
    if not refused(lambda: SedConfig().with_overrides({name: value})):
        config = SedConfig().with_overrides({name: value})
        assert config_from_dict(config.model_dump(mode="json")) == config


@drawn
@given(section=st.sampled_from(list(SedConfig.model_fields)), value=trees)
def test_any_section_is_a_configuration_or_refused(tmp_path: Path, section: str, value: Any) -> None:
    path = tmp_path / "base.yaml"
    path.write_text(yaml.safe_dump({section: value}), encoding="utf-8")

    refused(lambda: load_config(path), "base.yaml", section)


def test_the_home_of_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal(lambda: cache_home(Data(cache_dir=Path("~nobody-has-this-name/x"))), "~nobody-has-this-name")
    monkeypatch.setenv("SED_CACHE_DIR", "~nobody-has-this-name/x")
    with pytest.raises(ConfigError, match="without ~"):
        cache_home(Data())
