"""Models of several runs that predict together."""

from __future__ import annotations

from pathlib import Path

import pytest

from sed_model.core.errors import CheckpointError
from sed_model.predict.ensemble import Joining
from trainables.labelling.run_members import RunMembers, with_others

MEAN = Joining()


def members(name: str, count: int, joining: Joining = MEAN) -> RunMembers:
    return RunMembers(tuple(Path(name, f"trial_{number:04d}") for number in range(count)), joining, name)


def test_runs_count_alike_however_many_models_they_have() -> None:
    both = with_others(members("cnn", 4), [members("probe", 2)])
    assert both.joining.weights == (0.125, 0.125, 0.125, 0.125, 0.25, 0.25)


def test_the_weights_within_a_run_stay_in_proportion() -> None:
    both = with_others(members("cnn", 2, Joining((3.0, 1.0))), [members("probe", 1)])
    assert both.joining.weights == (0.375, 0.125, 0.5)


def test_the_others_have_the_share_that_is_given_and_count_alike_among_themselves() -> None:
    both = with_others(members("cnn", 2), [members("probe", 1), members("more", 2)], 0.25)
    assert both.joining.weights == (0.375, 0.375, 0.125, 0.0625, 0.0625)
    assert both.joining.runs == (0, 0, 1, 2, 2)


def test_a_run_alone_stays_as_it_is() -> None:
    alone = members("cnn", 2, Joining(None, "max"))
    assert with_others(alone, []) is alone


def test_what_is_no_mean_is_refused_by_its_name() -> None:
    with pytest.raises(CheckpointError, match="--also joins means, but loud says otherwise"):
        with_others(members("cnn", 2), [members("loud", 2, Joining(None, "max"))])
