"""The dashboard in a real browser: what it shows in both languages, that it draws, and that it asks nobody else."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tacit.network.watch.dashboard import FRESH, routes
from tests.network.watch import samples
from tests.network.watch.serving import served

CHROMIUM = os.environ.get("TACIT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
if CHROMIUM is None:
    pytest.skip("no Chromium on PATH, and TACIT_CHROMIUM names none", allow_module_level=True)

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


class Shown:
    """What the coordinator says now."""

    def __init__(self) -> None:
        self.status: dict[str, Any] = samples.training()
        self.broken = False

    def __call__(self) -> dict[str, Any]:
        if self.broken:
            raise RuntimeError("the coordinator has trouble of its own")
        return self.status


class Looking:
    """A page that is open, with everything that it asked for and complained of."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda said: said.type in ("error", "warning") and self.complaints.append(said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(url)
        page.wait_for_selector("[data-tile=online]")

    def text(self, place: str) -> str:
        """What stands at a place."""
        return str(self.page.inner_text(place))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    return Shown()


@pytest.fixture
def url(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr("tacit.network.watch.dashboard.FRESH", FRESH / 100)
    with served(routes(shown)) as address:
        yield address


@pytest.fixture
def look(browser: Any, url: str) -> Iterator[Any]:
    opened: list[Any] = []

    def looking(**settings: Any) -> Looking:
        opened.append(
            browser.new_context(**{"locale": "en-GB", "viewport": {"width": 1280, "height": 900}, **settings})
        )
        return Looking(opened[-1].new_page(), url)

    yield looking
    for context in opened:
        context.close()


def drawn_points(seen: Looking, curve: str) -> list[int]:
    """How many points each line of a chart has."""
    return [
        len(re.findall(r"[ML]", path.get_attribute("d")))
        for path in seen.page.query_selector_all(f"[data-curve={curve}] path.line")
    ]


def test_a_run_is_shown_with_its_curves_and_nothing_is_asked_of_others(look: Any, url: str, tmp_path: Path) -> None:
    seen = look()
    assert seen.text("#state") == "Training"
    assert "Round 37" in seen.text("#progress")
    assert "of 100" in seen.text("#progress")
    assert drawn_points(seen, "loss") == [37]
    assert drawn_points(seen, "metrics") == [37, 37]
    assert drawn_points(seen, "epsilon") == [37]
    assert "budget 4" in seen.page.text_content("[data-curve=epsilon] svg")
    assert "TLS 1.3" in seen.text("#security")
    assert seen.page.is_hidden("#insecure")
    assert seen.page.is_hidden("#unreachable")
    picture = tmp_path / "page.png"
    seen.page.screenshot(path=picture, full_page=True)
    assert colours(picture) > 100
    assert seen.complaints == []
    assert {request.split("/")[2] for request in seen.requests} == {url.split("/")[2]}


def colours(picture: Path) -> int:
    """How many different colours a picture has."""
    from matplotlib.image import imread

    pixels = imread(picture)
    return len({tuple(pixel) for pixel in (pixels[::3, ::3, :3] * 255).astype(int).reshape(-1, 3)})


def test_chinese_is_a_click_away_and_remembered(look: Any) -> None:
    seen = look()
    seen.page.click("[data-language=zh]")
    assert seen.text("#state") == "训练中"
    assert "第 37 轮" in seen.text("#progress")
    assert "训练损失" in seen.text("#curves")
    seen.page.click("summary")
    assert "每个参与方作为整体受到保护" in seen.text("#privacy")
    seen.page.reload()
    seen.page.wait_for_selector("[data-tile=online]")
    assert seen.text("#state") == "训练中"
    assert seen.page.get_attribute("html", "lang") == "zh-Hans"


def test_a_chinese_browser_begins_in_chinese(look: Any) -> None:
    assert look(locale="zh-CN").text("#state") == "训练中"


def test_both_languages_say_everything(look: Any) -> None:
    words = look().page.evaluate("import('/dashboard/text.js').then((text) => text.TEXT)")

    def names(part: Any) -> Any:
        return {name: names(inner) for name, inner in part.items()} if isinstance(part, dict) else None

    assert names(words["en"]) == names(words["zh"])
    for name, said in words["en"].items():
        if isinstance(said, str):
            assert sorted(re.findall(r"\{\d\}", said)) == sorted(re.findall(r"\{\d\}", words["zh"][name])), name


def test_what_is_unsafe_is_shouted_and_failures_say_why(look: Any, shown: Shown) -> None:
    shown.status = samples.troubled()
    seen = look(color_scheme="dark")
    assert "NOT secure" in seen.text("#insecure")
    assert "insecure_loopback" in seen.text("#insecure")
    failed = seen.text("[data-attempt='11.0']")
    assert "3 clients were left, 4 are needed" in failed
    assert "1 × too late" in failed
    assert "1 × memory" in failed
    assert "The coordinator sees every single report" in seen.text("#security")
    assert "No formal privacy" in seen.text("#privacy")
    assert "no valid signature" in seen.text("#failures")


def test_a_run_of_which_little_is_known_is_shown_all_the_same(look: Any, shown: Shown) -> None:
    shown.status = samples.gathering()
    seen = look()
    assert "4 more must enrol and approve" in seen.text("#people")
    assert "No round is done yet" in seen.text("#curves")
    assert "NaN" not in seen.text("body")
    assert "undefined" not in seen.text("body")
    assert seen.complaints == []


def test_the_page_follows_the_run_and_says_when_it_cannot(look: Any, shown: Shown) -> None:
    seen = look()
    seen.page.clock.install()
    shown.status = samples.training(39)
    seen.page.reload()
    seen.page.wait_for_selector("[data-tile=online]")
    shown.status = samples.training(40)
    seen.page.clock.run_for(2500)
    seen.page.wait_for_selector("#progress >> text=/^Round 40 /")
    assert drawn_points(seen, "loss") == [40]  # of which one row was asked for, and the others kept
    assert any(request.endswith("after=39") for request in seen.requests)
    shown.broken = True
    seen.page.clock.run_for(2500)
    seen.page.wait_for_selector("#unreachable:not([hidden])")
    assert "cannot be reached" in seen.text("#unreachable")
    assert "Round 40" in seen.text("#progress")
    shown.broken, shown.status = False, {**samples.training(3), "run": "00" * 16}
    seen.page.clock.run_for(4500)
    seen.page.wait_for_selector("#progress >> text=/^Round 3 /")
    seen.page.wait_for_selector("#unreachable", state="hidden")
    assert drawn_points(seen, "loss") == [3]


def test_names_from_a_run_are_text_and_never_markup(look: Any, shown: Shown) -> None:
    shown.status["scenario"] = "<img src=x onerror=alert(1)>"
    shown.status["reason"] = "<script>document.title='taken'</script>"
    shown.status["failures"] = {"<b>bold</b>": 1, "constructor": 2}
    seen = look()
    assert seen.text("#scenario") == "<img src=x onerror=alert(1)>"
    assert "<b>bold</b>" in seen.text("#failures")
    assert seen.page.query_selector("#scenario img") is None
    assert seen.page.title() != "taken"


def test_a_phone_shows_it_without_scrolling_sideways(look: Any, shown: Shown) -> None:
    shown.status = samples.troubled()
    seen = look(viewport={"width": 360, "height": 740})
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 360
    inner = "[...document.querySelectorAll('.card, .scroll')].filter((one) => one.scrollWidth > one.clientWidth).length"
    assert seen.page.evaluate(inner) == 0


def test_values_are_read_by_pointer_and_by_keys(look: Any) -> None:
    seen = look()
    chart = "[data-curve=loss]"
    seen.page.hover(f"{chart} svg")
    assert re.search(r"round \d+", seen.text(f"{chart} .tip"))
    seen.page.focus(f"{chart} svg")
    seen.page.keyboard.press("Home")
    assert "round 1\n" in seen.text(f"{chart} .tip")
    seen.page.keyboard.press("ArrowRight")
    assert "round 2\n" in seen.text(f"{chart} .tip")
    seen.page.keyboard.press("End")
    assert "round 37\n" in seen.text(f"{chart} .tip")
    seen.page.keyboard.press("Escape")
    assert seen.page.is_hidden(f"{chart} .tip")
    seen.page.click(f"{chart} button")
    assert seen.page.get_attribute(f"{chart} button", "aria-pressed") == "true"


def test_thousands_of_rounds_are_thinned(look: Any, shown: Shown) -> None:
    shown.status |= {"history": [samples.row(k + 1) for k in range(6000)], "round": 6000, "rounds": 10000}
    seen = look()
    assert drawn_points(seen, "loss") == [300]
    assert seen.page.query_selector("[data-curve=loss] path.band") is not None
    assert seen.complaints == []
