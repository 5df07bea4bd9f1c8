from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.parameters import as_text, parameter_values, short_names, varied_parameters
from analysis.tables import Run, read_run


def test_only_settings_that_vary_are_listed(tiny_run: Path) -> None:
    parameters = varied_parameters(read_run(tiny_run))

    assert [parameter.name for parameter in parameters] == ["pool_type", "gem_p", "lr"]
    assert [parameter.is_number for parameter in parameters] == [False, True, True]
    assert [parameter.is_log for parameter in parameters] == [False, False, True]


def test_an_inactive_setting_has_no_value_though_its_default_was_recorded(run: Run) -> None:
    values = parameter_values(run, varied_parameters(run))

    assert values["gem_p"].isna().tolist() == [True, False, True, False, False, True, False]


def test_a_condition_on_an_inactive_setting_does_not_hold(run: Run) -> None:
    space = run.search["space"] | {"stages.train_bce.lr": {"uniform": [0, 1], "when": {"model.gem_p": [3.0, 4.0]}}}
    run = replace(run, search={"space": space})

    values = parameter_values(run, varied_parameters(run) or [])

    # gem_p is 3 in trial_0000, trial_0002 and trial_0005 too, but inactive there: only trial_0003 has lr, which then
    # does not vary.
    assert "lr" not in values


def test_a_run_without_a_recorded_space_has_no_conditions(tiny_run: Path) -> None:
    run = replace(read_run(tiny_run), search={})

    assert parameter_values(run, varied_parameters(run))["gem_p"].notna().all()


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (["model.backbone"], ["backbone"]),
        (["stages.a.lr", "stages.b.lr"], ["a.lr", "b.lr"]),
        (["prob", "augment.prob"], ["prob", "augment.prob"]),
        (["stages.a.epochs"], ["a.epochs"]),
        (["seed"], ["seed"]),
    ],
)
def test_names_are_the_shortest_that_tell_keys_apart(keys: list[str], names: list[str]) -> None:
    assert list(short_names(keys, reserved=["epochs"]).values()) == names


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4.0, "4"),
        (0.000312345, "0.0003123"),
        (True, "true"),
        (np.True_, "true"),
        (12345678, "12345678"),
        (np.array([1, 2]), "[1, 2]"),
        (None, None),
        (pd.NA, None),
        ("gem", "gem"),
    ],
)
def test_settings_are_written_as_people_do(value: object, text: str | None) -> None:
    assert as_text(value) == text
