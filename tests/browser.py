"""A real browser for tests: Chromium as the system has it, driven by Playwright.

Every visit writes down what the page asked for and what its console said.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE = 15_000  # milliseconds until something that should show is given up
WIDE, NARROW = (1280, 800), (390, 844)

# How many pixels of all canvases of the chart have a colour of the style sheet, as drawn opaque.
COUNT_PIXELS = """(name) => {
  const style = getComputedStyle(document.documentElement);
  const [red, green, blue] = style.getPropertyValue(name).trim().match(/\\w\\w/g)
    .map((part) => parseInt(part, 16));
  let count = 0;
  for (const canvas of document.querySelectorAll("#chart canvas")) {
    if (!canvas.width || !canvas.height) continue;
    const copy = new OffscreenCanvas(canvas.width, canvas.height);
    const context = copy.getContext("2d", { willReadFrequently: true });
    context.drawImage(canvas, 0, 0);
    const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
    for (let at = 0; at < data.length; at += 4) {
      if (data[at] === red && data[at + 1] === green && data[at + 2] === blue) count += 1;
    }
  }
  return count;
}"""


def find_browser() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def launch() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """One page, and what it did."""

    page: Page
    base: str
    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def open(self, address: str) -> None:
        """Open an address of the service, and wait till there is something to see."""
        self.page.goto(self.base + address)
        self.settle()

    def settle(self) -> None:
        """Wait till the tab that is shown asks for nothing more, and two frames are drawn."""
        self.page.wait_for_selector("[role=tabpanel][aria-busy=false]:not([hidden])")
        self.page.evaluate(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def wait_for_url(self, *parts: str) -> None:
        """Wait till each part stands in the address."""
        self.page.wait_for_url(lambda url: all(part in url for part in parts))

    def read(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def count_pixels(self, color: str) -> int:
        """Pixels of the chart in a colour, as --up."""
        count: int = self.page.evaluate(COUNT_PIXELS, color)
        return count

    def find_overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        width: int = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return width


@contextmanager
def visit(
    browser: Browser,
    base: object,
    size: tuple[int, int] = WIDE,
    scheme: str = "dark",
    **options: Any,
) -> Iterator[Visit]:
    """A new context: no storage, no cache."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, **options
    )
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    visited = Visit(page, str(base).rstrip("/"))
    page.on("request", lambda request: visited.requests.append(request.url))
    page.on("console", lambda said: visited.faults.append(f"{said.type}: {said.text}"))
    page.on("pageerror", lambda error: visited.faults.append(f"error: {error}"))
    yield visited
    context.close()
