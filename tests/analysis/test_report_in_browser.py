"""The report as a browser shows it: every figure drawn, nothing fetched, nothing complained of, fit for a phone."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from analysis.report import main

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH (Debian: apt-get install chromium)")
sync_api = pytest.importorskip("playwright.sync_api")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}


@dataclass
class Visit:
    """A page, with what it asked the network for and what it complained of since it was opened."""

    page: "sync_api.Page"
    address: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def look(self, size: dict[str, int], scheme: str) -> None:
        self.page.set_viewport_size(size)
        self.page.emulate_media(color_scheme=scheme)
        self.page.goto(self.address)
        self.page.wait_for_selector("body[data-drawn]", timeout=60_000)


@pytest.fixture(scope="module")
def visit(hostile_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    folder = tmp_path_factory.mktemp("browser")
    main(["--run", str(hostile_run), "--out", str(folder / "report.html")])
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            folder / "profile", executable_path=CHROMIUM, args=FLAGS, headless=True
        )
        visit = Visit(browser.new_page(), (folder / "report.html").as_uri())
        visit.page.on("console", lambda message: visit.complaints.append(f"{message.type}: {message.text}"))
        visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        visit.page.on("dialog", lambda dialog: visit.complaints.append(f"dialog: {dialog.message}"))
        visit.page.on("request", lambda request: visit.requests.append(request.url))
        yield visit
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_figure_is_drawn_without_a_complaint_or_a_request(
    visit: Visit, size: dict[str, int], scheme: str
) -> None:
    visit.look(size, scheme)

    n_figures = visit.page.locator(".plot").count()
    assert n_figures >= 15
    assert visit.page.locator('.plot[data-drawn="true"] .main-svg').count() >= n_figures
    assert visit.page.locator(".plot:not(:has(.main-svg))").count() == 0
    assert visit.complaints == []
    assert {url for url in visit.requests if not url.startswith("data:")} == {visit.address}


def test_nothing_is_wider_than_a_phone(visit: Visit) -> None:
    visit.look(PHONE, "light")

    assert visit.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    widths = visit.page.evaluate("[...document.querySelectorAll('.plot .main-svg')].map(svg => svg.clientWidth)")
    assert max(widths) <= PHONE["width"]


def test_the_figures_follow_light_and_dark(visit: Visit) -> None:
    visit.look(DESKTOP, "light")
    tick = visit.page.locator(".plot .xtick text").first
    light = tick.evaluate("tick => getComputedStyle(tick).fill")

    visit.page.emulate_media(color_scheme="dark")

    sync_api.expect(tick).not_to_have_css("fill", light, timeout=20_000)


def test_names_from_tables_are_shown_as_they_are(visit: Visit) -> None:
    visit.look(DESKTOP, "light")

    ticks = visit.page.evaluate("[...document.querySelectorAll('.plot .ytick text')].map(tick => tick.textContent)")
    assert any(tick.startswith("<script>alert(1)") for tick in ticks)
    assert visit.page.locator("main img").count() == 0


def test_a_sound_can_be_played_and_a_line_follows_it(visit: Visit) -> None:
    visit.look(DESKTOP, "light")

    seconds = visit.page.evaluate(
        """async () => {
            const sound = document.querySelector("audio");
            if (sound.readyState < 1) await new Promise((ready) => sound.addEventListener("loadedmetadata", ready));
            sound.currentTime = 2;
            await new Promise((done) => sound.addEventListener("seeked", () => setTimeout(done, 300)));
            const box = sound.parentElement.querySelector(".plot");
            return [sound.duration, box.layout.shapes[0].x0 - box.layout.xaxis.range[0]];
        }"""
    )

    assert seconds == pytest.approx([5.0, 2.0], abs=0.1)
