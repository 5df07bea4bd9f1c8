"""A real search that delivers its finalists: eight labelled soundscapes, two trials, one beside the default."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pandas as pd
import pytest
import yaml

from analysis.report import main as report
from sed_model.model.checkpoint import read_lineage
from sed_model.run_folder.delivered import read_delivered
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.predictions import read_predictions
from tests.trainables.tiny import write_data
from trainables.predict import main as predict
from trainables.searching.round_scores import score_of
from trainables.student import main as learn

pytestmark = pytest.mark.slow
N_LABELLED = 8
WINDOWS_OF_A_FILE = 4


@pytest.fixture(scope="module")
def searched(
    run_search: Callable[..., str], tiny_space: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunFolder, str]:
    """Run folder and output."""
    root = tmp_path_factory.mktemp("finalists")
    data = write_data(root / "data", N_LABELLED)
    output = run_search(
        *("--space", tiny_space, "--data", data, "--out", root / "runs", "--name", "new", "--num-trials", "2"),
        *("--finalists", "1", "--scheduler", "none", "--max-concurrent", "2"),
    )
    return RunFolder(root / "runs" / "new"), output


def test_every_labelled_window_is_scored_by_a_model_that_has_not_heard_it(searched: tuple[RunFolder, str]) -> None:
    run, _ = searched
    for number in {row["number"] for row in run.read_refits()}:
        files = [set(read_predictions(run.refit(number, True, part)).files) for part in range(4)]
        assert sum(len(names) for names in files) == len(set.union(*files)) == N_LABELLED
        splits = [read_lineage(run.refit(number, True, part)).split for part in range(4)]
        assert len({split.digest for split in splits if split}) == 4


def test_the_run_says_what_is_proven_and_delivers_a_model_of_each_part(searched: tuple[RunFolder, str]) -> None:
    run, output = searched
    delivered = read_delivered(run.path)
    assert delivered is not None

    assert (delivered.n_parts, delivered.n_files) == (4, N_LABELLED)
    assert {one.is_default for one in delivered.finalists} == {True, False} or len(delivered.finalists) == 1
    assert "data: 8 labelled soundscapes can prove leads from about 0.044 on" in output
    assert f"the mean of {len(delivered.members)} models is delivered" in output


def test_the_delivered_models_predict(
    searched: tuple[RunFolder, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = searched
    soundscapes = run.path.parents[1] / "data" / "train_soundscapes"
    for words, told in (([], "delivered.json: the finalists' mean"), (["--single"], "one model of the best finalist")):
        predict(["--run", str(run.path), "--soundscapes", str(soundscapes), "--out", str(tmp_path / "s.csv"), *words])
        assert told in capsys.readouterr().out
        assert len(pd.read_csv(tmp_path / "s.csv")) == WINDOWS_OF_A_FILE * len(list(soundscapes.iterdir()))


def test_the_report_begins_with_whether_it_was_luck(searched: tuple[RunFolder, str], tmp_path: Path) -> None:
    run, _ = searched
    report(["--run", str(run.path), "--out", str(tmp_path / "report.html")])
    page = (tmp_path / "report.html").read_text()
    assert page.index("Was it luck?") < page.index("Summary")
    assert "models is delivered" in page


def test_a_part_that_was_lost_costs_nothing_but_itself(
    searched: tuple[RunFolder, str], run_search: Callable[..., str], tmp_path: Path
) -> None:
    """A search that was killed in a finalist's part goes on with that part, and ends as it would have."""
    run, _ = searched
    broken = RunFolder(Path(shutil.copytree(run.path, tmp_path / "new")))
    refits = broken.read_refits()
    broken.write_refits(refits[:1] + refits[2:])
    shutil.rmtree(broken.refit(refits[1]["number"], True, refits[1]["fold"]))
    (broken.path / "delivered.json").unlink()
    output = run_search("--resume", "--name", broken.path, "--max-concurrent", "2", "--no-pseudo-labels")

    assert "1 training of 1 finalist," in output
    assert read_delivered(broken.path) == read_delivered(run.path)


def test_a_trial_in_parts_is_its_finalist_s_training_of_the_first_part(
    searched: tuple[RunFolder, str], run_search: Callable[..., str], tiny_space: Path, tmp_path: Path
) -> None:
    """It is not trained twice, also where the search is gone on with."""
    data, space = searched[0].path.parents[1] / "data", tmp_path / "space.yaml"
    tree = yaml.safe_load(tiny_space.read_text(encoding="utf-8"))
    tree["base"] = str(tiny_space.with_name("base.yaml"))
    tree["search"] |= {"scheduler": "none"}
    space.write_text(yaml.safe_dump(tree), encoding="utf-8")
    words = ("--out", tmp_path, "--name", "run", "--max-concurrent", "2", "--no-pseudo-labels", "--num-trials")
    run_search("--space", space, "--data", data, *words, "1", "--finalists", "1")
    run = RunFolder(tmp_path / "run")
    run_search("--resume", *words, "2")

    refits = {(row["number"], row["fold"]): row for row in run.read_refits()}
    taken = [row for row in refits.values() if row["epochs"] == 0]
    assert [row["fold"] for row in taken] == [0] * len(taken)
    assert {row["number"] for row in taken} == {number for number, _ in refits}
    for row in taken:
        of_trial, of_part = (read_lineage(one) for one in (run.trial(row["number"]), run.refit(row["number"], True, 0)))
        assert of_trial.weights_sha256 == of_part.weights_sha256
        assert of_trial.split is not None
        assert (of_trial.split.soundscape_folds, of_trial.split.fold) == (4, 0)
    assert {row["config.stages.train_bce.epochs"] for row in run.read_trials()} == {3}


@pytest.fixture(scope="module")
def student(searched: tuple[RunFolder, str], ray_cluster: None) -> tuple[RunFolder, str]:
    """A round that learns from the finalists."""
    run, _ = searched
    words = ("stages.pseudo.epochs=2", "stages.pseudo.warmup_epochs=0", "pseudo.balance=false")
    with redirect_stdout(io.StringIO()) as output:
        learn(["--run", str(run.path), "--rounds", "1", *(word for one in words for word in ("--set", one))])
    return RunFolder(run.path.parent / "new-student-1"), output.getvalue()


def test_a_student_has_learned_from_nothing_that_has_heard_what_validates_it(
    searched: tuple[RunFolder, str], student: tuple[RunFolder, str]
) -> None:
    """Of each part: it starts from the teacher's model of that part, and its labels are by models of that part."""
    teacher, round_one = searched[0], student[0]
    delivered = read_delivered(teacher.path)
    assert delivered is not None
    by_part: list[set[str]] = [set(), set(), set(), set()]
    for member in delivered.members:
        by_part[int(member.folder.rpartition("_")[2]) % 4].add(member.weights_sha256)  # part_4 is part 0 again
    for part in range(4):
        lineage = read_lineage(round_one.refit(0, True, part))
        assert lineage.split is not None
        assert (lineage.split.soundscape_folds, lineage.split.fold) == (4, part)
        assert lineage.parent is not None
        assert lineage.parent.weights_sha256 in by_part[part]
        assert set(lineage.teachers) <= by_part[part]
        assert lineage.round == 1


def test_a_student_s_trial_is_the_training_of_its_part(student: tuple[RunFolder, str]) -> None:
    """It is not trained twice."""
    run, output = student
    assert "3 trainings of 1 finalist," in output
    assert read_lineage(run.trial(0)).weights_sha256 == read_lineage(run.refit(0, True, 0)).weights_sha256
    assert "kept            round" in output


def test_a_student_is_compared_on_all_labelled_soundscapes(student: tuple[RunFolder, str]) -> None:
    run, _ = student
    delivered = read_delivered(run.path)
    assert delivered is not None
    assert delivered.n_files == N_LABELLED
    assert score_of(run.path) == pytest.approx(delivered.macro_auc)
