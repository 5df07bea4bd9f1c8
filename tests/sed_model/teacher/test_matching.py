"""Which foreign label is which class: names worked out by hand, and that no label is ever two classes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.teacher.matching import ClassNames, Match, match_labels, plain, unqualified
from tests.hostile import drawn

SCIENTIFIC, COMMON, UNQUALIFIED = "scientific name", "common name", "common name, but for its qualifier"


def classes(*names: tuple[str, str]) -> list[ClassNames]:
    """Classes a, b, c .. of scientific and common names."""
    return [ClassNames(chr(ord("a") + place), *both) for place, both in enumerate(names)]


def found(names: list[tuple[str, str]], labels: list[str], label_format: str = "scientific_common") -> list[object]:
    """Index and way of each class's match."""
    return [(one.index, one.way) for one in match_labels(classes(*names), labels, label_format)]


TABLE = {
    "by scientific name": (
        [("Pica pica", "Magpie")], ["Turdus merula_Magpie bird", "Pica pica_Elster"], [(1, SCIENTIFIC)]),
    "scientific before common": (
        [("Pica pica", "Magpie")], ["Cyanopica cyanus_Magpie", "Pica pica_Elster"], [(1, SCIENTIFIC)]),
    "by common name where the scientific one has changed": (
        [("Corvus monedula", "Western Jackdaw")], ["Coloeus monedula_Western Jackdaw"], [(0, COMMON)]),
    "capitals, hyphens and apostrophes": (
        [("", "Swainson’s screech owl")], ["Otus otus_Swainson's Screech-Owl"], [(0, COMMON)]),
    "spelling": ([("", "Gray-colored Tit")], ["X y_Grey-coloured Tit"], [(0, COMMON)]),
    "another qualifier": ([("", "European Magpie")], ["Pica pica_Eurasian Magpie"], [(0, UNQUALIFIED)]),
    "a qualifier that one list has": ([("", "Magpie")], ["Pica pica_Common Magpie"], [(0, UNQUALIFIED)]),
    "the exact name before the one but for its qualifier": (
        [("", "Northern Cardinal")], ["A b_Common Cardinal", "C d_Northern Cardinal"], [(1, COMMON)]),
    "a name that two labels share but for the qualifier": (
        [("", "Magpie")], ["A b_Common Magpie", "C d_Eurasian Magpie"], [(None, "")]),
    "a name that two labels share": ([("", "Noise")], ["A_Noise", "B_Noise"], [(None, "")]),
    "a name that two classes share": (
        [("Pica pica", ""), ("Pica pica", "")], ["Pica pica_Magpie"], [(None, ""), (None, "")]),
    "one label, two classes": (
        [("Pica pica", "x"), ("", "Magpie")], ["Pica pica_Magpie"], [(0, SCIENTIFIC), (None, "")]),
    "a qualifier that is all of the name": ([("", "Common")], ["A_Northern"], [(None, "")]),
    "no names": ([("", "")], ["_", "A b"], [(None, "")]),
    "nothing in common": ([("Canis lupus", "Wolf")], ["Pica pica_Magpie"], [(None, "")]),
}  # fmt: skip


@pytest.mark.parametrize(("names", "labels", "expected"), TABLE.values(), ids=TABLE)
def test_names(names: list[tuple[str, str]], labels: list[str], expected: list[object]) -> None:
    assert found(names, labels) == expected


def test_a_match_names_class_and_label() -> None:
    both = match_labels(classes(("Pica pica", ""), ("Canis lupus", "")), ["Pica pica_Magpie"], "scientific_common")
    assert both == (Match("a", "Pica pica_Magpie", 0, SCIENTIFIC), Match("b", None, None, ""))


def test_the_format_says_which_name_a_label_is() -> None:
    names = [("Pica pica", "Magpie")]
    assert found(names, ["Pica pica"], "scientific") == [(0, SCIENTIFIC)]
    assert found(names, ["Pica pica"], "common") == [(None, "")]
    assert found(names, ["Magpie"], "common") == [(0, COMMON)]
    assert found(names, ["Magpie"], "scientific") == [(None, "")]


def test_forms_of_a_name() -> None:
    assert plain(" Great-tailed  GRAY_Grackle’s ") == "great tailed grey grackles"
    assert unqualified("Northern Cardinal") == "cardinal"
    assert unqualified("Northern") == "northern"
    assert unqualified("Cardinal Northern") == "cardinal northern"


words = st.lists(st.sampled_from(["Common", "Eurasian", "Magpie", "Jay", "gray", "Grey", "pica-pica", ""]), max_size=3)
names = words.map(" ".join)


@given(
    st.lists(st.tuples(names, names), max_size=6),
    st.lists(st.builds("{}_{}".format, names, names), max_size=6),
    st.sampled_from(["scientific_common", "scientific", "common"]),
)
@drawn
def test_no_label_is_two_classes(both: list[tuple[str, str]], labels: list[str], label_format: str) -> None:
    matches = match_labels(classes(*both), labels, label_format)
    indices = [one.index for one in matches if one.index is not None]
    assert len(indices) == len(set(indices))
    assert [one.primary_label for one in matches] == [one.primary_label for one in classes(*both)]
    assert all(one.label == (None if one.index is None else labels[one.index]) for one in matches)
    assert all((one.way == "") == (one.index is None) for one in matches)
