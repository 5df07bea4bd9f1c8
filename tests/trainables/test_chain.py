"""The chain command: its plan, what it refuses, and a real chain that is killed twice and ends in a Kaggle folder."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import ray

from sed_model.export.bundle import read_bundle
from sed_model.run_folder.folder import RunFolder
from trainables import chain
from trainables.chaining.ledger import CHAIN_FILE, Record, read_record
from trainables.chaining.options import ChainOptions

SHORT = ("--student-set", "stages.pseudo.epochs=2", "--student-set", "stages.pseudo.warmup_epochs=0")


def main_with(*words: object) -> Callable[[], object]:
    return lambda: chain.main([str(word) for word in words])


def run_chain(*words: object) -> str:
    with redirect_stdout(io.StringIO()) as output:
        main_with(*words)()
    return output.getvalue()


def test_the_plan_names_each_step_and_writes_nothing(tiny_space: Path, tiny_root: Path, tmp_path: Path) -> None:
    told = run_chain("--space", tiny_space, "--data", tiny_root, "--out", tmp_path, "--hours", "2", "--plan")

    plan = told[told.index("\nplan: 2 h 00 min") :].splitlines()[2:]
    assert [line.partition("  ")[0] for line in plan[:8]] == [
        *("step", "first trials", "search", "finalists", "labels", "students", "post-processing", "kaggle")
    ]
    assert "up to 4 trials in all, of 3 epochs" in plan[2]
    assert plan[3].split() == ["finalists", "none", "-", "-"]  # of two labelled soundscapes there are no parts
    assert plan[7].endswith(f"{tmp_path / 'data-chain' / 'kaggle'}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("--hours", "4"),
            "--hours 4.0: run-chain was begun with 3.0, and goes on with that; give the same, or another",
        ),
        (("--rounds", "1"), "--rounds 1: run-chain was begun with 3"),
        (("--set", "seed=5"), "--set seed=5: run-chain was begun with (nothing set)"),
        (("--space", "pooling.yaml"), "--space pooling.yaml: run-chain was begun with arch.yaml"),
    ],
)
def test_other_settings_than_a_chain_was_begun_with_are_refused(
    words: tuple[str, ...], told: str, outcome: Callable[..., Any], tmp_path: Path
) -> None:
    begun = ChainOptions("chain", data=tmp_path / "data", out=tmp_path, name="run")
    begun.folder.mkdir()
    (begun.folder / CHAIN_FILE).write_text(Record(settings=begun.settings()).model_dump_json())

    status, _, message = outcome(main_with("--data", tmp_path / "data", "--out", tmp_path, "--name", "run", *words))

    assert status == 2
    assert told in message


def test_a_student_s_setting_that_would_change_nothing_is_refused_before_the_search(
    outcome: Callable[..., Any], tiny_space: Path, tiny_root: Path, tmp_path: Path
) -> None:
    words = ("--space", tiny_space, "--data", tiny_root, "--out", tmp_path, "--student-set", "stages.finetune.epochs=2")
    status, _, message = outcome(main_with(*words))

    assert status == 2
    assert "stages.finetune.epochs=2: would change nothing: the stage finetune is not trained, but pseudo" in message
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_no_chain_s_is_left_alone(
    outcome: Callable[..., Any], tiny_space: Path, tiny_root: Path, tmp_path: Path
) -> None:
    RunFolder(tmp_path / "run").write_search({})
    words = ("--space", tiny_space, "--data", tiny_root, "--out", tmp_path, "--name", "run")
    status, _, message = outcome(main_with(*words))

    assert status == 2
    assert f"{tmp_path / 'run'} exists; choose another --name" in message


@pytest.mark.slow
def test_a_chain_that_is_killed_twice_ends_in_a_kaggle_folder(
    start_command: Callable[..., Any], ray_cluster: None, tiny_space: Path, tiny_root: Path, tmp_path: Path
) -> None:
    """Killed in the first trial, and in a student's training. Two labelled soundscapes are too few for finalists."""
    run, file = tmp_path / "run", tmp_path / "run-chain" / CHAIN_FILE
    words = (
        *("--space", tiny_space, "--data", tiny_root, "--out", tmp_path, "--name", "run", "--hours", "1"),
        *("--num-trials", "2", "--max-concurrent", "1", "--rounds", "1", *SHORT),
    )
    address, outputs = ray.get_runtime_context().gcs_address, []
    for before in ("run folder", "round 1: the teacher"):
        command = start_command("trainables.chain", *words, "--address", address)
        command.wait_until(lambda command=command, before=before: "  loss " in command.output.partition(before)[2])
        assert command.signal(signal.SIGKILL) == -signal.SIGKILL
        outputs.append(command.output)
    steps = ["first trials", "search", "finalists", "labels", "student 1", "post-processing", "kaggle"]
    assert [name for name, step in read_record(file).steps.items() if step.ended_s] == steps[:4]
    outputs.append(run_chain(*words))

    record = read_record(file)
    assert list(record.steps) == steps
    assert all(step.ended_s for step in record.steps.values())
    assert len([row for row in RunFolder(run).read_trials() if row["status"] in ("complete", "pruned")]) == 2
    assert "measured: 1 trial, " in outputs[1]
    kept = run if record.kept_round == 0 else tmp_path / "run-student-1"
    assert read_bundle(file.parent / "kaggle").models
    summary = outputs[2][outputs[2].index("\nstep   ", outputs[2].index("round 1")) :]
    assert [line.partition("  ")[0] for line in summary.splitlines()[2:9]] == steps
    assert f"delivered       {kept}\n" in summary

    again = run_chain(*words)
    assert again[again.rindex("\nstep   ") :].splitlines()[1:9] == summary.splitlines()[1:9]
