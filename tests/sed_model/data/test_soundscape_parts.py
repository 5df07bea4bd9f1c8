import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.core.errors import DataError
from sed_model.core.soundscape_names import site_of
from sed_model.data.soundscape_parts import soundscape_parts


@pytest.mark.parametrize(
    ("path", "site"),
    [
        ("train_soundscapes/H02_20230420_074000.ogg", "H02"),
        ("train_soundscapes/BC2026_Train_0001_S01_20250809_065044.ogg", "S01"),
        ("train_soundscapes/1446779.ogg", None),
        ("train_soundscapes/H02_dawn.ogg", None),
    ],
)
def test_the_site_is_read_from_the_name(path: str, site: str | None) -> None:
    assert site_of(path) == site


def test_no_site_is_in_two_parts() -> None:
    paths = [f"{site}_20250101_{hour:02d}0000.ogg" for site in ("S1", "S2", "S3", "S4") for hour in range(3)]
    part_of = soundscape_parts(paths, 2, seed=0)

    by_site = {site_of(path): {part_of[other] for other in paths if site_of(other) == site_of(path)} for path in paths}
    assert all(len(parts) == 1 for parts in by_site.values())
    assert sorted(part_of.values()) == [0] * 6 + [1] * 6


def test_files_are_dealt_out_where_sites_are_too_few() -> None:
    part_of = soundscape_parts([f"S1_20250101_0{hour}0000.ogg" for hour in range(6)], 3, seed=0)
    assert sorted(part_of.values()) == [0, 0, 1, 1, 2, 2]


def test_the_seed_draws_the_parts_and_the_order_of_the_paths_does_not() -> None:
    paths = [f"{number}.ogg" for number in range(12)]
    assert soundscape_parts(paths, 3, seed=1) == soundscape_parts(paths[::-1] + paths, 3, seed=1)
    assert len({tuple(soundscape_parts(paths, 3, seed).items()) for seed in range(5)}) == 5


@given(st.lists(st.sampled_from("ABCDEFGH"), min_size=2, max_size=30), st.integers(2, 6), st.integers(0, 99))
def test_every_part_has_a_file(sites: list[str], n_parts: int, seed: int) -> None:
    paths = [f"{site}1_20250101_{number:06d}.ogg" for number, site in enumerate(sites)]
    if len(paths) >= n_parts:
        assert set(soundscape_parts(paths, n_parts, seed).values()) == set(range(n_parts))


def test_fewer_files_than_parts_are_refused() -> None:
    with pytest.raises(DataError, match=r"soundscape_folds=3 needs as many labelled soundscapes, but there are 2"):
        soundscape_parts(["a.ogg", "b.ogg", "a.ogg"], 3, seed=0)
