from dataclasses import replace

import pytest

from analysis.compare import (
    classes_side_by_side,
    comparison_chapter,
    differing_settings,
    runs_side_by_side,
    unique_names,
)
from analysis.sections_search import RunFacts, gather
from analysis.tables import Run, read_run
from tests.analysis.conftest import trial_rows, write_run, write_table


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFacts]:
    """The tiny run, and one whose trial_0000 (pooling avg) is the best."""
    folder = tmp_path_factory.mktemp("two")
    write_run(folder / "a")
    write_run(folder / "b")
    rows = trial_rows()
    rows[0]["macro_auc"] = 0.9
    write_table(folder / "b" / "trials.parquet", rows)
    return {name: gather(read_run(folder / name)) for name in ("a", "b")}


def test_the_better_run_is_first(two_runs: dict[str, RunFacts]) -> None:
    table = runs_side_by_side(two_runs)

    assert table["run"].tolist() == ["b", "a"]
    assert table["best_trial"].tolist() == ["trial_0000", "trial_0003"]
    assert table["macro_auc"].tolist() == pytest.approx([0.9, 0.85])
    assert (table["low"] <= table["high"]).all()


def test_settings_of_the_best_trials_are_shown_where_they_differ(two_runs: dict[str, RunFacts]) -> None:
    table = differing_settings(two_runs).set_index("setting")

    assert table.loc["model.pool_type"].to_dict() == {"a": "gem", "b": "avg"}
    assert "model.drop_rate" not in table.index


def test_classes_are_compared_between_the_leaders(two_runs: dict[str, RunFacts]) -> None:
    table = classes_side_by_side(two_runs)

    # a is led by trial_0003 (little noise), b by trial_0000 (much).
    assert (table["a"] >= table["b"]).all()
    assert table["range"].tolist() == pytest.approx((table["a"] - table["b"]).tolist())


def test_runs_that_were_validated_otherwise_are_told_apart(two_runs: dict[str, RunFacts]) -> None:
    def sentences(**splits: str) -> str:
        facts = {
            name: replace(two_runs[name], run=with_split(two_runs[name].run, split)) for name, split in splits.items()
        }
        return " ".join(comparison_chapter(facts).sections[0].sentences)

    assert "were validated on different recordings" in sentences(a="one", b="other")
    assert "were validated on different recordings" not in sentences(a="one", b="one")


def with_split(run: Run, digest: str) -> Run:
    return replace(run, trials=run.trials.assign(split=digest))


def test_runs_of_one_name_are_numbered() -> None:
    assert unique_names(["x", "y", "x"]) == ["x (1)", "y", "x (2)"]
