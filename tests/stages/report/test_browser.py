"""The report in headless Chromium: no console errors, no requests, everything visible in both colour schemes."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import chromium
from tests.stages.report.sample import build, report

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    yield from chromium.opened()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page as a file."""
    folder: Path = tmp_path_factory.mktemp("page")
    (folder / "report.html").write_bytes(report(build(folder, images=8), samples=6))
    return f"file://{folder}/report.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_clean_and_complete(browser: "Browser", address: str, scheme: "str") -> None:
    """Breaks on a console error, a request to elsewhere, a picture that does not decode, or a hidden section."""
    page = browser.new_page(
        viewport={"width": 1366, "height": 768}, color_scheme="dark" if scheme == "dark" else "light"
    )
    said: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(f"failed: {request.url[:80]}"))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    for selector in ("#headline .tile", "table.methods", ".plot polyline", ".card .frame image", "#worst", "#run"):
        assert page.locator(selector).first.is_visible(), selector
    bad = page.evaluate(
        "Promise.all([...document.querySelectorAll('image')].map(i => {"
        " const p = new Image(); p.src = i.href.baseVal; return p.decode().then(() => 0, () => 1) }))"
    )
    assert sum(bad) == 0
    assert len(bad) == 2 * 6 * 3
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert said == []
    assert [url for url in requests if not url.startswith(("data:", "file:"))] == []
    page.close()


def test_the_legend_hides_and_shows_boxes(browser: "Browser", address: str) -> None:
    """Breaks when a tick of the legend is not tied to its boxes."""
    page = browser.new_page()
    page.goto(address)
    line = page.locator(".frame .predicted .line").first
    assert line.is_visible()
    page.locator(".legend label.predicted input").uncheck()
    assert not line.is_visible()
    assert page.locator(".frame .layer-truth .line").first.is_visible()
    page.close()
