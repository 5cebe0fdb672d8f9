"""The page at /: in a real browser what it shows and does, over HTTP what it is made of."""

import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pandas as pd
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from api.main import create_app
from api.page.routes import FOLDER
from etl.settings import PROJECT_ROOT
from tests.browser import NARROW, Visit, find_browser, launch, visit
from tests.conftest import make_bars
from tests.server import make_settings, serve, serve_app
from tests.stores import load_file

ARTEFACTS = Path(os.environ.get("ARTEFACTS_DIR") or Path(__file__).parent / "artefacts")
MOST_SENT, MOST_UNPACKED = 150_000, 365_000  # bytes of all that the page is made of
ODD = "O'<I>$B&\"+;"  # a symbol that would be markup, or end a quotation
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.js"))

in_browser = pytest.mark.skipif(
    not find_browser(), reason="no Chromium here: apt-get install chromium"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with launch() as browser:
        yield browser


@pytest.fixture(scope="module")
def sample(sample_dir: Path) -> Iterator[httpx.Client]:
    with serve(sample_dir) as client:
        yield client


@pytest.fixture(scope="module")
def restated(restated_dir: Path) -> Iterator[httpx.Client]:
    with serve(restated_dir) as client:
        yield client


@pytest.fixture
def seen(browser, sample: httpx.Client) -> Iterator[Visit]:
    """A visit to the sample that must leave the console empty and the host never."""
    with visit(browser, sample.base_url) as seen:
        yield seen
    check_clean(seen)


def check_clean(seen: Visit) -> None:
    assert seen.faults == []
    assert {urlsplit(url).netloc for url in seen.requests} == {urlsplit(seen.base).netloc}


def keep_picture(seen: Visit, name: str) -> None:
    """For people to look at; a folder that git does not know."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    seen.page.screenshot(path=ARTEFACTS / f"{name}.png")


# The chart.


@in_browser
def test_the_page_draws_candles_and_volume_of_the_first_instrument(seen: Visit) -> None:
    seen.open("/")
    assert seen.page.url.endswith("?symbol=AAPL")
    assert seen.count_pixels("--up") > 1000
    assert seen.count_pixels("--down") > 1000
    assert "430.47" in seen.read("#quote")
    assert re.sub(r"\s+", " ", seen.read("#legend")).startswith(
        "2013-03-01 O 438.00 H 438.18 L 429.98 C 430.47 −2.48 % V 19.73 M"
    )
    keep_picture(seen, "dark")


@in_browser
def test_ranges_end_with_the_last_bar_and_stand_in_the_address(seen: Visit) -> None:
    seen.open("/?symbol=AAPL")
    starts = {}
    for name in ("1M", "3M", "6M", "YTD", "1Y", "5Y", "All"):
        seen.page.get_by_label(name, exact=True).check()
        seen.wait_for_url("" if name == "1Y" else f"range={name}")
        starts[name] = seen.page.input_value("#start")
        assert seen.page.input_value("#end") == "2013-03-01"
    assert starts == {
        "1M": "2013-02-01",
        "3M": "2012-12-03",
        "6M": "2012-09-04",
        "YTD": "2013-01-02",
        "1Y": "2012-03-01",
        "5Y": "2008-03-03",
        "All": "2000-03-01",
    }
    seen.page.keyboard.press("ArrowLeft")  # a group of radio buttons, as the keyboard has it
    seen.wait_for_url("range=5Y")
    seen.page.go_back()
    seen.page.go_back()
    seen.wait_for_url("range=5Y")
    assert seen.page.input_value("#start") == "2008-03-03"
    seen.page.go_forward()
    seen.wait_for_url("range=All")
    seen.page.reload()
    seen.settle()
    assert seen.page.input_value("#start") == "2000-03-01"
    assert seen.page.get_by_label("All", exact=True).is_checked()


@pytest.mark.long
@in_browser
def test_adjustment_interval_and_scale_change_what_is_drawn(seen: Visit) -> None:
    seen.open("/?symbol=AAPL&range=All")
    assert "+1,221.37 %" in seen.read("#quote")
    seen.page.get_by_label("raw", exact=True).check()
    seen.wait_for_url("adjustment=raw")
    seen.page.locator("#quote", has_text="+230.34 %").wait_for()
    bodies = seen.count_pixels("--up")
    seen.page.get_by_label("Log", exact=True).check()
    seen.wait_for_url("log=1")
    seen.settle()
    assert seen.count_pixels("--up") != bodies
    seen.page.get_by_label("1y", exact=True).check()
    seen.wait_for_url("interval=1y")
    seen.settle()
    assert seen.read("#statistics").endswith("Bars\t14")
    assert seen.page.input_value("#start") == "2000-03-01"


@pytest.mark.long
@in_browser
def test_indicators_are_drawn_over_the_prices_and_told_in_the_legend(seen: Visit) -> None:
    seen.open("/?symbol=AAPL")
    assert seen.count_pixels("--series-2") == 0
    for label in ("SMA", "EMA", "BB"):
        seen.page.get_by_label(label, exact=True).check()
    seen.wait_for_url("indicators=sma:20,ema:50,bbands:20:2")
    seen.page.locator("#legend", has_text="BB 20 2 480.31 / 455.49 / 430.67").wait_for()
    assert "SMA 20 455.49" in seen.read("#legend")
    seen.page.get_by_label("Bars of the Simple moving average").fill("5")
    seen.page.keyboard.press("Enter")
    seen.wait_for_url("sma:5")
    seen.page.locator("#legend", has_text="SMA 5 441.64").wait_for()
    seen.settle()
    assert min(seen.count_pixels(f"--series-{place}") for place in (2, 3, 4)) > 100


@pytest.mark.long
@in_browser
def test_the_drawdown_has_a_pane_of_its_own(seen: Visit) -> None:
    seen.open("/?symbol=AAPL&range=All")
    canvases = seen.page.locator("#chart canvas").count()
    seen.page.get_by_label("Drawdown", exact=True).check()
    seen.wait_for_url("drawdown=1")
    seen.settle()
    assert seen.page.locator("#chart canvas").count() > canvases
    seen.page.get_by_label("Drawdown", exact=True).uncheck()
    seen.settle()
    assert seen.page.locator("#chart canvas").count() == canvases


@in_browser
def test_up_to_five_symbols_are_compared_from_100_on_a_day_that_all_have(seen: Visit) -> None:
    seen.open("/?symbol=AAPL&range=5Y")
    for typed in ("ms", "ib", "goo", "fb"):
        seen.page.fill("#add-input", typed)
        seen.page.locator("#add [role=option][aria-selected=true]").wait_for()
        seen.page.keyboard.press("Enter")
        seen.settle()
    seen.wait_for_url("against=MSFT,IBM,GOOG,FB")
    assert seen.page.locator("#add").is_hidden()
    legend = re.sub(r"\s+", " ", seen.read("#legend"))
    assert legend == (
        "2013-03-01 AAPL 81.16 MSFT 95.49 IBM 103.59 GOOG 134.28 FB 72.66 100 on 2012-05-18"
    )
    assert seen.count_pixels("--up") == 0
    assert min(seen.count_pixels(f"--series-{place}") for place in range(1, 6)) > 100
    heads = seen.page.locator("#statistics thead th").all_inner_texts()
    assert heads[1:] == ["AAPL", "MSFT", "IBM", "GOOG", "FB"]
    seen.page.get_by_label("Take FB away").click()
    seen.wait_for_url("against=MSFT,IBM,GOOG")
    seen.settle()
    assert "100 on 2008-03-03" in seen.read("#legend")


@in_browser
def test_instruments_are_found_and_picked_by_the_keyboard_alone(seen: Visit) -> None:
    seen.open("/")
    seen.page.keyboard.press("/")
    field = seen.page.locator("#pick-input")
    assert field.evaluate("(field) => field === document.activeElement")
    seen.page.locator("#pick [role=option]").nth(4).wait_for()
    assert field.get_attribute("aria-expanded") == "true"
    seen.page.keyboard.press("ArrowDown")
    seen.page.keyboard.press("ArrowDown")
    active = field.get_attribute("aria-activedescendant")
    assert seen.page.locator(f"#{active} b").inner_text() == "FB"
    seen.page.keyboard.press("Escape")
    assert seen.page.locator("#pick [role=listbox]").is_hidden()
    seen.page.keyboard.type("oog")
    seen.page.locator("#pick [aria-selected=true] b", has_text="GOOG").wait_for()
    seen.page.keyboard.press("Enter")
    seen.wait_for_url("symbol=GOOG")
    seen.page.locator("#quote", has_text="806.19").wait_for()


@pytest.mark.long
@in_browser
def test_a_drag_zooms_to_its_days_and_a_double_click_shows_all(seen: Visit) -> None:
    seen.open("/?symbol=AAPL&range=All")
    box = seen.page.locator("#chart").bounding_box()
    middle = box["y"] + box["height"] / 2
    seen.page.mouse.move(box["x"] + 300, middle)
    seen.page.mouse.down()
    seen.page.mouse.move(box["x"] + 500, middle, steps=3)
    assert seen.page.locator("#band").is_visible()
    seen.page.mouse.up()
    seen.wait_for_url("start=2004", "end=2007")
    seen.settle()
    shown = (seen.page.input_value("#start"), seen.page.input_value("#end"))
    assert shown[0] in seen.page.url
    assert shown[1] in seen.page.url
    assert seen.read("#statistics-of") == " – ".join(shown)
    seen.page.mouse.dblclick(box["x"] + 400, middle)
    seen.wait_for_url("range=All")


@pytest.mark.long
@in_browser
def test_the_wheel_zooms_and_shift_with_a_drag_moves_and_the_address_follows(seen: Visit) -> None:
    seen.open("/?symbol=AAPL&start=2005-01-03&end=2009-12-31")
    box = seen.page.locator("#chart").bounding_box()
    middle = box["y"] + box["height"] / 2
    seen.page.mouse.move(box["x"] + 450, middle)
    seen.page.mouse.wheel(0, -300)
    seen.page.wait_for_url(lambda url: "2005-01-03" not in url)
    first = seen.page.input_value("#start")
    seen.page.keyboard.down("Shift")
    seen.page.mouse.down()
    seen.page.mouse.move(box["x"] + 150, middle, steps=4)
    seen.page.mouse.up()
    seen.page.keyboard.up("Shift")
    seen.page.wait_for_url(lambda url: first not in url)
    assert seen.page.input_value("#start") > first
    seen.page.get_by_label("5Y", exact=True).check()
    seen.settle()
    assert seen.page.input_value("#start") == "2008-03-03"
    assert "2008-03-03" in seen.read("#statistics-of")
    seen.page.mouse.move(box["x"] + 1, middle)
    seen.page.locator("#legend", has_text="2008-03-0").wait_for()


@pytest.mark.long
@in_browser
def test_keys_point_at_bars_move_and_zoom(seen: Visit) -> None:
    seen.open("/?symbol=AAPL&range=3M")
    seen.page.focus("#chart")
    seen.page.keyboard.press("ArrowLeft")
    assert seen.read("#legend").startswith("2013-03-01")
    seen.page.keyboard.press("ArrowLeft")
    assert seen.read("#legend").startswith("2013-02-28")
    assert "2013-02-28" in seen.page.locator("#told").text_content()
    seen.page.keyboard.press("Escape")
    assert seen.read("#legend").startswith("2013-03-01")
    seen.page.keyboard.press("Shift+ArrowLeft")
    seen.page.wait_for_url(lambda url: "end=2013-02" in url)
    narrow = seen.page.input_value("#start")
    seen.page.keyboard.press("+")
    assert seen.page.input_value("#start") > narrow
    seen.page.keyboard.press("0")
    seen.wait_for_url("range=All")


@in_browser
def test_what_is_odd_about_a_bar_is_marked_and_says_why(browser, restated: httpx.Client) -> None:
    with visit(browser, restated.base_url, scheme="light") as seen:
        seen.open("/?symbol=IBM&range=All")
        listed = seen.page.locator("#events li").all_inner_texts()
        days = [re.search(r"\d{4}-\d\d-\d\d", text)[0] for text in listed]
        assert days == sorted(days, reverse=True)
        text = "\n".join(listed)
        for words in (
            "dividend 1.6300",
            "no bar: rejected",
            "no bar: not delivered",
            "open 123.1 is not within low 119.8 to high 122.12",
            "changed 2020-05-09 00:15 UTC",
            "close 121.79, volume 2,538,547",
        ):
            assert words in text
        # the badge of the 6th, the fifth of eight sessions on the axis: point at it
        box = seen.page.locator("#chart canvas").first.bounding_box()
        seen.page.mouse.move(
            box["x"] + box["width"] / 8 * 4.45, box["y"] + box["height"] - 10, steps=2
        )
        seen.page.locator("#popover", has_text="not delivered").wait_for()
        assert re.sub(r"\s+", " ", seen.read("#legend")) == "2020-05-06 no bar"
        keep_picture(seen, "light")
        seen.page.mouse.move(5, 5)
        assert seen.page.locator("#popover").is_hidden()
        seen.page.locator("#events button", has_text="provisional").focus()
        seen.page.keyboard.press("Enter")
        assert "2020-05-11 18:02:11" in seen.read("#popover")
        seen.page.locator("#kinds label[title=Gaps]").click()
        seen.wait_for_url("hidden=gap")
        assert seen.page.locator("#events li").count() == len(listed) - 2
        check_clean(seen)


@in_browser
def test_what_the_page_reckons_itself_is_right(seen: Visit) -> None:
    seen.open("/?symbol=FB&range=1M")
    found = seen.page.evaluate("""async () => {
      const figures = await import("./dashboard/figures.js");
      const { writeRatio } = await import("./dashboard/marks.js");
      const days = ["2020-01-02", "2020-02-03", "2020-03-02"];
      return {
        starts: ["1M", "6M", "YTD", "1Y"].map((name) => figures.findStart(name, "2020-08-31")),
        turn: figures.findStart("1M", "2020-01-31"),
        months: figures.findShown(days, { range: "1M", interval: "1mo" }),
        none: figures.findShown(days, { range: "", start: "2020-01-03", end: "2020-02-02" }),
        falls: figures.computeDrawdown([9, 10, 5, 8, 20], 1, 3),
        based: figures.rebase({ timestamp: days, close: [4, 5, 10] }, "2020-01-15"),
        ratios: [2, 0.1, 1.5, 0.125, 20].map(writeRatio),
      };
    }""")
    assert found == {
        "starts": ["2020-07-31", "2020-02-29", "2020-01-01", "2019-08-31"],
        "turn": "2019-12-31",
        "months": [1, 2],  # the month that the range begins in, too
        "none": None,
        "falls": [0, -0.5, pytest.approx(-0.2)],
        "based": [80, 100, 200],
        "ratios": ["2:1", "1:10", "3:2", "1:8", "20:1"],
    }


# What can be taken along.


@in_browser
def test_the_files_hold_what_is_shown(seen: Visit, sample: httpx.Client) -> None:
    seen.open("/?symbol=AAPL&range=1M")
    with seen.page.expect_download() as download:
        seen.page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == "AAPL_1d_split_2013-02-01_2013-03-01.csv"
    rows = Path(download.value.path()).read_text().splitlines()
    assert (rows[1][:10], rows[-1][:10], len(rows)) == ("2013-02-01", "2013-03-01", 21)
    parquet = seen.page.get_by_role("link", name="Parquet").get_attribute("href")
    assert sample.get(parquet).content[:4] == b"PAR1"


@pytest.mark.long
@in_browser
def test_the_view_is_copied_as_curl_and_as_pandas(browser, sample: httpx.Client) -> None:
    rights = ["clipboard-read", "clipboard-write"]
    with visit(browser, sample.base_url, permissions=rights) as seen:
        seen.open("/?symbol=AAPL&range=1M&against=MSFT")
        seen.page.click("#copy-curl")
        seen.page.locator("#copy-curl", has_text="Copied").wait_for()
        command, url = shlex.split(seen.page.evaluate("navigator.clipboard.readText()"))
        assert command == "curl"
        assert sample.get(url).text.count("\n") == 1 + 2 * 20
        seen.page.click("#copy-pandas")
        seen.page.locator("#copy-pandas", has_text="Copied").wait_for()
        made: dict[str, pd.DataFrame] = {}
        exec(seen.page.evaluate("navigator.clipboard.readText()"), made)  # noqa: S102
        assert made["rebased"].shape == (20, 2)
        assert made["rebased"].iloc[0].tolist() == [100.0, 100.0]
        seen.open("/?symbol=AAPL&range=1M&indicators=sma:20")
        exec(seen.page.locator("#as-pandas").text_content(), made)  # noqa: S102
        assert len(made["bars"]) == len(made["indicators"]) == 20
        check_clean(seen)


# Data health.


@in_browser
def test_data_health_shows_coverage_runs_and_rejects(browser, restated: httpx.Client) -> None:
    with visit(browser, restated.base_url) as seen:
        seen.open("/?symbol=IBM")
        seen.page.focus("#tab-chart")
        seen.page.keyboard.press("ArrowRight")
        seen.wait_for_url("tab=health")
        seen.settle()
        cells = seen.page.locator(".coverage tbody td, .coverage tbody th").all_inner_texts()
        assert cells == [
            *("IBM", "XNYS", "2020-04-30", "2020-05-11", "6", "8", "75.0 %"),
            *("2", "2", "1", "2"),
        ]
        assert seen.page.locator(".runs tbody tr").count() == 3
        assert re.sub(r"\s+", " ", seen.read("#reasons-part")) == "high below low 1"
        keep_picture(seen, "health")
        seen.page.locator(".runs .link").last.click()
        seen.wait_for_url("run=")
        seen.settle()
        assert "high below low" in seen.read("#run-part")
        check_clean(seen)


# When something is missing.


@in_browser
def test_without_a_database_the_remedy_shows_and_retry_finds_it(
    browser, sample_dir: Path, tmp_path: Path
) -> None:
    with serve(tmp_path) as client, visit(browser, client.base_url) as seen:
        seen.open("/")
        assert "There is no database yet: run make etl" in seen.read("#overlay")
        shutil.copy2(sample_dir / "market_data.duckdb", tmp_path / "market_data.duckdb")
        seen.page.get_by_role("button", name="Retry").click()
        seen.page.wait_for_selector("#stage[data-state=ready]")
        assert seen.count_pixels("--up") > 1000
        assert {said.split(" (")[0] for said in seen.faults} == {
            "error: Failed to load resource: the server responded with a status of 503"
        }


@pytest.mark.long
@in_browser
def test_an_unknown_symbol_shows_the_nearest_and_days_without_bars_what_there_is(
    browser, sample: httpx.Client
) -> None:
    with visit(browser, sample.base_url) as seen:
        seen.open("/?symbol=APPL&start=1990-01-01&end=1990-12-31")
        assert "Unknown symbol APPL: did you mean AAPL?" in seen.read("#overlay")
        seen.page.get_by_role("button", name="AAPL").click()
        seen.page.wait_for_selector("#stage[data-state=empty]")
        assert "it has bars from 2000-03-01 to 2013-03-01" in seen.read("#overlay")
        seen.page.get_by_role("button", name="Show all bars").click()
        seen.page.wait_for_selector("#stage[data-state=ready]")
        assert seen.page.input_value("#start") == "2000-03-01"
        assert seen.page.locator("#overlay").is_hidden()
        assert {said.split(" (")[0] for said in seen.faults} == {
            "error: Failed to load resource: the server responded with a status of 404"
        }


@pytest.mark.long
@in_browser
def test_a_service_that_went_away_is_told_of(browser, sample_dir: Path) -> None:
    with visit(browser, "") as seen:
        with serve(sample_dir) as client:
            seen.base = str(client.base_url).rstrip("/")
            seen.open("/?symbol=IBM")
        seen.page.get_by_label("1wk", exact=True).check()
        seen.page.locator(
            "#overlay", has_text="does not answer: start it with make serve"
        ).wait_for()
        assert seen.page.get_by_role("button", name="Retry").is_visible()


@in_browser
def test_new_data_show_with_the_next_question(browser, tmp_path: Path) -> None:
    bars = [("X", "2020-05-04", 10.0), ("X", "2020-05-05", 11.0)]
    load_file(tmp_path, make_bars(tmp_path / "in" / "one.parquet", bars))
    with serve(tmp_path) as client, visit(browser, client.base_url) as seen:
        seen.open("/?symbol=X&range=All")
        assert seen.read("#legend").startswith("2020-05-05")
        bars += [("X", "2020-05-06", 12.0)]
        load_file(tmp_path, make_bars(tmp_path / "in" / "two.parquet", bars))
        seen.page.get_by_label("1M", exact=True).check()
        seen.page.locator("#legend", has_text="2020-05-06").wait_for()
        seen.page.locator("#store", has_text="bars to 2020-05-06").wait_for()
        check_clean(seen)


@in_browser
def test_a_symbol_is_text_and_never_markup(browser, tmp_path: Path) -> None:
    days = [date(2006, 1, 2) + timedelta(n) for n in range(7305)]
    bars = [(ODD, str(day), 50 + n % 97) for n, day in enumerate(days) if day.weekday() < 5]
    load_file(tmp_path, make_bars(tmp_path / "odd" / "clean.parquet", bars))
    with serve(tmp_path) as client, visit(browser, client.base_url) as seen:
        seen.open("/?range=All")
        assert ODD in seen.read("#quote")
        assert seen.page.locator("#view-chart i", has_text="$B").count() == 0
        _, url = shlex.split(seen.page.locator("#as-curl").text_content())
        assert client.get(url).text.count("\n") == 1 + len(bars)
        made: dict[str, pd.DataFrame] = {}
        exec(seen.page.locator("#as-pandas").text_content(), made)  # noqa: S102
        assert len(made["bars"]) == len(bars)
        check_clean(seen)


# Looks.


@pytest.mark.long
@in_browser
def test_the_theme_is_the_systems_until_it_is_chosen(browser, sample: httpx.Client) -> None:
    with visit(browser, sample.base_url, scheme="light") as seen:
        ground = "getComputedStyle(document.getElementById('stage')).backgroundColor"
        seen.open("/")
        assert seen.page.evaluate(ground) == "rgb(255, 255, 255)"
        seen.page.click("#theme")
        assert seen.page.evaluate(ground) == "rgb(16, 21, 28)"
        assert seen.count_pixels("--ground") > 100_000
        seen.page.reload()
        seen.settle()
        assert seen.page.evaluate(ground) == "rgb(16, 21, 28)"
        check_clean(seen)


@pytest.mark.long
@in_browser
@pytest.mark.parametrize(
    "address",
    [
        "/?symbol=AAPL&against=MSFT,IBM,GOOG,FB",
        pytest.param("/?tab=health", marks=pytest.mark.long),
    ],
)
def test_a_narrow_window_needs_no_sideways_scrolling(
    browser, sample: httpx.Client, address: str
) -> None:
    with visit(browser, sample.base_url, size=NARROW) as seen:
        seen.open(address)
        assert seen.find_overflow() == 0
        table = seen.page.locator(".coverage" if "health" in address else ".figures.many")
        part = table.locator("..")
        assert part.evaluate("(part) => (part.scrollLeft = 40, part.scrollLeft)") == 40
        keep_picture(seen, "narrow-health" if "health" in address else "narrow")
        check_clean(seen)


@pytest.mark.long
@in_browser
def test_the_page_works_behind_a_path_prefix(browser, sample_dir: Path) -> None:
    app = create_app(make_settings(sample_dir))
    with (
        serve_app(strip_prefix(app, "/bars")) as client,
        visit(browser, f"{client.base_url}/bars") as seen,
    ):
        seen.open("/?symbol=IBM")
        assert seen.count_pixels("--up") > 1000
        assert {urlsplit(url).path.split("/")[1] for url in seen.requests} == {"bars"}
        check_clean(seen)


def strip_prefix(app: ASGIApp, prefix: str) -> ASGIApp:
    """As a reverse proxy does that hands on what is below a path."""

    async def stripped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": scope["path"].removeprefix(prefix)}
            scope["raw_path"] = scope["raw_path"].removeprefix(prefix.encode())
        await app(scope, receive, send)

    stripped.app = app  # type: ignore[attr-defined]  # the server looks for its state below
    return stripped


@pytest.mark.long
@in_browser
def test_the_page_weighs_less_than_it_may(browser, sample: httpx.Client) -> None:
    with visit(browser, sample.base_url) as seen:
        seen.open("/?symbol=AAPL&range=All")
        weights = seen.page.evaluate(
            """() => [...performance.getEntriesByType("navigation"),
                ...performance.getEntriesByType("resource")]
                .filter(({ name }) => name.includes("/dashboard/") || name.includes("/?"))
                .map(({ name, transferSize }) => [name, transferSize])"""
        )
        assert {Path(urlsplit(name).path).name for name, _ in weights} >= set(SCRIPTS)
        assert 50_000 < sum(size for _, size in weights) < MOST_SENT


# What it is made of.


def list_links(page: str) -> list[str]:
    return re.findall(r'(?:href|src)="([^"]+)"', page)


def test_the_root_is_the_page_and_links_to_the_docs(sample: httpx.Client) -> None:
    answer = sample.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "docs" in list_links(answer.text)


def test_all_that_the_page_loads_is_here_and_addressed_relative_to_it(
    sample: httpx.Client,
) -> None:
    links = [link for link in list_links(sample.get("/").text) if not link.startswith("#")]
    assert [link for link in links if ":" in link] == ["https://www.tradingview.com/"]
    for link in links:
        if ":" not in link:
            assert not link.startswith("/")
            assert sample.get(f"/{link}").status_code == 200, link
    assert {f"dashboard/{name}" for name in SCRIPTS} <= set(links)


def test_even_uncompressed_the_page_is_light(sample: httpx.Client) -> None:
    links = [link for link in list_links(sample.get("/").text) if link.startswith("dashboard/")]
    loaded = {f"/{link}" for link in links if not link.startswith("dashboard/vendor/N")} | {"/"}
    assert sum(len(sample.get(link).content) for link in loaded) < MOST_UNPACKED
    packed = {"Accept-Encoding": "gzip"}
    sizes = [int(sample.get(link, headers=packed).headers["content-length"]) for link in loaded]
    assert sum(sizes) < MOST_SENT


def test_files_are_checked_against_their_etag_and_sent_compressed(sample: httpx.Client) -> None:
    plain = sample.get("/dashboard/main.js")
    packed = sample.get("/dashboard/main.js", headers={"Accept-Encoding": "gzip"})
    assert (plain.text, packed.headers["content-encoding"]) == (packed.text, "gzip")
    assert plain.headers["etag"] != packed.headers["etag"]
    assert plain.headers["cache-control"] == "no-cache"
    for answer in (plain, packed):
        headers = {"Accept-Encoding": "gzip"} if answer is packed else {}
        headers["If-None-Match"] = answer.headers["etag"]
        again = sample.get("/dashboard/main.js", headers=headers)
        assert (again.status_code, again.content) == (304, b"")
    assert sample.head("/").headers["content-length"] == str(len(sample.get("/").content))


def test_the_page_may_load_nothing_from_elsewhere_and_run_nothing_inline(
    sample: httpx.Client,
) -> None:
    answer = sample.get("/")
    policy = dict(
        part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script>", answer.text)
    for name in SCRIPTS:
        text = (FOLDER / name).read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


@pytest.mark.parametrize(
    "name",
    ["nothing.js", "../main.py", "%2e%2e/docs.py", "screenshots/chart.png", "a%00.js", "x" * 300],
)
def test_only_files_of_the_page_are_served(sample: httpx.Client, name: str) -> None:
    answer = sample.get(f"/dashboard/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_is_vendored_is_the_file_that_was_published_and_has_its_licence() -> None:
    folder = FOLDER / "vendor"
    readme = " ".join((folder / "README.md").read_text().split())
    versions = json.loads((folder / "versions.json").read_text())
    assert {path.name for path in folder.glob("*.mjs")} == set(versions)
    for name, told in versions.items():
        content = (folder / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == told["sha256"]
        assert f"v{told['version']}".encode() in content[:300]
        assert f"{told['package']} {told['version']}" in readme
    assert "Apache License" in (folder / "LICENSE").read_text()
    notice = (folder / "NOTICE").read_text()
    assert "TradingView Lightweight Charts™" in notice
    assert 'href="https://www.tradingview.com/"' in (FOLDER / "index.html").read_text()


def test_readme_shows_two_small_pictures_of_it() -> None:
    readme = (PROJECT_ROOT / "README.md").read_text()
    shown = re.findall(r"!\[[^\]]+\]\((api/page/files/screenshots/\w+\.png)\)", readme)
    assert len(set(shown)) == 2
    for name in shown:
        content = (PROJECT_ROOT / name).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) < 150_000


def test_no_file_of_the_page_is_long() -> None:
    for path in FOLDER.glob("*.*"):
        assert len(path.read_text().splitlines()) <= 270, path.name
