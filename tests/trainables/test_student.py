"""Students of a finished search: two rounds, by the real command."""

from __future__ import annotations

import io
import itertools
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sed_model.clips.pseudo_clips import read_pseudo_labels
from sed_model.core.errors import ConfigError, DataError
from sed_model.model.checkpoint import read_lineage
from sed_model.run_folder.delivered import Lead
from sed_model.run_folder.folder import RunFolder
from trainables import student
from trainables.searching import rounds
from trainables.searching.checks import check_unused
from trainables.searching.rounds import StudentOptions, check_same_settings, check_same_teachers, round_search
from trainables.spaces.load import load_space
from trainables.trials.teacher import check_student_space, find_teacher

slow = pytest.mark.slow
SHORT = ("--set", "stages.pseudo.epochs=2", "--set", "stages.pseudo.warmup_epochs=0", "--set", "pseudo.balance=false")


@pytest.fixture(scope="module")
def two_rounds(ray_cluster: None, finished_run: Path) -> str:
    """What the command prints; the rounds lie beside the finished run."""
    with redirect_stdout(io.StringIO()) as output:
        student.main(["--run", str(finished_run), "--rounds", "2", *SHORT])
    return output.getvalue()


def lineage_of(run: Path) -> Any:
    return read_lineage(RunFolder(run).trial(0))


def test_the_first_student_starts_from_the_best_model_and_names_its_teachers(
    two_rounds: str, finished_run: Path
) -> None:
    teacher = find_teacher(finished_run)
    labels = read_pseudo_labels(finished_run / "ensemble")
    lineage = lineage_of(finished_run.parent / "done-student-1")

    assert lineage.stage == "pseudo"
    assert lineage.round == 1
    assert lineage.parent.weights_sha256 == read_lineage(teacher.model).weights_sha256
    assert lineage.teachers == labels.teachers
    assert len(lineage.teachers) == 2
    assert lineage.pseudo_labels == labels.fingerprint


def test_each_round_is_a_run_whose_labels_teach_the_next(two_rounds: str, finished_run: Path) -> None:
    first, second = (finished_run.parent / f"done-student-{number}" for number in (1, 2))
    trials = pd.read_parquet(first / "trials.parquet")

    assert trials["status"].to_list() == ["complete"]
    assert trials["config.stages.pseudo.epochs"].to_list() == [2]
    assert second.exists() != ("proven worse than its teacher" in two_rounds)
    if second.exists():
        assert lineage_of(second).round == 2
        assert lineage_of(second).teachers == (lineage_of(first).weights_sha256,)


def test_a_round_records_the_command_that_makes_it_again(two_rounds: str, finished_run: Path) -> None:
    record = RunFolder(finished_run.parent / "done-student-1").read_search()
    words = [*("python", "-m", "trainables.student", "--run", str(finished_run), "--rounds", "2"), *SHORT]
    assert record["command"].split() == words
    assert record["set"] == [word for word in SHORT if word != "--set"]
    assert record["teacher"] == str(finished_run)


@slow
def test_a_round_that_keeps_no_labels_is_the_last(
    ray_cluster: None, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks worse than its teacher, and is kept: that is not proven."""
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    monkeypatch.setattr(rounds, "lead_of", lambda *_: Lead(mean=-0.01, se=0.02, p_better=0.06, shrunken=-0.005))
    with redirect_stdout(io.StringIO()) as output:
        student.main(["--run", str(run), "--rounds", "2", *SHORT, "--set", "pseudo.keep_window=0.999"])
    assert "no window was sure enough to be a pseudo-label: no further round" in output.getvalue()
    assert "kept            round 1 of 1" in output.getvalue()
    assert not (tmp_path / "run-student-2").exists()


@slow
def test_a_round_that_is_proven_worse_is_left_out(
    ray_cluster: None, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    monkeypatch.setattr(rounds, "lead_of", lambda *_: Lead(mean=-0.02, se=0.01, p_better=0.04, shrunken=-0.02))
    with redirect_stdout(io.StringIO()) as output:
        student.main(["--run", str(run), "--rounds", "2", *SHORT])
    assert "proven worse than its teacher" in output.getvalue()
    assert "kept            round 0 of 1" in output.getvalue()
    assert f"trainables.predict --run {run} " in output.getvalue()


@slow
def test_ctrl_c_in_a_round_is_followed_by_the_same_command(
    ray_cluster: None, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cli.run says so where nothing else is said."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt("go on with: python -m trainables.search --resume --name done-student-3")

    monkeypatch.setattr(rounds, "run_search", interrupted)
    with redirect_stdout(io.StringIO()), pytest.raises(KeyboardInterrupt, match=r"^$"):
        student.main(["--run", str(finished_run)])


def test_the_round_that_is_kept_is_named(two_rounds: str, finished_run: Path) -> None:
    number = int(two_rounds.rpartition("kept            round ")[2].split()[0])
    kept = finished_run if number == 0 else finished_run.parent / f"done-student-{number}"
    commands = [line.strip().removeprefix("python -m ") for line in two_rounds.split("\nnext:\n")[-1].splitlines()]
    assert two_rounds.count("\nnext:\n") == 1
    assert f"analysis.report --run {kept}" in commands
    assert f"trainables.predict --run {kept} --tune-post --out post.json" in commands
    assert f"trainables.export --run {kept} --kaggle kaggle --post post.json" in commands


# --- labels of other runs


@pytest.fixture(scope="module")
def taught(two_rounds: str, finished_run: Path) -> tuple[list[str], Path]:
    """A student of the run that the run and its first round, members of two rounds, have labelled for."""
    teachers = ["--teachers", str(finished_run), str(finished_run.parent / "done-student-1")]
    words = ["--run", str(finished_run), *teachers, "--name", "mixed", *SHORT]
    with redirect_stdout(io.StringIO()):
        student.main(words)
    return words, finished_run.parent / "mixed-1"


@slow
def test_a_student_learns_from_the_models_of_several_rounds(taught: tuple[list[str], Path], finished_run: Path) -> None:
    _, run = taught
    lineage, labels = lineage_of(run), read_pseudo_labels(run / "taught")
    of_round = lineage_of(finished_run.parent / "done-student-1").weights_sha256
    assert lineage.teachers == labels.teachers
    assert of_round in lineage.teachers
    assert len(lineage.teachers) == 3
    assert lineage.parent.weights_sha256 == read_lineage(find_teacher(finished_run).model).weights_sha256
    assert lineage.pseudo_labels == labels.fingerprint
    assert RunFolder(run).teachers() == (str(finished_run), str(finished_run.parent / "done-student-1"))
    assert not (run / "taught" / "predictions").exists()


@slow
def test_a_round_that_broke_off_goes_on_with_its_teachers_and_no_others(
    taught: tuple[list[str], Path], finished_run: Path
) -> None:
    """Also where their models have gone meanwhile: what they have labelled is in the round's run."""
    words, run = taught
    before = (run / "taught/members.json").read_bytes()
    with redirect_stdout(io.StringIO()) as output:
        student.main(words)
    assert "mixed-1 is there: it goes on with the settings and trials that it was begun with" in output.getvalue()
    assert (run / "taught/members.json").read_bytes() == before

    with pytest.raises(ConfigError, match="mixed-1 was begun with the labels of"):
        student.main(["--run", str(finished_run), "--name", "mixed", "--rounds", "1"])


@pytest.mark.parametrize(("teachers", "told"), [(["/r/a"], "/r/a"), ([], r"\(none\)"), (["/r/a", "/r/c"], "/r/a /r/c")])
def test_a_round_keeps_its_teachers(teachers: list[str], told: str, bare_run: RunFolder) -> None:
    bare_run.write_search(RECORD | {"teachers": ["/r/a", "/r/b"]})
    check_same_teachers(bare_run, [Path("/r/b"), Path("/r/a")])
    with pytest.raises(ConfigError, match=f"--teachers {told}: run was begun with the labels of /r/a /r/b, .* --name"):
        check_same_teachers(bare_run, [Path(one) for one in teachers])
    bare_run.write_search(RECORD)
    check_same_teachers(bare_run, [])


def test_a_folder_with_nothing_but_labels_for_its_search_is_gone_on_with(tmp_path: Path) -> None:
    """So a round lies that was killed while others labelled for it."""
    run = RunFolder(tmp_path / "broken-1")
    (run.taught / "predictions").mkdir(parents=True)
    check_unused(run)
    (run.path / "other").touch()
    with pytest.raises(ConfigError, match="broken-1 exists"):
        check_unused(run)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--teachers", "a", "--rounds", "2"], "--rounds 2 with --teachers: their labels are the same"),
        (["--teachers", "a", "b", "x/a"], "--teachers: a is there twice"),
        (["--teachers", "a", "--name", "x/y"], "--name 'x/y-1': is no plain folder name"),
    ],
)
def test_teachers_that_cannot_be_are_refused(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        student.main(["--run", str(tmp_path), *words])


def test_a_probe_has_no_weights_to_start_from(bare_run: RunFolder) -> None:
    bare_run.write_search(RECORD | {"probe": {}})
    with pytest.raises(
        ConfigError, match=r"is a probe, which has no weights .*give a search's run, and the probe as a"
    ):
        student.main(["--run", str(bare_run.path), "--teachers", "a"])


def test_a_damaged_record_of_teachers_is_named(bare_run: RunFolder) -> None:
    bare_run.write_search(RECORD | {"teachers": "a"})
    with pytest.raises(DataError, match=r"search\.yaml: teachers is .*, no list of runs"):
        bare_run.teachers()


def test_a_round_s_search_gets_the_resources_that_were_asked_for() -> None:
    options = StudentOptions("student --run x", Path("/runs/x"), gpus_per_trial=0.25, workers_per_trial=0)
    search = round_search(RunFolder(Path("/runs/x-student-2")), Path("/runs/x-student-1"), options)
    assert (search.gpus_per_trial, search.n_workers) == (0.25, 0)
    assert (search.out, search.name, search.teacher) == (Path("/runs"), "x-student-2", Path("/runs/x-student-1"))


RECORD = {"space_name": "tiny", "data": {"folder": "d", "fingerprint": "f"}, "seed": 1, "versions": {}}


@pytest.mark.parametrize(
    "settings",
    [
        {"set": ["seed=1", "optim.batch_size=4"]},
        {"command": "python -m trainables.search --set seed=1 --set optim.batch_size=4"},
    ],
    ids=["now", "earlier releases"],
)
def test_a_round_that_is_gone_on_with_keeps_its_settings(bare_run: RunFolder, settings: dict[str, Any]) -> None:
    """In rounds of earlier releases they stand in the command alone."""
    bare_run.write_search(RECORD | settings)
    for same in (["optim.batch_size=4", "seed=1"], []):
        check_same_settings(bare_run, same)
    with pytest.raises(ConfigError, match=r"--set seed=2: run was begun with seed=1 optim\.batch_size=4, and goes on"):
        check_same_settings(bare_run, ["seed=2"])


@pytest.mark.parametrize("damaged", [None, "seed=1", 5, ["seed=1", 5], {"seed": 1}])
def test_a_damaged_record_of_what_was_set_is_named(damaged: object, bare_run: RunFolder) -> None:
    bare_run.write_search(RECORD | {"set": damaged})
    with pytest.raises(DataError, match=r"search\.yaml: set is .*, no list of KEY=VALUE; restore the file"):
        check_same_settings(bare_run, ["seed=1"])


def test_a_run_without_labels_is_no_teacher(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no run folder"):
        find_teacher(tmp_path)


def test_what_belongs_to_the_weights_cannot_be_searched() -> None:
    with pytest.raises(ConfigError, match=r"model\.pool_type.* cannot be searched"):
        check_student_space(load_space("arch.yaml"))


def test_the_repository_s_student_space_is_one() -> None:
    check_student_space(load_space("pseudo.yaml"))


def test_any_student_of_that_space_can_teach_the_next_one(tmp_path: Path) -> None:
    space, teacher = load_space("pseudo.yaml"), tmp_path / "config.json"
    for chance, replaced, joined in itertools.product((0.5, 1.0), (0.3, 0.8), (0.0, 0.6)):
        drawn = {"pseudo.prob": chance, "pseudo.replace_share": replaced, "pseudo.join_share": joined}
        teacher.write_text(space.config(space.base_point() | drawn).model_dump_json(), encoding="utf-8")

        assert load_space("pseudo.yaml", base=teacher).parameters == space.parameters


def test_the_stage_pseudo_needs_a_teacher(run_search: Callable[..., str], tiny_root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="with --teacher"):
        run_search("--space", "pseudo.yaml", "--data", tiny_root, "--out", tmp_path)
