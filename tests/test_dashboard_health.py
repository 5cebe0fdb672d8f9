"""What the page says of the store and of the ETL's runs, and that it notices what is new."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browser import Visit, find_browser, launch, visit
from tests.server import serve
from tests.test_dashboard import check_clean
from tests.test_quality_api import WEEK, load_bars
from tests.test_runs_api import fail_run, write_record

pytestmark = pytest.mark.skipif(
    not find_browser(), reason="no Chromium here: apt-get install chromium"
)

POLL = "/etl/runs?limit=1"
LONG = 61_000  # milliseconds, more than lie between two questions


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with launch() as browser:
        yield browser


@pytest.fixture
def client(data_dir: Path) -> Iterator[httpx.Client]:
    load_bars(data_dir, [("IBM", day, 5.0) for day in WEEK[:2]])
    with serve(data_dir) as client:
        yield client


def open_with_clock(seen: Visit, address: str) -> list[int]:
    """Open a page whose clock the test moves on; the states of the answers to its polls."""
    states: list[int] = []
    seen.page.on("response", lambda got: states.append(got.status) if POLL in got.url else None)
    seen.page.clock.install()
    with seen.page.expect_response(lambda got: POLL in got.url):
        seen.open(address)
    return states


def wait_for_poll(seen: Visit) -> None:
    with seen.page.expect_response(lambda got: POLL in got.url):
        seen.page.clock.fast_forward(LONG)


def test_a_page_left_open_shows_new_bars_and_asks_only_for_changes(
    browser, client: httpx.Client, data_dir: Path
) -> None:
    with visit(browser, client.base_url) as seen:
        states = open_with_clock(seen, "/?symbol=IBM&range=All")
        wait_for_poll(seen)
        wait_for_poll(seen)
        assert states == [200, 304, 304]
        load_bars(data_dir, [("IBM", WEEK[2], 6.0)])
        wait_for_poll(seen)
        seen.page.locator("#legend", has_text=WEEK[2]).wait_for()
        seen.page.locator("#store", has_text=f"bars to {WEEK[2]}").wait_for()
        check_clean(seen)


@pytest.mark.long
def test_a_page_that_is_not_seen_asks_nothing_and_at_once_when_it_is(
    browser, client: httpx.Client
) -> None:
    show = """(state) => {
      Object.defineProperty(document, "visibilityState", { get: () => state, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with visit(browser, client.base_url) as seen:
        states = open_with_clock(seen, "/?symbol=IBM")
        seen.page.evaluate(show, "hidden")
        seen.page.clock.fast_forward(10 * LONG)
        seen.settle()
        assert states == [200]
        with seen.page.expect_response(lambda got: POLL in got.url):
            seen.page.evaluate(show, "visible")
        assert states == [200, 304]


def test_a_failed_run_is_told_of_in_the_top_line_and_listed(
    browser, client: httpx.Client, data_dir: Path
) -> None:
    with visit(browser, client.base_url) as seen:
        open_with_clock(seen, "/?symbol=IBM&tab=health")
        assert seen.read("#store").startswith("stale · bars to 2020-01-07")
        assert seen.page.locator("#store .dot.ok").count() == 0
        failed = fail_run(data_dir)
        wait_for_poll(seen)
        seen.page.locator("#store", has_text="last run failed").wait_for()
        assert seen.page.locator("#store .dot.error").count() == 1
        seen.page.locator(".runs .badge.failed").wait_for()
        seen.page.locator(".cards .error", has_text="last run failed").wait_for()
        seen.page.locator("#run-part", has_text=failed).wait_for()
        assert "nowhere.csv does not exist" in seen.read("#run-part")
        check_clean(seen)


@pytest.mark.long
def test_symbols_that_did_not_come_stand_in_a_table_with_the_reason(
    browser, client: httpx.Client, data_dir: Path
) -> None:
    ended = {"status": "ok", "finished_at": "2020-01-01T00:00:09.000Z", "source": "files"}
    earlier = {"NONE": "unknown symbol: first", "<b>X": "refused: premium", "IBM": "unavailable"}
    later = {"NONE": "unknown symbol: again", "IBM SPLITS": "refused: premium"}
    waiting = {"not_asked": ["LATE"], "not_asked_why": "the day's calls are spent"}
    for second, told in enumerate(({"failures": earlier}, {"failures": later, **waiting})):
        write_record(data_dir, f"20990101T00000{second}Z-00000a", extract={**ended, **told})
    with visit(browser, client.base_url) as seen:
        seen.open("/?tab=health")
        rows = seen.page.locator(".missing tbody tr").all()
        cells = [row.locator("th, td").all_inner_texts() for row in rows]
        assert [(row[0], row[1], row[3]) for row in cells] == [
            ("NONE", "no bar", "unknown symbol: again"),
            ("IBM SPLITS", "bars to 2020-01-07", "refused: premium"),
            ("LATE", "no bar", "not asked: the day's calls are spent"),
            ("<b>X", "no bar", "refused: premium"),
        ]
        assert seen.read("#store").startswith("2 failed in the last run")
        states = seen.page.locator(".runs .badge").all_inner_texts()
        assert states == ["ok, 2 failed", "ok, 3 failed", "ok"]
        check_clean(seen)


@pytest.mark.long
def test_only_a_store_that_is_whole_and_new_is_green(browser, client: httpx.Client) -> None:
    def describe(**changes: Any) -> dict[str, Any]:
        good = {"run_id": "r", "status": "ok", "failed": 0}
        health = {"status": "ok", "last": "2024-01-05", "newest_bar_age_days": 4, "last_run": good}
        return {**health, **changes}

    cases = [
        (describe(), "ok"),
        (describe(last_run=None), "ok"),
        (describe(newest_bar_age_days=6), "warning"),
        (describe(newest_bar_age_days=6, last_run={"status": "ok", "source": "sample"}), "warning"),
        (describe(status="degraded"), "warning"),
        (describe(last_run={"status": "ok", "failed": 3}), "warning"),
        (describe(last_run={"status": "failed", "failed": 0}), "error"),
        (describe(status="degraded", last_run={"status": "failed"}), "error"),
        (describe(last_run={"status": "running", "failed": 0}), "running"),
        (describe(last=None, newest_bar_age_days=None), "ok"),
    ]
    with visit(browser, client.base_url) as seen:
        seen.open("/?symbol=IBM")
        levels = seen.page.evaluate(
            """async (cases) => {
              const { describeCondition } = await import("./dashboard/condition.js");
              return cases.map((health) => describeCondition(health).level);
            }""",
            [health for health, _ in cases],
        )
    assert levels == [level for _, level in cases]


@pytest.mark.long
def test_the_page_says_since_when_splits_and_dividends_are_known(browser, sample_dir: Path) -> None:
    day, told = "2026-11-20T21:05:00Z", "as of 2026-11-20 21:05 UTC"
    ask = """async ([adjustment, basis, splits_known_at, dividends_known_at]) => {
      const { describeInstrument } = await import("./dashboard/legend.js");
      const { showActionsKnown } = await import("./dashboard/panels.js");
      const dates = { splits_known_at, dividends_known_at };
      const instrument = { basis, source: "x", exchange: null, ...dates };
      showActionsKnown(instrument);
      const known = document.getElementById("actions-of").textContent;
      return [describeInstrument(instrument, adjustment), known];
    }"""
    never, later = "Splits and dividends never asked for.", "dividends never asked for."
    full = "split- and dividend-adjusted"
    cases = [
        (["raw", "raw", None, None], "as traded", never),
        (
            ["split", "raw", day, None],
            "split-adjusted",
            f"Splits {told}; {later}",
        ),
        (
            ["split", "raw", None, day],
            "split-adjusted, but splits were never asked for",
            f"Splits never asked for; dividends {told}.",
        ),
        (["split", "split", None, None], "split-adjusted", never),
        (
            ["all", "raw", None, None],
            f"{full}, but splits and dividends were never asked for",
            never,
        ),
        (["all", "raw", day, day], full, f"Splits and dividends {told}."),
    ]
    with serve(sample_dir) as client, visit(browser, client.base_url) as seen:
        seen.open("/?symbol=AAPL&adjustment=all")
        assert "but dividends were never asked for" in seen.read("#quote")
        assert seen.read("#actions-of").startswith("Splits as of ")
        for case, adjusted, known in cases:
            found = seen.page.evaluate(ask, case)
            assert found == [f"calendar not known · x · {adjusted}", known]


def test_without_a_store_the_page_tells_of_the_failed_run_and_finds_the_store(
    browser, data_dir: Path
) -> None:
    failed = fail_run(data_dir)
    with serve(data_dir) as client, visit(browser, client.base_url) as seen:
        seen.open("/?tab=health")
        seen.page.locator(".runs .badge.failed").wait_for()
        assert failed in seen.read("#run-part")
        assert json.loads(client.get("/etl/runs").text)["count"] == 1
    with serve(data_dir) as client, visit(browser, client.base_url) as seen:
        seen.page.clock.install()
        seen.open("/?symbol=IBM")
        assert "There is no database yet" in seen.read("#overlay")
        load_bars(data_dir, [("IBM", WEEK[0], 5.0)])
        seen.page.clock.fast_forward(LONG)
        seen.page.locator("#legend", has_text=WEEK[0]).wait_for()
