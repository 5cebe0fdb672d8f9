"""How the page looks in a real browser: the chart's axes, panes, marks; widths; accessibility."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.base import AXE_SCRIPT, AxeResults

from api.page.routes import FOLDER
from tests.browser import Visit, find_browser, launch, visit
from tests.server import serve
from tests.test_dashboard import check_clean

pytestmark = pytest.mark.skipif(
    not find_browser(), reason="no Chromium here: apt-get install chromium"
)

WIDTHS = {390: 844, 768: 1024, 1440: 900}
LEAST_CONTRAST = 4.5  # WCAG 2.2, AA, of text

# A chart of its own over the page, with bars of which the closes are given.
MAKE_BOARD = """async ({ closes, volume, line, first, last }) => {
  const { Board } = await import("./dashboard/board.js");
  const { readColors } = await import("./dashboard/colors.js");
  const element = document.createElement("div");
  element.style.cssText = "position:fixed;left:0;top:0;width:600px;height:400px";
  document.body.append(element);
  const board = new Board(element, readColors());
  const write = (_, day) => new Date(Date.UTC(2024, 0, 1 + day)).toISOString().slice(0, 10);
  const timestamp = closes.map(write);
  const [high, low] = [closes.map((close) => close + 1), closes.map((close) => close - 1)];
  const volumes = closes.map(() => volume);
  const bars = { timestamp, open: closes, high, low, close: closes, volume: volumes };
  board.setBars(bars, [], false);
  const points = timestamp.map((time) => ({ time, value: line }));
  if (line) board.setLines([{ name: "X", color: "#123456", points }]);
  board.showDays(timestamp[first], timestamp[last < 0 ? closes.length + last : last]);
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const scale = board.chart.timeScale();
  const width = scale.width();
  const format = board.candles.options().priceFormat;
  const found = {
    range: board.chart.priceScale("right", 0).getVisibleRange(),
    panes: board.chart.panes().map((pane) => pane.getSeries().length),
    labels: format.tickmarksFormatter([-40, 0, 40]),
    fine: format.tickmarksFormatter([1.085, 1.086]),
    below: format.formatter(-3),
    places: [first, last].map((at) => scale.timeToCoordinate(timestamp.at(at))),
    space: scale.options().barSpacing,
    width,
  };
  board.chart.remove();
  element.remove();
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with launch() as browser:
        yield browser


@pytest.fixture(scope="module")
def sample(sample_dir: Path) -> Iterator[httpx.Client]:
    with serve(sample_dir) as client:
        yield client


@pytest.fixture
def seen(browser, sample: httpx.Client) -> Iterator[Visit]:
    with visit(browser, sample.base_url, (1440, 900)) as seen:
        yield seen
    check_clean(seen)


def make_board(seen: Visit, **given: Any) -> Any:
    base = {"closes": [10.0 + n % 5 for n in range(60)], "volume": 1e9, "line": 0}
    return seen.page.evaluate(MAKE_BOARD, {**base, "first": 0, "last": -1, **given})


# The chart.


@pytest.mark.long
def test_volume_has_a_pane_of_its_own_and_lines_do_not_stretch_the_price_axis(seen: Visit) -> None:
    seen.open("/?symbol=AAPL")
    plain = make_board(seen)
    assert plain["panes"] == [1, 1]
    assert 8 < plain["range"]["from"] < plain["range"]["to"] < 16
    for far in (400.0, 0.01):
        assert make_board(seen, line=far)["range"] == plain["range"]


@pytest.mark.long
def test_no_label_of_a_price_is_negative_and_each_has_the_decimals_it_needs(seen: Visit) -> None:
    seen.open("/?symbol=AAPL&range=All")
    found = make_board(seen)
    assert found["labels"] == ["", "0.00", "40.00"]
    assert found["fine"] == ["1.085", "1.086"]
    assert found["below"] == ""


FURTHER = [pytest.param(*given, marks=pytest.mark.long) for given in ((60, 10, 40), (400, 7, -1))]


@pytest.mark.long
@pytest.mark.parametrize(("count", "first", "last"), [(3, 0, -1), *FURTHER])
def test_the_first_and_the_last_candle_are_whole(
    seen: Visit, count: int, first: int, last: int
) -> None:
    seen.open("/?symbol=AAPL")
    found = make_board(seen, closes=[20.0 + n % 7 for n in range(count)], first=first, last=last)
    (left, right), half = found["places"], found["space"] / 2
    assert left >= half - 0.5
    assert right <= found["width"] - half - 0.5
    if last == -1:
        assert right <= found["width"] - 10  # room behind the newest


@pytest.mark.long
def test_days_on_the_axis_bear_their_month(seen: Visit) -> None:
    seen.open("/?symbol=AAPL&range=3M")
    found = seen.page.evaluate("""async () => {
      const { writeTick } = await import("./dashboard/texts.js");
      return [0, 1, 2].map((kind) => writeTick("2024-02-09", kind));
    }""")
    assert found == ["2024", "Feb", "9 Feb"]


@pytest.mark.long
def test_a_mark_stands_at_the_bar_whose_period_has_its_day(seen: Visit) -> None:
    """A longer bar bears its first stored session: weeks begin on Tuesdays where Monday is off."""
    seen.open("/?symbol=AAPL")
    place = """async ([days, interval, kind, marks]) => {
      const { placeMarks } = await import("./dashboard/marks.js");
      const found = marks.map((day) => placeMarks([{ day, kind }], days, interval, []));
      return found.map((placed) => placed[0]?.bar ?? null);
    }"""
    weeks = ["2024-01-02", "2024-01-08", "2024-01-16", "2024-01-29"]
    expected = {
        "2024-01-01": "2024-01-02",  # a holiday, in the week of the second
        "2024-01-02": "2024-01-02",
        "2024-01-05": "2024-01-02",
        "2024-01-12": "2024-01-08",
        "2024-01-15": "2024-01-16",
        "2024-01-19": "2024-01-16",
        "2024-01-24": "2024-01-29",  # a week without a bar: the next one
        "2024-02-02": "2024-01-29",
        "2024-02-07": None,  # after the last week
    }
    for kind in ("split", "note", "gap"):
        found = seen.page.evaluate(place, [weeks, "1wk", kind, list(expected)])
        assert dict(zip(expected, found, strict=True)) == expected
    others = [
        ("1mo", ["2024-01-02", "2024-02-01"], {"2024-01-01": "2024-01-02"}),
        ("1mo", ["2023-12-01", "2024-02-05"], {"2024-02-02": "2024-02-05"}),
        ("3mo", ["2024-01-02", "2024-04-02"], {"2024-04-01": "2024-04-02"}),
        ("1y", ["2023-01-03", "2024-01-03"], {"2024-01-01": "2024-01-03"}),
        ("1d", ["2024-01-05", "2024-01-08"], {"2024-01-06": "2024-01-08", "2024-01-09": None}),
    ]
    for interval, days, wanted in others:
        found = seen.page.evaluate(place, [days, interval, "dividend", list(wanted)])
        assert dict(zip(wanted, found, strict=True)) == wanted


@pytest.mark.long
def test_the_price_has_the_change_of_the_day_and_of_the_range_and_says_which(seen: Visit) -> None:
    seen.open("/?symbol=AAPL")
    quote = re.sub(r"\s+", " ", seen.read("#quote"))
    assert quote.startswith("AAPL 430.47 −2.48 % day −20.94 % over 1Y")
    titles = seen.page.locator("#quote .change").evaluate_all("(all) => all.map((e) => e.title)")
    assert titles == [
        "day, since the close of 2013-02-28",
        "from 2012-03-01 to 2013-03-01",
    ]
    seen.page.get_by_label("1wk", exact=True).check()
    seen.page.locator("#quote", has_text="week").wait_for()
    title = seen.page.locator("#quote .change").first.get_attribute("title")
    assert title == "week, since the close of 2013-02-19"


# Comparison.


@pytest.mark.long
def test_an_unknown_symbol_in_a_comparison_takes_nothing_from_the_rest(
    browser, sample: httpx.Client
) -> None:
    with visit(browser, sample.base_url) as seen:
        seen.open("/?symbol=AAPL&range=5Y&against=APPL")
        assert seen.count_pixels("--up") > 1000  # candles still
        assert "Unknown symbol APPL: did you mean AAPL?" in seen.read("#legend")
        assert "Total return\t+253.63 %" in seen.read("#statistics")
        seen.page.fill("#add-input", "msft")
        seen.page.locator("#add [aria-selected=true] b", has_text="MSFT").wait_for()
        seen.page.keyboard.press("Enter")
        seen.page.locator("#legend", has_text="MSFT 103.56").wait_for()
        seen.settle()
        legend = re.sub(r"\s+", " ", seen.read("#legend"))
        assert "AAPL 353.63 MSFT 103.56 100 on 2008-03-03" in legend
        assert "Unknown symbol APPL" in legend
        heads = seen.page.locator("#statistics thead th").all_inner_texts()
        assert heads == ["Figure", "AAPL", "MSFT"]
        links = seen.page.locator("#take a").evaluate_all("(all) => all.map((a) => a.href)")
        assert [link for link in links if "APPL" in link.replace("AAPL", "")] == []
        # the line of MSFT has the colour of its place among the names, which its chip has too
        assert seen.count_pixels("--series-3") > 100
        assert seen.count_pixels("--series-2") == 0
        seen.page.get_by_label("Take APPL away").click()
        seen.page.wait_for_url(lambda url: "APPL" not in url.replace("AAPL", ""))
        seen.settle()
        assert "Unknown" not in seen.read("#legend")


@pytest.mark.long
def test_a_symbol_without_bars_in_the_days_shown_leaves_the_others_their_figures(
    browser, sample: httpx.Client
) -> None:
    with visit(browser, sample.base_url) as seen:
        seen.open("/?symbol=AAPL&against=FB,IBM&start=2005-01-03&end=2006-12-29")
        table = seen.page.locator("#statistics tbody tr").first.locator("th, td").all_inner_texts()
        assert (table[0], table[2]) == ("Total return", "–")
        assert table[1].endswith("%")
        assert table[3].endswith("%")


# Widths.


BETWEEN = [pytest.param(n, marks=pytest.mark.long) for n in (700, 1001, 1280, 1920)]


@pytest.mark.long
@pytest.mark.parametrize("width", [*WIDTHS, *BETWEEN])
def test_the_list_of_compare_is_on_the_screen_and_the_head_in_its_lines(
    browser, sample: httpx.Client, width: int
) -> None:
    with visit(browser, sample.base_url, (width, 900)) as seen:
        seen.open("/?symbol=AAPL&against=MSFT")
        for box in ("add", "pick"):
            seen.page.focus(f"#{box}-input")
            listed = seen.page.locator(f"#{box} [role=listbox]")
            listed.wait_for()
            place = listed.bounding_box()
            assert place["x"] >= 0
            assert place["x"] + place["width"] <= width
        assert seen.find_overflow() == 0
        lines = seen.page.locator(".top > :is(.brand, a, #theme)").evaluate_all(
            "(all) => all.map((e) => e.getBoundingClientRect()).map((r) => r.top + r.height / 2)"
        )
        assert max(lines) - min(lines) < 4  # one line: name, documentation, theme
        check_clean(seen)


# For everybody.


@pytest.mark.long
@pytest.mark.parametrize(
    "address",
    [
        "/?symbol=AAPL&range=5Y&indicators=sma:20,bbands:20:2&drawdown=1&hidden=gap",
        pytest.param("/?symbol=AAPL&range=5Y&against=MSFT,IBM", marks=pytest.mark.long),
        pytest.param("/?tab=health", marks=pytest.mark.long),
    ],
)
def test_axe_finds_nothing_in_both_themes_at_each_width(
    browser, sample: httpx.Client, address: str
) -> None:
    with visit(browser, sample.base_url) as seen:
        seen.open(address)
        seen.page.evaluate(AXE_SCRIPT)
        for scheme in ("light", "dark"):
            seen.page.emulate_media(color_scheme=scheme)
            for width, height in WIDTHS.items():
                seen.page.set_viewport_size({"width": width, "height": height})
                seen.settle()
                found = AxeResults(seen.page.evaluate("axe.run({ resultTypes: ['violations'] })"))
                assert found.violations_count == 0, found.generate_report()
        check_clean(seen)


@pytest.mark.long
def test_headings_say_something_while_and_after_the_page_loads(
    browser, sample: httpx.Client
) -> None:
    assert not re.search(r"<h(\d)[^>]*>\s*</h\1>", sample.get("/").text)
    with visit(browser, sample.base_url) as seen:
        for address in ("/?symbol=AAPL", "/?symbol=NONE", "/?tab=health"):
            seen.open(address)
            heads = seen.page.locator("h1:visible, h2:visible, h3:visible").all_inner_texts()
            assert len(heads) >= 2
            assert all(head.strip() for head in heads)


def test_every_colour_of_text_has_contrast_on_every_ground() -> None:
    """What axe cannot see: text that is on the page only now and then, and on the canvas."""
    themes = re.findall(r":root[^{]*\{([^}]*)\}", (FOLDER / "base.css").read_text())
    assert len(themes) == 2
    for theme in themes:
        colors = dict(re.findall(r"--([\w-]+): #(\w{6});", theme))
        texts = ("text", "muted", "accent", "up", "down", "warn")
        texts += tuple(name for name in colors if name.startswith(("series-", "kind-")))
        for text in texts:
            for ground in ("page", "ground", "raised"):
                found = compute_contrast(colors[text], colors[ground])
                assert found >= LEAST_CONTRAST, (text, ground, found)
        assert compute_contrast(colors["on-accent"], colors["accent"]) >= LEAST_CONTRAST


def compute_contrast(one: str, other: str) -> float:
    """Of two colours as hex, from 1 to 21, as WCAG has it."""
    dark, light = sorted(map(compute_luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def compute_luminance(color: str) -> float:
    parts = (int(color[at : at + 2], 16) / 255 for at in (0, 2, 4))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
