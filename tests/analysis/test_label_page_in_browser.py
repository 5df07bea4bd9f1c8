"""The page on which suggested windows are labelled, as a browser shows it: by keys alone, to a table that is read."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from analysis.suggest import main
from sed_model.data.soundscape_labels import read_soundscape_labels
from tests.analysis.conftest import HOSTILE_CLASSES, write_member_scores
from tests.analysis.test_report_in_browser import CHROMIUM, FLAGS

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH (Debian: apt-get install chromium)")
sync_api = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def page(hostile_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator["sync_api.Page"]:
    folder = tmp_path_factory.mktemp("label")
    run = Path(shutil.copytree(hostile_run, folder / "run"))
    write_member_scores(run, hostile_run.parents[1] / "data", HOSTILE_CLASSES)
    main(["--run", str(run), "--count", "4", "--out", str(folder / "out")])
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            folder / "profile", executable_path=CHROMIUM, args=FLAGS, headless=True
        )
        page = browser.new_page()
        page.complaints = []
        for event in ("console", "pageerror"):
            page.on(event, lambda told: page.complaints.append(str(told)))
        page.goto((folder / "out" / "label.html").as_uri())
        yield page
        browser.close()


def press(page: "sync_api.Page", keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def ticked(page: "sync_api.Page") -> list[int]:
    """How many boxes of each window are ticked."""
    return [section.locator("input:checked").count() for section in page.locator("section.window").all()]


@pytest.fixture(autouse=True)
def fresh(page: "sync_api.Page") -> None:
    page.once("dialog", lambda dialog: dialog.accept())
    page.reload()


def test_keys_tick_what_is_heard_and_the_table_is_read_as_labels(
    page: "sync_api.Page", hostile_run: Path, tmp_path: Path
) -> None:
    press(page, "j12j0jj3")

    assert ticked(page) == [2, 1, 0, 1]
    assert "3 of 4 windows are labelled" in page.locator("#progress").inner_text()
    with page.expect_download() as download:
        page.locator("#download").click()
    file = tmp_path / "train_soundscapes_labels.csv"
    download.value.save_as(file)
    labels = read_soundscape_labels(file, hostile_run.parents[1] / "data", HOSTILE_CLASSES, 5.0)
    assert np.sort(labels[list(HOSTILE_CLASSES)].sum(axis=1)).tolist() == [0, 1, 2]
    assert page.complaints == []


def test_none_and_a_class_exclude_each_other(page: "sync_api.Page") -> None:
    press(page, "j120")
    assert ticked(page)[0] == 1
    press(page, "1")
    assert page.locator("section.window").first.locator("input[value=none]").is_checked() is False
    assert ticked(page)[0] == 1


def test_a_key_plays_the_window_and_the_next_one_stops_it(page: "sync_api.Page") -> None:
    press(page, "jp")
    sound = page.locator("section.window audio").first
    sync_api.expect(sound).to_have_js_property("paused", False)
    press(page, "j")
    sync_api.expect(sound).to_have_js_property("paused", True)
