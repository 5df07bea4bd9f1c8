"""The command that suggests windows: what it writes, and what it refuses."""

from pathlib import Path

import pandas as pd
import pytest

from analysis.suggest import main
from sed_model.core.errors import ConfigError, DataError
from tests.analysis.conftest import HOSTILE_CLASSES, write_member_scores


def test_page_table_and_tracks_have_the_same_windows(scored_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--run", str(scored_run), "--count", "7"])

    out = scored_run / "suggested"
    table = pd.read_csv(out / "windows.csv")
    assert len(table) == 7
    assert table["row_id"][0] == f"{table['filename'][0].removesuffix('.ogg')}_{table['end_s'][0]:g}"
    page = (out / "label.html").read_text()
    assert page.count("<audio controls") == page.count("<img alt") == 7
    for filename, rows in table.groupby("filename"):
        stem = filename.removesuffix(".ogg")
        track = (out / f"{stem}.labels.txt").read_text().splitlines()
        selections = (out / f"{stem}.selections.txt").read_text().splitlines()
        assert [float(line.split("\t")[0]) for line in track] == sorted(rows["start_s"])
        assert len(selections) == len(rows) + 1
    assert (
        f"7 windows of {table['filename'].nunique()} soundscapes; 24 windows of 6 soundscapes were scored by 2 members"
        in capsys.readouterr().out
    )


def test_names_of_classes_are_text_on_the_page(scored_run: Path) -> None:
    main(["--run", str(scored_run), "--count", "1"])
    page = (scored_run / "suggested" / "label.html").read_text()
    assert not any(label in page for label in HOSTILE_CLASSES)
    assert "&lt;script&gt;alert(1)" in page


def test_a_soundscape_that_is_gone_is_told(scored_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_member_scores(scored_run, Path("/nowhere"), HOSTILE_CLASSES)
    main(["--run", str(scored_run), "--count", "2"])
    assert "2 windows cannot be played" in capsys.readouterr().out
    assert "Cannot be played: there is no such file" in (scored_run / "suggested" / "label.html").read_text()


def test_labels_in_a_page_are_not_written_over(scored_run: Path) -> None:
    (scored_run / "suggested").mkdir()
    with pytest.raises(ConfigError, match="is there already"):
        main(["--run", str(scored_run)])


def test_a_run_without_an_ensemble_is_told_how_to_make_one(tiny_run: Path) -> None:
    with pytest.raises(DataError, match=r"python -m trainables\.ensemble --run"):
        main(["--run", str(tiny_run)])


def test_an_ensemble_of_other_classes_is_refused(scored_run: Path) -> None:
    write_member_scores(scored_run, Path("/nowhere"), ("a", "b", "c"))
    with pytest.raises(DataError, match="other classes than the trials"):
        main(["--run", str(scored_run)])
