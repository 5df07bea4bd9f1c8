"""Hostile search spaces, `--set` values and arguments: refused by name before anything is drawn."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sed_model.config.sed_config import SedConfig, config_from_dict
from sed_model.core import cli
from tests.hostile import drawn, refusal, refused, scalars
from trainables.searching.checks import check_place
from trainables.spaces.load import load_space
from trainables.spaces.overrides import absolute_paths, parse_overrides

GEM = "space: {model.gem_p: {uniform: [1, 2]}}\n"
LARGE = "1" + "0" * 400
BAD_SPACES = {
    "a great many steps": ("space: {model.gem_p: {quniform: [1, 2, 1.0e-9]}}", "larger step"),
    "a number for a key": ("space: {1: {choice: [1]}}", "1: unknown configuration key"),
    "a number for a distribution": ("space: {model.gem_p: {1: 2, 3: 4}}", "model.gem_p"),
    "a number for a condition": ("space: {model.gem_p: {choice: [1, 2], when: {1: 2}}}", "when 1"),
    "a condition of a mapping": ("space: {model.gem_p: {choice: [1, 2], when: {seed: {a: 1}}}}", "when seed"),
    "a large choice": (f"space: {{model.gem_p: {{choice: [{LARGE}]}}}}", "model.gem_p"),
    "a large range": (f"space: {{model.gem_p: {{uniform: [1, {LARGE}]}}}}", "model.gem_p"),
    "a date to choose": ("space: {model.gem_p: {choice: [2020-01-01]}}", "model.gem_p"),
    "numbers in words": ("space: {seed: {randint: ['1', '2']}}", "seed"),
    "infinity in words": ("space: {model.gem_p: {uniform: ['1', 'infinity']}}", "model.gem_p"),
    "a number in config": ("config: {1: 2}\n" + GEM, "1: unknown configuration key"),
    "a number in search": ("search: {1: 2}\n" + GEM, "search.1"),
    "a scheduler of numbers": ("search: {scheduler: {1: 2}}\n" + GEM, "search.scheduler"),
    "a scheduler's list": ("search: {scheduler: {asha: [1]}}\n" + GEM, "search.scheduler"),
    "trials without end": (f"search: {{num_trials: {LARGE}}}\n" + GEM, "num_trials"),
    "a fold without end": (f"search: {{refit_folds: [{LARGE}]}}\n" + GEM, "refit_folds"),
    "a base that is the password file": ("base: ../../../../../../../../etc/passwd\n" + GEM, "passwd"),
    "a base that never ends": ("base: /dev/zero\n" + GEM, "no such file"),
    "a base with a NUL": ('base: "a\\0b"\n' + GEM, "no such file"),
    "a base that is the space": ("base: hostile.yaml\n" + GEM, "hostile.yaml"),
    "a base of numbers": ("base: {1: 2}\n" + GEM, "hostile.yaml, section base"),
    "a section of numbers": ("1: 2\n" + GEM, "mapping"),
    "a merged section": ("<<: {spaces: {}}\n" + GEM, "spaces"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "word"), BAD_SPACES.values(), ids=BAD_SPACES)
def test_a_hostile_space_is_refused_by_name(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text(text, encoding="utf-8")

    refusal(lambda: load_space(path), "hostile.yaml", word)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "", ".", "/", "..", "/dev/zero", "/dev/null", "~nobody/x", "loop"])
def test_a_space_that_is_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    refusal(lambda: load_space(name), "no such file")


distributions = st.dictionaries(
    st.sampled_from(["choice", "uniform", "loguniform", "quniform", "randint", "when", "x"]),
    st.lists(scalars, max_size=3)
    | scalars
    | st.dictionaries(st.sampled_from(["seed", "model.pool_type"]), scalars, max_size=1),
    max_size=2,
)  # fmt: skip


@drawn
@given(entries=st.dictionaries(st.sampled_from(list(SedConfig().flat())), distributions, min_size=1, max_size=2))
def test_any_distribution_draws_valid_values_or_is_refused(tmp_path: Path, entries: dict[str, Any]) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text(yaml.safe_dump({"space": entries}), encoding="utf-8")

    if not refused(lambda: load_space(path), "hostile.yaml"):
        space = load_space(path)
        space.config(space.draw(lambda parameter: parameter.distribution.probes()[0]))


# --- --set

BAD_SETS = ["=", "==", "seed", "=1", "seed=", "seed= ", "seed=!!bool x", "seed=&a [*a]", "seed=[1]", "seed={a: 1}",
            "seed=!!python/name:os.system", "seed=" + "9" * 5000, "seed=" + "[" * 500, "seed='"]  # fmt: skip


@pytest.mark.parametrize("item", BAD_SETS, ids=lambda item: repr(item[:30]))
def test_a_hostile_override_is_refused(item: str) -> None:
    refusal(lambda: parse_overrides([item]), "--set")


@pytest.mark.parametrize(
    "item", ["model.weights=~nobody-has-this-name/x", "seed=.nan", "seed=1e400", "seed=yes", "model.weights=true",
             "model.gem_p=2020-01-01", ".=1", "data..fold=1", "seed\0=1", "seed =\u00b2"],
)  # fmt: skip
def test_a_hostile_override_is_refused_by_the_configuration(item: str) -> None:
    refusal(lambda: SedConfig().with_overrides(absolute_paths(parse_overrides([item]))))


SIGNS = ["", "-", "1", "0", ".", "e", "nan", ".inf", "null", "~", "true", "'", '"', "!!int ", "!!float ", "[", "]", "{",
         "}", ": ", ", ", "&a ", "*a", "<<", "|", "#", "%", "\n", "\t", "\0", "gem"]  # fmt: skip


@drawn
@given(name=st.sampled_from(list(SedConfig().flat())), value=st.lists(st.sampled_from(SIGNS), max_size=6).map("".join))
def test_any_override_makes_a_configuration_or_is_refused(name: str, value: str) -> None:
    def configure() -> SedConfig:
        return SedConfig().with_overrides(absolute_paths(parse_overrides([f"{name}={value}"])))

    if not refused(configure):
        assert config_from_dict(configure().model_dump(mode="json")) == configure()


# --- arguments

LIMITS: dict[Callable[[str], Any], Callable[[Any], bool]] = {
    cli.duration_s: lambda value: 0 < value < math.inf,
    cli.names: lambda value: all(value) and len(set(value)) == len(value) > 0,
    cli.whole_numbers: lambda value: min(value) >= 0,
    cli.positive_int: lambda value: value >= 1,
    cli.seed: lambda value: 0 <= value < 2**31,
    cli.nonnegative_float: lambda value: 0 <= value < math.inf,
    cli.positive_float: lambda value: 0 < value < math.inf,
    cli.workers: lambda value: value is None or value >= 0,
}


@drawn
@given(
    parse=st.sampled_from(list(LIMITS)),
    text=st.text(max_size=8) | st.text("0123456789.,eE+-_ xnaifshm\u00b2\u0663\u2212", max_size=8),
)
def test_any_argument_is_refused_or_within_its_limits(parse: Callable[[str], Any], text: str) -> None:
    if not refused(lambda: parse(text), kind=(argparse.ArgumentTypeError, ValueError)):
        assert LIMITS[parse](parse(text))


@pytest.mark.parametrize(
    "name", ["../x", "/tmp/x", "a/b", ".", "..", "", "a/", "./a", "a\0b", "a" * 300, "a\nb"], ids=repr
)
def test_a_run_name_that_is_no_plain_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    refusal(lambda: check_place(tmp_path, name), "--name")


def test_an_out_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for out in (tmp_path / ("a" * 300), Path("/dev/null/x"), tmp_path / "loop"):
        refusal(lambda out=out: check_place(out, "run"), "--out")
