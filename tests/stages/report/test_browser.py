"""The report in headless Chromium: no console errors, no requests, everything visible in both colour schemes."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import chromium
from tests.stages.report.sample import build, report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    yield from chromium.opened()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page as a file: all 14 images are on it, those of the three classes in turn."""
    folder: Path = tmp_path_factory.mktemp("page")
    (folder / "report.html").write_bytes(report(build(folder, images=15), samples=6, quality="quality"))
    return f"file://{folder}/report.html"


@pytest.fixture
def page(browser: "Browser", address: str) -> Iterator["Page"]:
    """The page opened; what it says on the console is an error."""
    opened = browser.new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(address)
    yield opened
    opened.close()
    assert said == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1366), ("dark", 1366), ("light", 390), ("dark", 390)])
def test_opens_clean_and_complete(browser: "Browser", address: str, scheme: str, width: int) -> None:
    """Breaks on a console error, a request to elsewhere, a picture that does not decode, or a hidden section."""
    page = browser.new_page(
        viewport={"width": width, "height": 768}, color_scheme="dark" if scheme == "dark" else "light"
    )
    said: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(f"failed: {request.url[:80]}"))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    sections = (
        "#verdict",
        "#headline .tile",
        "table.methods",
        ".plot polyline",
        "table.sources .bars",
        "table.classes",
    )
    for selector in (*sections, ".card .frame image", "table.classes .small image", "#run"):
        assert page.locator(selector).first.is_visible(), selector
    bad = page.evaluate(
        "Promise.all([...document.querySelectorAll('image')].map(i => {"
        " const p = new Image(); p.src = i.href.baseVal; return p.decode().then(() => 0, () => 1) }))"
    )
    assert sum(bad) == 0
    assert len(bad) == page.locator(".card").count() * 3 + 3 * 4
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert said == []
    assert [url for url in requests if not url.startswith(("data:", "file:"))] == []
    page.close()


def shown(page: "Page") -> list[str]:
    """The ids of the images that are visible, in their order."""
    return page.evaluate("[...document.querySelectorAll('.card:not([hidden]) .name')].map(name => name.textContent)")


def facts(page: "Page", source: str) -> dict[str, dict[str, object]]:
    """Image id -> what the page knows of a source's box."""
    found: dict[str, dict[str, object]] = page.evaluate(
        "source => Object.fromEntries([...document.querySelectorAll('.card')].map("
        "card => [card.querySelector('.name').textContent, JSON.parse(card.dataset.of)[source]]))",
        source,
    )
    return found


def test_the_legend_hides_and_shows_boxes(page: "Page") -> None:
    """Breaks when a tick of the legend is not tied to its boxes."""
    line = page.locator(".frame .predicted .line").first
    assert line.is_visible()
    page.locator(".legend label.predicted input").uncheck()
    assert not line.is_visible()
    assert page.locator(".frame .layer-truth .line").first.is_visible()


def test_sets_of_images(page: "Page") -> None:
    """Breaks when the page opens on a choice that is not by hash, or the worst are not the lowest in their order."""
    assert len(shown(page)) == 6
    number = page.locator(".card").count()
    assert page.locator("#count").text_content() == f"6 of {number} images"
    page.locator("[name=set]").select_option("worst")
    worst = shown(page)
    page.locator("[name=set]").select_option("best")
    best = shown(page)
    assert len(worst) == len(best) == 6
    assert set(worst).isdisjoint(best)
    page.locator("[name=set]").select_option("")
    assert set(shown(page)) >= {*worst, *best}
    assert len(shown(page)) == number
    page.locator("nav a[data-set=worst]").click()
    page.wait_for_function("document.getElementById('count').textContent.startsWith('6 of')")
    assert shown(page) == worst
    page.locator("#filters [type=reset]").click()
    page.wait_for_function("document.querySelector('[name=set]').value === 'sample'")


def test_filters_by_class_kind_flag_and_quality(page: "Page") -> None:
    """Breaks when a filter shows what it should hide, hides more, or asks another source than the one chosen."""
    page.locator("[name=set]").select_option("")
    everything = shown(page)
    page.locator("[name=class]").select_option("cat")
    cats = shown(page)
    assert cats == [image_id for image_id in everything if int(image_id.split("/")[1].split(".")[0]) % 3 == 1]
    page.locator("[name=class]").select_option("")

    page.locator("[name=source]").select_option("layer-0")
    cam = facts(page, "layer-0")
    for kind in {fact["kind"] for fact in cam.values()}:
        page.locator("[name=kind]").select_option(str(kind))
        assert set(shown(page)) == {image_id for image_id, fact in cam.items() if fact["kind"] == kind} != set()
    page.locator("[name=kind]").select_option("")

    flagged = {image_id for image_id in everything if image_id.endswith(("5.jpg", "6.jpg"))}
    page.locator("[name=flag]").select_option("=empty_mask")
    assert set(shown(page)) == flagged != set()
    page.locator("[name=flag]").select_option("-")
    assert set(shown(page)) == set(everything) - flagged
    page.locator("[name=source]").select_option("layer-1")
    assert set(shown(page)) == set(everything), "no box of DDT is flagged"
    page.locator("[name=flag]").select_option("")

    page.locator("[name=quality]").fill("0.3")
    assert page.locator(".slider output").text_content() == "0.30"
    assert set(shown(page)) == {image_id for image_id in everything if int(image_id.split("/")[1].split(".")[0]) >= 6}
    page.locator("[name=source]").select_option("layer-2")
    assert shown(page) == [], "nobody judged the predicted boxes"


def test_a_class_shows_its_images(page: "Page") -> None:
    """Breaks when the name of a class leads nowhere, or a name with markup is not found."""
    button = page.locator("table.classes button", has_text="<b>&")
    button.click()
    page.wait_for_function("document.querySelector('[name=class]').value === '<b>&'")
    found = shown(page)
    assert found
    assert all(int(image_id.split("/")[1].split(".")[0]) % 3 == 0 for image_id in found)


def test_the_keyboard_goes_from_image_to_image(page: "Page") -> None:
    """Breaks when an image cannot be reached, enlarged and closed without a mouse, or a hidden one is reached."""
    page.locator("[name=class]").select_option("cat")
    ids = shown(page)
    page.locator(".card:not([hidden])").first.focus()
    page.keyboard.press("ArrowRight")
    focused = "document.activeElement.querySelector('.name')?.textContent"
    assert page.evaluate(focused) == ids[1]
    page.keyboard.press("End")
    assert page.evaluate(focused) == ids[-1]
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    name = page.locator("dialog[open] .name")
    assert name.text_content() == ids[0]
    page.keyboard.press("ArrowRight")
    assert name.text_content() == ids[1]
    page.locator("dialog button[name=before]").click()
    assert name.text_content() == ids[0]
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert page.evaluate(focused) == ids[0]
