"""The page with bars shorter than a day: times of the exchange's clock, and bars as they come."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from etl.contracts.minutes import MinuteStore
from etl.contracts.minutes.engines import Place, open_place
from tests.browser import Visit, find_browser, launch, visit
from tests.conftest import call_etl
from tests.minute_stores import at, bar, told
from tests.server import serve
from tests.test_stream_out import publish

pytestmark = pytest.mark.skipif(
    not find_browser(), reason="no Chromium here: apt-get install chromium"
)


@pytest.fixture(scope="module")
def store_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("minutes")


@pytest.fixture(scope="module")
def store(store_dir: Path) -> Iterator[MinuteStore]:
    call_etl(store_dir)
    store = open_place(Place(store_dir))
    # two sessions, before and after the clocks of New York go forward on 2024-03-10
    bars = [bar("IBM", at(n, days), 100 + n / 10) for days in (1, 4) for n in range(0, 60)]
    publish(store, *[{**each, "source": "synthetic"} for each in bars])
    yield store
    store.close()


@pytest.fixture(scope="module")
def client(store_dir: Path, store: MinuteStore) -> Iterator[httpx.Client]:
    with serve(store_dir) as client:
        yield client


@pytest.fixture
def seen(client: httpx.Client) -> Iterator[Visit]:
    with launch() as browser, visit(browser, client.base_url) as seen:
        yield seen
    assert seen.faults == []


def test_minutes_are_drawn_with_the_exchanges_time(seen: Visit) -> None:
    seen.open("/?symbol=IBM&interval=5m&range=5D")
    assert "2024-03-11 11:25" in seen.read("#legend")  # 15:25 UTC, an hour later than on the 8th
    quote = seen.read("#quote")
    assert "synthetic" in quote
    assert "times of America/New_York" in quote
    assert "2024-03-08 09:30 – 2024-03-11 11:25" in seen.read("#statistics-of")
    seen.page.get_by_label("15m", exact=True).check()
    seen.wait_for_url("interval=15m")
    seen.settle()
    assert "2024-03-11 11:15" in seen.read("#legend")


def test_the_last_candle_moves_with_what_is_published(seen: Visit, store: MinuteStore) -> None:
    seen.open("/?symbol=IBM&interval=1m&range=1D")
    seen.page.locator("#live[data-condition=live]").wait_for()
    before = seen.read("#legend")
    publish(store, {**bar("IBM", at(60, 4), 123.25), "source": "synthetic"})
    seen.page.locator("#legend", has_text="123.25").wait_for()
    assert seen.read("#legend") != before
    publish(store, {**bar("IBM", at(60, 4), 124.5, told(500)), "source": "synthetic"})
    seen.page.locator("#quote", has_text="124.50").wait_for()


def test_a_symbol_without_minutes_offers_none(sample_dir: Path) -> None:
    with serve(sample_dir) as client, launch() as browser, visit(browser, client.base_url) as seen:
        seen.open("/?symbol=AAPL")
        assert seen.page.get_by_label("5m", exact=True).is_disabled()
        assert seen.page.get_by_label("1wk", exact=True).is_enabled()
        assert seen.read("#live") == ""
    assert seen.faults == []
