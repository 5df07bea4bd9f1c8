"""The table of `make mutants` fits the code: making the mutants takes minutes."""

from __future__ import annotations

from tests.mutants import MUTANTS, ROOT


def test_every_mutant_replaces_one_place_of_a_file_and_has_tests() -> None:
    counts = {str(one): (ROOT / one.file).read_text(encoding="utf-8").count(one.text) for one in MUTANTS}
    assert {name: count for name, count in counts.items() if count != 1} == {}
    assert all((ROOT / name).exists() for one in MUTANTS for name in one.tests)
