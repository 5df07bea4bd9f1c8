"""What --dry-run prints: where a search would run, without anything of it being there afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ray
import yaml

from sed_model.core.errors import ConfigError
from tests.trainables.tiny import SPACE, write_space
from trainables import search
from trainables.on_ray.cluster import ClusterInfo, Node
from trainables.searching.dry_run import file_lines, first_points, machine_lines, trial_lines
from trainables.searching.recorder import describe_draw
from trainables.searching.resources import check_room, room, slots, unused_gpus
from trainables.searching.setup import Prepared, prepare
from trainables.trials.trial import SearchJob

TWO = ClusterInfo(12, 3, "", (Node("a", "owl (10.0.0.1)", 8, 2), Node("b", "wren (10.0.0.2)", 4, 1)))


@pytest.fixture
def prepared(tiny_space: Path, tiny_root: Path, tmp_path: Path, cache_dir: Path) -> Prepared:
    return prepare_with(tiny_space, tiny_root, tmp_path)


def prepare_with(space: Path, data: Path, out: Path, *more: str) -> Prepared:
    words = ["--space", str(space), "--data", str(data), "--out", str(out), "--name", "x", *more]
    return prepare(search.parse(words))


def test_layout_and_what_the_score_covers_are_told(
    tiny_space: Path, own_data: Path, tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two classes more, one of them without any recording, and one that the first soundscape alone holds."""
    with (own_data / "taxonomy.csv").open("a") as file:
        file.write("silent,Avis muta\nscape,Avis aperta\n")
    table = pd.read_csv(own_data / "train_soundscapes_labels.csv").assign(silent=0, scape=0)
    table.loc[0, "scape"] = 1
    table.to_csv(own_data / "train_soundscapes_labels.csv", index=False)
    prepare_with(tiny_space, own_data, tmp_path)

    told = capsys.readouterr().out
    assert f"data: {own_data} is read as BirdCLEF+ 2025 (train.csv, train_audio/, train_soundscapes/" in told
    assert (
        "data: the score covers 4 of 5 classes (2 soundscapes decide); 2 have no recording: silent, scape; "
        "1 occurs in soundscapes only: scape; only data.soundscape_folds trains what soundscapes alone hold"
    ) in told


def job_of(prepared: Prepared, cpus: int = 1, gpus: float = 0.0, workers: int = 0, **more: Any) -> SearchJob:
    job = prepared.job
    return SearchJob(job.space, job.data_dir, job.run_dir, job.stages, job.epochs_scale, cpus, gpus, workers, **more)


@pytest.mark.parametrize(
    ("cpus", "gpus", "on_owl", "on_wren"),
    [(1, 0, 8, 4), (3, 0, 2, 1), (5, 0, 1, 0), (1, 1, 2, 1), (1, 0.5, 4, 2), (1, 0.4, 4, 2), (1, 1 / 3, 6, 3)],
)
def test_what_each_machine_holds(prepared: Prepared, cpus: int, gpus: float, on_owl: int, on_wren: int) -> None:
    job = job_of(prepared, cpus, gpus)

    assert [slots(job, node) for node in TWO.nodes] == [on_owl, on_wren]
    assert room(job, TWO) == on_owl + on_wren


def test_workers_of_a_trial_may_be_on_several_machines(prepared: Prepared) -> None:
    assert room(job_of(prepared, cpus=4, workers=3), TWO) == 1  # two on one machine, one on the other
    assert room(job_of(prepared, cpus=3, workers=3), TWO) == 1


def test_a_trial_that_no_machine_holds_is_refused_however_many_there_are(prepared: Prepared) -> None:
    with pytest.raises(
        ConfigError, match=r"9 CPUs .* which has 12 CPUs and 3 GPUs on 2 machines; lower --cpus-per-trial"
    ):
        check_room(job_of(prepared, cpus=9), TWO)


def test_workers_of_a_trial_cannot_share_a_gpu(prepared: Prepared) -> None:
    with pytest.raises(ConfigError, match=r"--gpus-per-trial 0\.5 with --workers-per-trial 2: NCCL joins no two"):
        check_room(job_of(prepared, gpus=0.5, workers=2), TWO)
    check_room(job_of(prepared, gpus=0.5, workers=1), TWO)
    check_room(job_of(prepared, gpus=1, workers=2), TWO)


def test_gpus_that_no_trial_will_use_are_pointed_out(prepared: Prepared) -> None:
    assert unused_gpus(job_of(prepared), TWO).startswith("note: there are 3 GPUs, and trials will use none of them")
    assert unused_gpus(job_of(prepared, gpus=0.5), TWO) == ""
    assert unused_gpus(job_of(prepared), ClusterInfo(4, 0, "")) == ""


def test_a_line_a_machine(prepared: Prepared) -> None:
    lines = [line.split() for line in machine_lines(job_of(prepared, cpus=2), TWO)]

    assert lines == [
        ["owl", "(10.0.0.1)", "8", "CPUs", "2", "GPUs", "room", "for", "4", "trials"],
        ["wren", "(10.0.0.2)", "4", "CPUs", "1", "GPUs", "room", "for", "2", "trials"],
    ]


def test_trials_and_epochs(prepared: Prepared) -> None:
    text = "\n".join(trial_lines(prepared, TWO, max_concurrent=None))

    assert "4 of up to 3 epochs (pretrain_ce 2, train_bce 1)" in text
    assert "4, each one process with 1 CPUs and 0 GPUs" in text  # there is room for twelve
    assert "memory           a trial takes about 0.7" in text  # what is imported, and little more
    assert "rungs            after epoch 1 (pretrain_ce 1 of 2), 2 (pretrain_ce 2 of 2) of 3, one of 2 goes on:" in text
    assert "2 combinations of the countable parameters, and 2 continuous" in text
    assert "at a time        3," in "\n".join(trial_lines(prepared, TWO, max_concurrent=3))


def test_where_files_go(prepared: Prepared) -> None:
    trials = prepared.job.run_dir / "trials"

    assert file_lines(prepared.job, several=False)[-1].endswith(f" {trials}")
    assert file_lines(prepared.job, several=True)[-1].endswith(f" {trials}, a folder that all machines share")
    assert " s3://b/x;" in file_lines(job_of(prepared, storage="s3://b/x"), several=True)[-1]


def test_the_first_points_are_those_that_the_search_draws(
    finished_run: Path, tiny_space: Path, tiny_root: Path, tmp_path: Path
) -> None:
    prepared = prepare_with(tiny_space, tiny_root, tmp_path)
    trials = pd.read_parquet(finished_run / "trials.parquet").set_index("number")

    def drawn(row: Mapping[Any, Any]) -> str:
        return describe_draw({"values": prepared.space.point_of(row), "drawn_by": row["drawn_by"]})

    wanted = [(number, drawn(trials.loc[number].to_dict() | {"number": number})) for number in range(3)]
    assert first_points(prepared) == wanted
    assert list(tmp_path.iterdir()) == []


GEM = {"model.pool_type": "gem", "model.gem_p": 2.0}
PORTFOLIO = [GEM, {"model.pool_type": "max"}, {"stages.pretrain_ce.lr": 5e-3}]
"""The tiny space has no max."""


@pytest.fixture
def with_portfolio(tmp_path: Path) -> Path:
    """The tiny space for six trials, and what is known of other data."""
    known = tmp_path / "known.yaml"
    known.write_text(yaml.safe_dump({"points": PORTFOLIO}), encoding="utf-8")
    search_settings = {**SPACE["search"], "portfolio": str(known), "num_trials": 6}
    return write_space(tmp_path / "space", {**SPACE, "search": search_settings})


def test_trials_of_the_portfolio_are_told_and_drawn(
    with_portfolio: Path, tiny_root: Path, tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = prepare_with(with_portfolio, tiny_root, tmp_path)

    assert "portfolio: trials 1 to 2 try settings that did well on other data (" in capsys.readouterr().out
    assert first_points(prepared)[1:] == [
        (1, "model.pool_type=gem, model.gem_p=2, stages.pretrain_ce.lr=0.002 (portfolio)"),
        (2, "model.pool_type=avg, stages.pretrain_ce.lr=0.005 (portfolio)"),
    ]


def test_keys_that_are_set_leave_the_portfolio_too(
    with_portfolio: Path, tiny_root: Path, tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = prepare_with(with_portfolio, tiny_root, tmp_path, "--set", "model.pool_type=avg")

    assert "portfolio: trial 1 tries" in capsys.readouterr().out
    assert prepared.portfolio == ({"stages.pretrain_ce.lr": 5e-3},)


def test_a_search_without_a_portfolio_tells_of_none(
    tiny_space: Path, tiny_root: Path, tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare_with(tiny_space, tiny_root, tmp_path).portfolio == ()
    assert "portfolio" not in capsys.readouterr().out


def test_the_search_itself_begins_with_the_portfolio_and_tells_it_once(
    with_portfolio: Path, tiny_root: Path, tmp_path: Path, run_search: Callable[..., str]
) -> None:
    words = ["--out", tmp_path, "--name", "x", "--max-concurrent", 1, "--no-pseudo-labels"]
    told = run_search("--space", with_portfolio, "--data", tiny_root, "--num-trials", 3, *words)
    more = run_search("--resume", "--num-trials", 4, *words)

    assert "trial_0001 starts: model.pool_type=gem, model.gem_p=2, stages.pretrain_ce.lr=0.002 (portfolio)" in told
    assert ("portfolio: trial 1 tries" in told, "portfolio:" in more) == (True, False)
    drawn = pd.read_parquet(tmp_path / "x" / "trials.parquet")["drawn_by"].to_list()
    assert drawn == ["default", "portfolio", "quasi-random", "quasi-random"]


def test_a_dry_run_leaves_nothing_behind(
    tiny_space: Path, tiny_root: Path, tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--space", str(tiny_space), "--data", str(tiny_root), "--out", str(tmp_path / "runs"), "--name", "x"]
    search.main([*words, "--storage", (tmp_path / "bucket").as_uri(), "--dry-run"])

    output = capsys.readouterr().out
    assert "trial 0: model.pool_type=avg" in output
    assert "dry run: no trial was started" in output
    assert not (tmp_path / "runs").exists()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_process_that_reserves_no_gpu_is_shown_none(ray_cluster: None) -> None:
    shown = ray.remote(lambda: os.environ.get("CUDA_VISIBLE_DEVICES"))
    assert ray.get(shown.options(num_gpus=0).remote()) == ""
