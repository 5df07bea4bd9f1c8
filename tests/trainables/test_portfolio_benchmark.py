"""How a portfolio is made of recorded tables, and what it is worth, by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tables import portfolio
from tables.portfolio import Trials, as_yaml, choose, leads_of, values_of, worth
from tables.summary import RECORDED, Table

from trainables.spaces.portfolio import read_portfolio


def table(name: str, rows: list[dict[str, Any]]) -> Table:
    return Table(name, pd.DataFrame(rows), {}, {}, {})


def row(number: int, seed: int, labelled: float, test: float, **values: Any) -> dict[str, Any]:
    named = {f"values.model.{key}": value for key, value in values.items()}
    return {"number": number, "seed": seed, **named, "labelled_mean": labelled, "test_mean": test}


def leads(**of_sets: list[float]) -> pd.DataFrame:
    return pd.DataFrame(of_sets, index=pd.RangeIndex(len(of_sets["a"]), name="number"))


# --- leads


def test_a_lead_is_over_the_default_with_the_same_seed() -> None:
    """.1 and .3 with the two seeds; of number 2 the second alone is there: .6 - .2."""
    rows = [row(0, 0, 0, 0.5), row(0, 1, 0, 0.2), row(1, 0, 0, 0.6), row(1, 1, 0, 0.5), row(2, 1, 0, 0.6)]

    assert leads_of([table("a", rows)], "test_mean")["a"].to_dict() == pytest.approx({0: 0, 1: 0.2, 2: 0.4})


def test_configurations_that_a_set_lacks_are_left_out() -> None:
    both, one = [row(0, 0, 0, 0.5), row(1, 0, 0.9, 0.6)], [row(2, 0, 0, 0.7)]

    found = leads_of([table("a", both + one), table("b", both)], "labelled_mean")

    assert found.to_dict("list") == {"a": [0, 0.9], "b": [0, 0.9]}
    assert list(found.index) == [0, 1]


# --- the choice


def test_each_choice_complements_those_before_it() -> None:
    """Sums of the best leads: 2 alone .12; with it 1 comes to .16, 3 to .21, 4 to .15; then 1 adds .04, and 4 nothing.

    By the mean of their own leads the order would be 2, 4, 3, 1.
    """
    known = leads(
        a=[0, 0.10, 0.06, 0.00, 0.09, -0.1],
        b=[0, -0.05, 0.06, 0.00, 0.03, -0.1],
        c=[0, 0.00, 0.00, 0.09, 0.00, -0.1],
    )

    assert choose(known, 3) == [2, 3, 1]
    assert choose(known, 1) == [2]


def test_when_none_adds_anything_the_rest_is_chosen_from_anew() -> None:
    """1 is best everywhere, so that none adds anything to it; of the others 3 is the best, then 2; 4 is a loss."""
    known = leads(a=[0, 0.3, 0.2, 0.1, -0.1], b=[0, 0.3, 0.0, 0.2, -0.1])

    assert choose(known, 9) == [1, 3, 2]


def test_no_configuration_that_is_below_the_default_everywhere_is_chosen() -> None:
    assert choose(leads(a=[0, -0.1, 0], b=[0, -0.2, 0]), 3) == []


# --- the settings


def test_settings_have_the_types_of_their_keys_and_four_digits() -> None:
    """As a summary has them: whole numbers as floats, and NaN where a row leaves a key out."""
    rows = [row(0, 0, 0, 0), row(1, 0, 0, 0, gem_p=1.23456, attention_heads=8.0, skip_connection=True, pool_type="gem")]

    values = values_of([table("a", rows), table("b", rows)], 1)

    wanted = {"gem_p": 1.235, "attention_heads": 8, "skip_connection": True, "pool_type": "gem"}
    assert values == {f"model.{key}": value for key, value in wanted.items()}
    assert [type(value) for value in values.values()] == [float, int, bool, str]


def test_tables_of_other_spaces_are_refused() -> None:
    tables = [table(name, [row(1, 0, 0, 0, pool_type=pool)]) for name, pool in (("a", "gem"), ("b", "max"))]

    with pytest.raises(ValueError, match="number 1 has other settings in a, b; give tables of one recording"):
        values_of(tables, 1)


# --- what it is worth


def recorded(name: str, labelled: list[float], test: list[float]) -> Table:
    return table(name, [row(n, 0, *scores) for n, scores in enumerate(zip(labelled, test, strict=True))])


def test_a_search_delivers_the_trial_with_the_best_labelled_score() -> None:
    """That is 1 with the first seed (.6 on the test) and 0 with the second (.5); the best are .8 and .7."""
    rows = [row(0, 0, 0.4, 0.5), row(1, 0, 0.9, 0.6), row(2, 0, 0.5, 0.8)]
    rows += [row(0, 1, 0.9, 0.5), row(1, 1, 0.4, 0.7), row(2, 1, 0.5, 0.6)]

    assert Trials(table("a", rows)).ends([0, 1, 2]) == pytest.approx([0.55, 0.75])


def test_a_seed_without_one_of_the_trials_does_not_count() -> None:
    rows = [row(0, 0, 0.4, 0.5), row(1, 0, 0.9, 0.6), row(0, 1, 0.9, 0.1)]

    assert Trials(table("a", rows)).ends([0, 1]) == pytest.approx([0.6, 0.6])


def test_quasi_random_trials_are_none_of_the_known_ones() -> None:
    """Numbers 1 to 4 are known ones; 5 and 6 (.6, .8) are drawn beside the default, one at a time."""
    played = Trials(recorded("a", [0, 0.9, 0.9, 0.9, 0.9, 0.5, 0.5], [0.5, 1, 1, 1, 1, 0.6, 0.8]))

    delivered, oracle = played.ends_at_random(2, 400)

    assert delivered == pytest.approx(0.7, abs=0.02)
    assert delivered == oracle


def test_a_portfolio_is_tried_on_a_set_that_it_was_not_learnt_on() -> None:
    """5 is the best on b and c, and bad on a; 6 is the best on a alone."""
    labelled = [0.5, 0, 0, 0, 0, 0.6, 0.7]
    on_a, elsewhere = [0.5, 0.5, 0.5, 0.5, 0.5, 0.3, 0.9], [0.5, 0.5, 0.5, 0.5, 0.5, 0.8, 0.4]
    tables = [recorded("a", labelled, on_a), *(recorded(name, labelled, elsewhere) for name in ("b", "c"))]

    (told,) = [one for one in worth(tables, "test_mean", [2, 9], 400) if one["set"] == "a"]

    assert (told["trials"], told["portfolio"], told["portfolio_oracle"], told["default"]) == (2, 0.3, 0.5, 0.5)
    assert told["random"] == pytest.approx(0.6, abs=0.06)  # .3 with 5, .9 with 6; four errors of 400 draws


def test_one_set_has_no_others_to_learn_from() -> None:
    assert list(worth([recorded("a", [0, 1], [0, 1])], "test_mean", [2], 10)) == []


# --- the file


def test_the_file_says_how_it_was_made_and_reads_back(tmp_path: Path) -> None:
    rows = [row(0, 0, 0, 0.5), row(1, 0, 0, 0.6, gem_p=2.0, pool_type="gem"), row(2, 0, 0, 0.7, drop_rate=0.1)]
    tables = [table("a", rows)]
    file = tmp_path / "portfolio.yaml"

    file.write_text(as_yaml(tables, leads_of(tables, "test_mean"), [2, 1], "python -m x"), encoding="utf-8")

    assert read_portfolio(file) == [{"model.drop_rate": 0.1}, {"model.gem_p": 2.0, "model.pool_type": "gem"}]
    text = file.read_text(encoding="utf-8")
    assert "# Made by: python -m x\n" in text
    assert "of 3 configurations that all sets have; rows: a 3.\n" in text
    assert "  # number 1: a +0.100; best of those up to here +0.200\n" in text


def test_a_portfolio_of_nothing_is_an_empty_list(tmp_path: Path) -> None:
    tables = [table("a", [row(0, 0, 0, 0.5)])]
    (tmp_path / "none.yaml").write_text(as_yaml(tables, leads_of(tables, "test_mean"), [], "x"), encoding="utf-8")

    assert read_portfolio(tmp_path / "none.yaml") == []


def test_the_command_tells_the_worth_and_writes_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = np.arange(2, dtype=np.int16)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        truth = {f"{part}_files": files for part in RECORDED}
        targets = {f"{part}_targets": np.eye(2, dtype=np.int8) for part in ("labelled", "test")}
        np.savez(tmp_path / name / "truth.npz", **truth, **targets)
        for number in range(7):
            windows = {part: np.zeros((len(kept), 2, 2), np.float16) for part, kept in RECORDED.items()}
            np.savez(tmp_path / name / f"{number:03d}_0.npz", **windows)
            facts = {"number": number, "seed": 0, "values": {"model.drop_rate": number / 10}, "curve": [0.5]}
            scores = {"labelled_mean": number / 10, "test_mean": number / 10}
            (tmp_path / name / f"{number:03d}_0.json").write_text(json.dumps(facts | scores), encoding="utf-8")
    words = ["--tables", str(tmp_path), "--out", str(tmp_path / "p.yaml"), "--trials", "2", "--draws", "20"]
    monkeypatch.setattr(sys, "argv", ["portfolio.py", *words])

    assert portfolio.main() == 0

    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()[:3]]
    assert [line["name"] for line in told] == ["one, 2 trials", "two, 2 trials", "mean of 2 sets, 2 trials"]
    assert all((line["portfolio"], line["default"], line["holds"]) == (0.6, 0.0, True) for line in told)
    assert [point["model.drop_rate"] for point in read_portfolio(tmp_path / "p.yaml")] == [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


def test_a_folder_without_tables_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["portfolio.py", "--tables", str(tmp_path), "--out", str(tmp_path / "p.yaml")])

    assert portfolio.main() == 2
    assert "has no tables" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
