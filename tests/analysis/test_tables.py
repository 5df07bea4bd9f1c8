import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.predictions import read_oof, read_pseudo_labels
from analysis.tables import Run, RunFolderError, newest_run, read_run
from sed_model.run_folder.run_tables import CURVE_FIELDS, TRIAL_FIELDS


def change_table(file: Path, change) -> None:
    pq.write_table(change(pq.read_table(file)), file)


def replace(name: str, values: list, stored: pa.DataType | None = None):
    def change(table: pa.Table) -> pa.Table:
        return table.set_column(table.column_names.index(name), name, pa.array(values, type=stored))

    return change


def test_tables_hold_the_contract_columns_in_their_types(run: Run) -> None:
    assert set(TRIAL_FIELDS.names) <= set(run.trials.columns)
    assert list(run.curves.columns) == CURVE_FIELDS.names
    assert run.curves["best_macro_auc"].isna().all()  # as in runs of earlier releases
    assert run.search["seed"] == 0
    assert run.trials["epoch"].dtype == "Int64"
    assert run.trials["error"].dtype == "str"
    assert run.trials["config.model.pool_type"].tolist() == ["avg", "gem", "avg", "gem", "gem", "avg", "gem"]


READ = """
import os, sys
from pathlib import Path
from analysis.tables import read_run
before = len(os.listdir("/proc/self/task"))
read_run(Path(sys.argv[1]))
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_reading_a_run_starts_no_threads(tiny_run: Path) -> None:
    """A process that ends while Arrow's threads still start is aborted."""
    done = subprocess.run([sys.executable, "-c", READ, tiny_run], capture_output=True, text=True, check=True)

    assert done.stdout == "0\n"


def test_integers_that_pandas_stored_as_floats_are_read_as_integers(tiny_run: Path) -> None:
    change_table(tiny_run / "trials.parquet", replace("epoch", [3.0, 3.0, 0.0, 3.0, None, 0.0, None], pa.float64()))

    assert read_run(tiny_run).trials["epoch"].tolist()[:3] == [3, 3, 0]


def test_columns_of_nulls_only_are_read_as_their_kind(tiny_run: Path) -> None:
    for name in ("error", "fold", "params_m"):
        change_table(tiny_run / "trials.parquet", replace(name, [None] * 7, pa.null()))

    trials = read_run(tiny_run).trials

    assert [str(trials[name].dtype) for name in ("error", "fold", "params_m")] == ["str", "Int64", "float64"]


def test_config_integers_with_gaps_stay_integers(tiny_run: Path) -> None:
    heads = pa.array([2, None, 4, 8, None, 2, None], type=pa.int64())
    change_table(tiny_run / "trials.parquet", lambda table: table.append_column("config.model.attention_heads", heads))

    assert str(read_run(tiny_run).trials["config.model.attention_heads"].dtype) == "Int64"


def test_all_problems_are_reported_at_once(tiny_run: Path) -> None:
    (tiny_run / "search.yaml").unlink()
    change_table(tiny_run / "trials.parquet", replace("status", ["complete"] * 6 + ["done"]))
    change_table(tiny_run / "curves.parquet", lambda table: table.drop_columns(["lr"]))

    with pytest.raises(RunFolderError) as caught:
        read_run(tiny_run)

    message = str(caught.value)
    assert "search.yaml: missing" in message
    assert "unknown status done; known: complete, pruned, failed, running" in message
    assert "column 'lr' is missing" in message


@pytest.mark.parametrize("name", ["trials.parquet", "curves.parquet"])
def test_a_missing_table_is_named(tiny_run: Path, name: str) -> None:
    (tiny_run / name).unlink()
    with pytest.raises(RunFolderError, match=f"{name}: missing"):
        read_run(tiny_run)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("number", [0, 0, 2, 3, 4, 5, 6], "number 0 stands in more than one row"),
        ("macro_auc", [0.7, None, 0.6, 0.85, None, 0.7, None], "complete trials without macro_auc: trial_0001"),
        ("macro_auc", [0.7, float("nan"), 0.6, 0.85, None, 0.7, None], "complete trials without macro_auc: trial_0001"),
    ],
)
def test_a_wrong_value_among_the_trials_is_named(tiny_run: Path, name: str, values: list, message: str) -> None:
    change_table(tiny_run / "trials.parquet", replace(name, values))

    with pytest.raises(RunFolderError, match=message):
        read_run(tiny_run)


def test_a_renamed_column_is_found(tiny_run: Path) -> None:
    change_table(tiny_run / "trials.parquet", lambda table: table.rename_columns({"duration_s": "duration"}))

    with pytest.raises(RunFolderError, match=r"column 'duration_s' is missing \(it has 'duration'\)"):
        read_run(tiny_run)


def test_curves_of_an_unknown_trial_are_named(tiny_run: Path) -> None:
    change_table(tiny_run / "trials.parquet", lambda table: table.slice(1))

    with pytest.raises(RunFolderError, match=r"epochs of trials that trials\.parquet lacks: trial_0000"):
        read_run(tiny_run)


def test_a_missing_folder_names_its_neighbour(tiny_run: Path) -> None:
    with pytest.raises(RunFolderError, match=r"no such folder; did you mean .*tiny\?"):
        read_run(tiny_run.with_name("tinny"))


def test_pseudo_label_parts_are_joined(tiny_run: Path) -> None:
    pseudo_labels = read_pseudo_labels(tiny_run)

    assert pseudo_labels.classes == ("amecro", "1139490", "grekis")
    assert pseudo_labels.table["filename"].tolist() == ["s0.ogg"] * 3 + ["s1.ogg"] * 3


def test_a_run_without_pseudo_labels_says_what_writes_them(tiny_run: Path) -> None:
    for part in (tiny_run / "ensemble" / "pseudo_labels").iterdir():
        part.unlink()

    with pytest.raises(RunFolderError, match=r"no part-\*\.parquet; write it with python -m trainables\.ensemble"):
        read_pseudo_labels(tiny_run)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (b'["amecro", "grekis", "1139490"]', r"or another order of them, than part-0\.parquet in part-1\.parquet"),
        (b'["amecro", "1139490"]', "probabilities has 3 values in 3 rows, but the file names 2 classes"),
        (None, "no 'classes' in the file's metadata"),
    ],
)
def test_wrong_classes_of_a_part_are_named(tiny_run: Path, classes: bytes | None, message: str) -> None:
    metadata = None if classes is None else {b"classes": classes}
    file = tiny_run / "ensemble" / "pseudo_labels" / "part-1.parquet"
    change_table(file, lambda table: table.replace_schema_metadata(metadata))

    with pytest.raises(RunFolderError, match=message):
        read_pseudo_labels(tiny_run)


def test_out_of_fold_predictions_are_arrays_in_the_order_of_the_classes(tiny_run: Path) -> None:
    oof = read_oof(tiny_run, "trial_0003")

    assert oof.classes == ("amecro", "1139490", "grekis")
    assert oof.targets.shape == oof.probabilities.shape == (24, 3)
    assert oof.targets[1].tolist() == [0, 1, 0]
    assert oof.windows[1] == ("f0.ogg", 5.0, 10.0)


def test_out_of_fold_predictions_without_a_window_are_refused(tiny_run: Path) -> None:
    change_table(tiny_run / "trials" / "trial_0003" / "oof.parquet", lambda table: table.slice(0, 0))

    with pytest.raises(RunFolderError, match="holds no window"):
        read_oof(tiny_run, "trial_0003")


def test_a_trial_without_predictions_is_named(tiny_run: Path) -> None:
    with pytest.raises(RunFolderError, match=r"trial_0002.oof\.parquet: is not there"):
        read_oof(tiny_run, "trial_0002")


def test_the_newest_run_is_the_one_started_last_that_has_trials(tiny_run: Path) -> None:
    for name in ("zebra", "just started"):
        tiny_run.with_name(name).mkdir()
        (tiny_run.with_name(name) / "search.yaml").write_bytes(b"")
    (tiny_run.with_name("zebra") / "trials.parquet").write_bytes(b"")
    os.utime(tiny_run.with_name("zebra") / "search.yaml", (0, 0))

    assert newest_run(tiny_run.parent) == tiny_run


def test_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"no folder with a trials\.parquet"):
        newest_run(tmp_path)
