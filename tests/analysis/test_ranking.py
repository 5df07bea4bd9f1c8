import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from analysis.ranking import main
from tests.analysis.conftest import with_refits


def test_the_command_prints_the_ranking_and_the_verdict(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--run", str(tiny_run), "--top", "2"])

    printed = capsys.readouterr().out
    assert "0.8500" in printed
    assert "trial_0000" not in printed
    assert "trial_0003 is clearly ahead of trial_0001" in printed
    assert "failed: trial_0004: out of memory" in printed


def test_the_mean_of_a_finalist_is_printed_with_its_spread(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--run", str(with_refits(tiny_run))])

    assert "0.8200 ± 0.0100 (3)" in capsys.readouterr().out


def test_the_command_prints_json(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--run", str(tiny_run), "--top", "3", "--json"])

    document = json.loads(capsys.readouterr().out)
    assert document["n_trials"] == {"complete": 3, "pruned": 2, "failed": 1, "running": 1}
    assert [trial["trial_id"] for trial in document["trials"]] == ["trial_0003", "trial_0001", "trial_0000"]
    assert document["trials"][2]["gem_p"] is None
    assert document["spread"][0]["p_leader_better"] is None


def test_a_run_without_predictions_is_still_ranked(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in tiny_run.glob("trials/*/oof.parquet"):
        file.unlink()

    main(["--run", str(tiny_run)])
    assert "nothing said about luck" in capsys.readouterr().out


def test_a_run_that_has_just_begun_is_no_error(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("trials.parquet", "curves.parquet"):
        pq.write_table(pq.read_table(tiny_run / name).slice(0, 0), tiny_run / name)

    main(["--run", str(tiny_run)])
    assert "no trials yet" in " ".join(capsys.readouterr().out.split())  # a long path breaks the line


@pytest.mark.parametrize("arguments", [["--top", "0"], ["--top", "many"], ["--tops", "3"], []])
def test_a_wrong_argument_exits_with_2(tiny_run: Path, arguments: list[str]) -> None:
    run = ["--run", str(tiny_run)] if arguments else []

    with pytest.raises(SystemExit, match="2"):
        main([*run, *arguments])
