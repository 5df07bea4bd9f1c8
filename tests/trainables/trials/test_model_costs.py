"""What models cost: one figure an architecture, whatever ran beside the trials that measured it."""

from __future__ import annotations

import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sed_model.config.sed_config import SedConfig
from trainables.on_ray.trial_storage import Storage
from trainables.trials.model_costs import architecture, model_costs, recorded, stored

FIRST, SECOND = ({"params_m": 1.0, "cpu_ms_per_window": ms} for ms in (20.0, 31.0))


def test_the_first_figure_counts(tmp_path: Path) -> None:
    """Beside running trials the same model measured 20 ms in one process and 31 ms in another."""
    file = tmp_path / "costs" / "a.json"

    assert recorded(file, lambda: FIRST) == FIRST
    assert recorded(file, lambda: SECOND) == FIRST
    assert list(file.parent.iterdir()) == [file]


def test_of_two_that_measure_at_once_for_want_of_locks_the_first_counts_for_both(tmp_path: Path) -> None:
    file = tmp_path / "a.json"

    def measure_while_another_does() -> dict[str, float]:
        file.write_text(json.dumps(FIRST))
        return SECOND

    assert recorded(file, measure_while_another_does) == FIRST


def test_trials_that_start_together_wait_for_one_measurement(tmp_path: Path) -> None:
    measured = []

    def measure() -> dict[str, float]:
        time.sleep(0.3)
        measured.append(FIRST if not measured else SECOND)
        return measured[-1]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: recorded(tmp_path / "a.json", measure), range(4)))

    assert found == [FIRST] * 4
    assert measured == [FIRST]
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_damaged_record_is_measured_anew_and_replaced(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"params_m": 1')

    assert recorded(file, lambda: SECOND) == SECOND
    assert recorded(file, lambda: FIRST) == SECOND


def test_of_two_machines_that_measure_at_once_the_first_to_write_counts_for_both(tmp_path: Path) -> None:
    place = Storage(tmp_path.as_uri())

    def measure_while_another_machine_does() -> dict[str, float]:
        assert stored(place, "a", lambda: FIRST) == FIRST
        return SECOND

    assert stored(place, "a", measure_while_another_machine_does) == FIRST
    assert stored(place, "a", lambda: SECOND) == FIRST


def test_another_architecture_or_a_damaged_record_in_the_storage_is_passed_over(tmp_path: Path) -> None:
    place = Storage(tmp_path.as_uri())
    place.write("b-1.json", io.BytesIO(json.dumps(FIRST).encode()))
    place.write("a-1.json", io.BytesIO(b'{"params_m"'))

    assert stored(place, "a", lambda: SECOND) == SECOND


@pytest.mark.parametrize(
    "drawn",
    [
        {"model.drop_path_rate": 0.3, "model.final_dropout": 0.5, "model.gem_p": 2.0, "model.attention_heads": 8},
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
