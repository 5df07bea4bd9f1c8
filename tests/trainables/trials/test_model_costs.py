"""What models cost: one figure an architecture, whatever ran beside the trials that measured it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sed_model.config.sed_config import SedConfig
from trainables.trials.model_costs import architecture, model_costs, recorded

FIRST, SECOND = ({"params_m": 1.0, "cpu_ms_per_window": ms} for ms in (20.0, 31.0))


def test_the_first_figure_counts(tmp_path: Path) -> None:
    """Beside running trials the same model measured 20 ms in one process and 31 ms in another."""
    file = tmp_path / "costs" / "a.json"

    assert recorded(file, lambda: FIRST) == FIRST
    assert recorded(file, lambda: SECOND) == FIRST
    assert list(file.parent.iterdir()) == [file]


def test_of_two_that_measure_at_once_one_counts_for_both(tmp_path: Path) -> None:
    file = tmp_path / "a.json"

    def measure_while_another_does() -> dict[str, float]:
        recorded(file, lambda: FIRST)
        return SECOND

    assert recorded(file, measure_while_another_does) == FIRST


def test_a_damaged_record_is_measured_anew(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"params_m": 1')

    assert recorded(file, lambda: SECOND) == SECOND


@pytest.mark.parametrize(
    "drawn",
    [
        {"model.drop_path_rate": 0.3, "model.final_dropout": 0.5, "model.gem_p": 2.0},
        {"front_end.f_min_hz": 77.0, "front_end.f_max_hz": 14_000.0, "front_end.top_db": 60.0},
        {"optim.batch_size": 8, "augment.mix.prob": 0.1, "loss.clip_weight": 0.9, "seed": 3},
    ],
)
def test_what_costs_nothing_makes_no_other_architecture(drawn: dict[str, object]) -> None:
    assert architecture(SedConfig().with_overrides(drawn)) == architecture(SedConfig())


@pytest.mark.parametrize(
    "drawn",
    [{"model.pool_type": "gem"}, {"front_end.hop_length": 640}, {"data.window_s": 15}, {"model.extra_norm": True}],
)
def test_what_costs_something_does(drawn: dict[str, object]) -> None:
    assert architecture(SedConfig().with_overrides(drawn)) != architecture(SedConfig())


def test_trials_on_machines_without_a_shared_folder_have_the_same_figures(tiny_base: SedConfig, tmp_path: Path) -> None:
    storage = (tmp_path / "bucket").as_uri()
    first, second = (
        model_costs(tiny_base.with_overrides({"model.drop_rate": rate}), 3, tmp_path / name, storage)
        for name, rate in (("owl", 0.1), ("wren", 0.3))
    )

    assert first == second
    assert first["params_m"] > 0
    assert first["cpu_ms_per_window"] > 0
    assert not (tmp_path / "owl").exists()
