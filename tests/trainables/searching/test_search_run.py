"""Parts of the search command: the terminal's leaderboard, and what fits a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from sed_model.core.errors import ConfigError, DiskFullError, TrainingError
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.leaderboard import rank
from tests.sed_model.clips.test_pseudo_clips import write_labels
from tests.trainables.run_tables import RECORD, TRIAL
from trainables.on_ray.cluster import ClusterInfo
from trainables.on_ray.stopping import StoppedError
from trainables.searching.leaderboard_text import leaderboard_text, print_leaderboard
from trainables.searching.next_steps import can_teach, hint_to_resume, resume_command
from trainables.searching.resources import check_room, trial_resources
from trainables.searching.tune_run import end_of_search
from trainables.spaces.search_space import SearchSpace
from trainables.trials.trial import SearchJob


def job_of(space: SearchSpace, cpus: int = 1, gpus: float = 0, workers: int = 0) -> SearchJob:
    return SearchJob(space, Path("data"), Path("runs/x"), ("pretrain_ce",), 1.0, cpus, gpus, workers)


def test_the_leaderboard_shows_settings_only_where_they_matter(space: SearchSpace) -> None:
    common = {"stage": "train_bce", "epoch": 2, "params_m": 1.0, "cpu_ms_per_window": 5.0}
    scores = [
        ("complete", 0.81, 0.0241, 3, 90.0, "gem", 2.5, 1e-3),
        ("failed", None, None, None, None, "avg", 3.0, 2e-3),
    ]
    names = (
        "status",
        "macro_auc",
        "macro_auc_se",
        "epochs",
        "duration_s",
        "config.model.pool_type",
        "config.model.gem_p",
    )
    rows = [
        {"trial_id": f"trial_000{number}", "number": number, **common}
        | dict(zip((*names, "config.stages.pretrain_ce.lr"), row, strict=True))
        for number, row in enumerate(scores)
    ]
    lines = leaderboard_text(rank(rows), space).splitlines()

    assert lines[0].split() == [
        "rank", "trial_id", "status", "macro_auc", "se", "epochs", "minutes", "pool_type", "gem_p", "lr",
    ]  # fmt: skip
    assert lines[1].split() == ["1", "trial_0000", "complete", "0.8100", "0.024", "3", "1.5", "gem", "2.5", "0.001"]
    assert lines[2].split() == ["2", "trial_0001", "failed", "-", "-", "-", "-", "avg", "-", "0.002"]


def test_below_the_leaderboard_stands_what_the_teachers_probe_has(
    space: SearchSpace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probe, run = RunFolder(tmp_path / "probe"), RunFolder(tmp_path / "run")
    for folder, score, more in ((probe, 0.75, {"probe": {}}), (run, 0.5, {"teacher": str(probe.path)})):
        folder.path.mkdir()
        folder.write_search(RECORD | more)
        folder.write_tables([TRIAL | {"macro_auc": score, "split": "one"}], [])

    print_leaderboard(run.write_leaderboard(), space, 60.0, run)
    with_line = capsys.readouterr().out
    print_leaderboard(probe.write_leaderboard(), space, 60.0, probe)

    assert with_line.rstrip().endswith("The line to beat: the teacher's probe has 0.7500 on the same files.")
    assert "The line to beat" not in capsys.readouterr().out


@pytest.mark.parametrize(("cpus", "gpus", "workers"), [(9, 0, 0), (1, 3, 0), (2, 0, 5), (1, 1, 3)])
def test_a_trial_that_does_not_fit_is_refused(space: SearchSpace, cpus: int, gpus: float, workers: int) -> None:
    with pytest.raises(ConfigError, match=r"does not fit this machine, which has 8 CPUs and 2 GPUs; lower"):
        check_room(job_of(space, cpus, gpus, workers), ClusterInfo(8, 2, ""))


def test_a_machine_without_gpus_says_what_to_leave_out(space: SearchSpace) -> None:
    with pytest.raises(ConfigError, match=r"1 GPUs does not fit .* 8 CPUs and 0 GPUs; leave --gpus-per-trial out"):
        check_room(job_of(space, gpus=1), ClusterInfo(8, 0, ""))


def test_a_trial_reserves_what_it_uses(space: SearchSpace) -> None:
    assert trial_resources(job_of(space, cpus=2)) == {"CPU": 2}
    assert trial_resources(job_of(space, gpus=0.5)) == {"CPU": 1, "GPU": 0.5}


def test_a_trial_with_workers_leaves_the_cpus_to_them(space: SearchSpace) -> None:
    resources = trial_resources(job_of(space, cpus=2, gpus=1, workers=2))

    assert resources["CPU"] == 0
    assert "GPU" not in resources


def test_how_to_go_on_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = "python -m trainables.search --resume --name 'my run'"

    assert resume_command(RunFolder(tmp_path / "runs" / "my run")) == command
    assert resume_command(RunFolder(tmp_path / "my run")) == f"{command} --out {tmp_path}"


@pytest.mark.parametrize(
    ("command", "how"),
    [(None, "trainables.search --resume --name x-student-1"), ("student --run x", "student --run x")],
)
@pytest.mark.parametrize("error", [StoppedError("Ray died."), DiskFullError("Full."), KeyboardInterrupt()])
def test_who_breaks_off_is_told_the_command_that_goes_on(
    error: BaseException, command: str | None, how: str, tmp_path: Path
) -> None:
    """A student's command, and not the search of its round, which would leave out the rounds after it."""
    run = RunFolder(tmp_path / "x-student-1")
    with pytest.raises(type(error), match=rf"go on with: .*{how}"), hint_to_resume(run, command):
        raise error


def test_a_student_is_proposed_only_where_it_has_labels_to_learn_from(tmp_path: Path) -> None:
    with_labels, without, bare = (RunFolder(tmp_path / name) for name in ("with", "without", "bare"))
    write_labels(with_labels.ensemble, ["s.wav"], [1.0])
    write_labels(without.ensemble, [], [])  # the rules kept no window

    assert [can_teach(run) for run in (with_labels, without, bare)] == [True, False, False]


def test_a_budget_that_is_used_up_is_told_and_no_state_stays(
    bare_run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    bare_run.trial(0).mkdir(parents=True)
    (bare_run.trial(0) / "state.pt").touch()
    end_of_search(bare_run, 50)

    told = f"the budget is used up after 1 of 50 trials; {resume_command(bare_run)} runs the rest\n"
    assert capsys.readouterr().out == told
    assert list(bare_run.trial(0).iterdir()) == []


def test_a_search_without_a_success_tells_each_error_once(bare_run: RunFolder) -> None:
    failed = [
        TRIAL | {"trial_id": f"trial_000{n}", "number": n, "status": "failed", "macro_auc": None} for n in range(3)
    ]
    errors = ("loss is nan", "out of memory", "loss is nan")
    bare_run.write_tables([row | {"error": error} for row, error in zip(failed, errors, strict=True)], [])

    with pytest.raises(TrainingError, match=r"no trial succeeded: loss is nan; out of memory"):
        end_of_search(bare_run, 3)
