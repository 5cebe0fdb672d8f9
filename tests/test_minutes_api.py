"""/ohlcv of bars shorter than a day, over a store of DuckDB files and the daily sample."""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from shutil import copytree
from typing import Any

import httpx
import pytest

from api.models import BarsPage, ManyBarsPage
from tests.minute_data import Minutes, fill
from tests.server import check_answer, forbid_more, read_json, serve, walk_pages

AAPL = Minutes()
VOD = Minutes("VOD", "XLON", date(2013, 3, 27), date(2013, 4, 4), source="files")
SONY = Minutes("SONY", "XTKS", date(2013, 4, 1), date(2013, 4, 3), source="files")
COIN = Minutes("COIN", "24/7", date(2013, 3, 30), date(2013, 4, 1), source="files")
FREE = Minutes("FREE", "", date(2013, 4, 1), date(2013, 4, 3), source="files")
TICK = Minutes(
    *("TICK", "XNYS", date(2013, 3, 1), date(2013, 3, 1)),
    before=0,
    after=0,
    source="files",
    interval="1s",
)
URL = "/instruments/{}/ohlcv?interval={}"


@pytest.fixture(scope="module")
def client(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    data_dir = Path(copytree(sample_dir, tmp_path_factory.mktemp("minutes") / "data"))
    fill(data_dir, AAPL, VOD, SONY, COIN, FREE, TICK)
    with serve(data_dir) as client:
        yield client


def ask(client: httpx.Client, symbol: str, interval: str, **asked: Any) -> dict[str, Any]:
    answer: dict[str, Any] = read_json(
        client, str(httpx.URL(URL.format(symbol, interval)).copy_merge_params(asked))
    )
    return answer


def stamps(client: httpx.Client, symbol: str, interval: str, **asked: Any) -> list[str]:
    """The day and time of the bars, without year and seconds."""
    answer = ask(client, symbol, interval, **asked)
    return [bar["timestamp"][5:16] for bar in answer["data"]]


def test_a_bar_of_minutes_is_what_its_minutes_are(client: httpx.Client) -> None:
    minutes = ask(client, "AAPL", "1m", start="2013-02-28T09:30", end="2013-02-28T09:34")["data"]
    (bar, _) = ask(client, "AAPL", "5m", start="2013-02-28", limit=2)["data"]
    assert [each["timestamp"] for each in minutes][::4] == [
        *("2013-02-28T14:30:00Z", "2013-02-28T14:34:00Z")
    ]
    assert bar == {
        **{"timestamp": "2013-02-28T14:30:00Z", "open": minutes[0]["open"]},
        "high": max(each["high"] for each in minutes),
        "low": min(each["low"] for each in minutes),
        **{"close": minutes[-1]["close"], "volume": sum(each["volume"] for each in minutes)},
        "complete": True,
    }


def test_an_answer_says_hours_clock_and_whether_it_was_made(client: httpx.Client) -> None:
    answer = ask(client, "AAPL", "1h", limit=1)
    check_answer(answer, BarsPage)
    assert answer["hours"] == "regular"
    assert answer["timezone"] == "America/New_York"
    assert answer["synthetic"] is True
    assert ask(client, "VOD", "1h", limit=1)["synthetic"] is False
    assert ask(client, "FREE", "1h", limit=1)["timezone"] == "UTC"
    several = read_json(client, "/ohlcv?symbols=VOD,AAPL&interval=1h&start=2013-03-13&limit=9")
    forbid_more(ManyBarsPage).model_validate(several)
    assert (several["timezone"], several["synthetic"]) == ("Europe/London", False)  # of its rows
    several = read_json(client, "/ohlcv?symbols=VOD,AAPL&interval=1h&start=2013-03-15&limit=99")
    assert several["timezone"] == {"VOD": "Europe/London", "AAPL": "America/New_York"}
    assert several["synthetic"] is True


def test_buckets_begin_at_the_open_whatever_the_clock(client: httpx.Client) -> None:
    """New York goes to summer time on March 10th, London on the 31st."""
    hours = stamps(client, "AAPL", "1h", start="2013-03-08", end="2013-03-11")
    assert hours[:1] + hours[6:8] == ["03-08T14:30", "03-08T20:30", "03-11T13:30"]
    hours = stamps(client, "VOD", "1h", start="2013-03-28", end="2013-04-02")  # Easter
    assert [hours[0], hours[8], hours[9]] == ["03-28T08:00", "03-28T16:00", "04-02T07:00"]


def test_a_break_parts_the_buckets_of_a_session(client: httpx.Client) -> None:
    assert stamps(client, "SONY", "1h", start="2013-04-01", end="2013-04-01") == [
        f"04-01T{hour}" for hour in ("00:00", "01:00", "02:00", "03:30", "04:30", "05:30")
    ]


def test_hours_choose_what_is_traded_beside_the_session(client: httpx.Client) -> None:
    day = {"start": "2013-02-28", "end": "2013-02-28"}
    regular = ask(client, "AAPL", "30m", **day)["data"]
    extended = ask(client, "AAPL", "30m", hours="extended", **day)["data"]
    assert extended[1:-1] == regular
    assert [extended[0]["timestamp"][11:16], extended[-1]["timestamp"][11:16]] == ["14:00", "21:00"]
    assert len(ask(client, "COIN", "1h", start="2013-03-30", end="2013-03-30")["data"]) == 24
    assert stamps(client, "FREE", "1h", limit=1) == stamps(
        client, "FREE", "1h", hours="extended", limit=1
    )


def test_bounds_are_days_or_instants_of_the_exchange_or_exact_ones(client: httpx.Client) -> None:
    written = ("2013-02-28T10:00", "2013-02-28T15:00Z", "2013-02-28T16:00 01:00", "20130228T1000")
    for start in written:
        end = start.replace("10:00", "10:15").replace("1000", "1015").replace("15:00Z", "15:15Z")
        end = end.replace("16:00 ", "16:15 ")
        assert stamps(client, "AAPL", "15m", start=start, end=end) == ["02-28T15:00", "02-28T15:15"]
    assert stamps(client, "AAPL", "1h", start="2013-03-09", end="2013-03-10") == []  # a weekend
    assert len(stamps(client, "AAPL", "1h", start="2013-02", end="2013-02")) == 4 * 7


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("asked", ["interval=1h", "interval=15m&hours=extended"])
def test_pages_go_on_over_a_change_of_the_clock(
    client: httpx.Client, asked: str, order: str
) -> None:
    url = f"/instruments/AAPL/ohlcv?{asked}&start=2013-03-07&end=2013-03-12&order={order}"
    whole = read_json(client, url)["data"]
    pages = [page["data"] for page in walk_pages(client, f"{url}&limit=9")]
    assert [bar for page in pages for bar in page] == whole
    assert [len(page) for page in pages[:-1]] == [9] * (len(pages) - 1)


def test_pages_go_on_from_symbol_to_symbol(client: httpx.Client) -> None:
    url = "/ohlcv?symbols=VOD,AAPL,SONY&interval=1h&start=2013-03-13&end=2013-04-02"
    whole = read_json(client, url)["data"]
    for order, limit in (("asc", 10), ("desc", 7), ("asc", 27)):
        pages = [p["data"] for p in walk_pages(client, f"{url}&limit={limit}&order={order}")]
        found = [bar for page in pages for bar in page]
        assert sorted(found, key=str) == sorted(whole, key=str)
        assert [each["symbol"] for each in found] == [each["symbol"] for each in whole]


def test_seconds_are_served_where_they_are_stored_and_make_minutes(client: httpx.Client) -> None:
    seconds = ask(client, "TICK", "1s", start="2013-03-01T09:31", end="2013-03-01T09:31:59")
    (minute,) = ask(client, "TICK", "1m", start="2013-03-01T09:31", end="2013-03-01T09:31")["data"]
    assert len(seconds["data"]) == 60
    assert minute["volume"] == sum(bar["volume"] for bar in seconds["data"])
    assert minute["close"] == seconds["data"][-1]["close"]


REFUSED = [
    ("AAPL", "interval=1s", 422, "possible are 1m, 5m, 15m, 30m, 1h"),
    ("AAPL", "interval=1M", 422, "1mo a month"),
    ("AAPL", "interval=30M", 422, "minutes or months"),
    ("AAPL", "interval=2m", 422, "possible are 1s, 1m, 5m"),
    ("AAPL", "interval=5m&hours=all", 422, "regular or extended"),
    ("AAPL", "hours=extended", 422, "is of intraday intervals"),
    ("AAPL", "interval=5m&quality=strict", 422, "1d only, and with 1m and 1s"),
    ("TICK", "interval=1m&quality=strict", 422, "interval=1s"),
    ("AAPL", "interval=1m&quality=strict&as_of=2026-01-05", 422, "no history"),
    ("AAPL", "interval=5m&after=2013-02-28", 422, "take it from `next`"),
    ("AAPL", "interval=5m&after=2013-02-28T10:00", 422, "take it from `next`"),
    ("AAPL", "interval=5m&start=2013-03-10T02:30", 422, "does not exist on the clock"),
    ("AAPL", "interval=5m&start=2013-11-03T01:30", 422, "twice"),
    ("AAPL", "interval=5m&start=2013-03-08T10:00&end=2013-03-08T09:59", 422, "swap them"),
    ("AAPL", "interval=5m&start=2013-03-08T10:00&end=2013-03-08T14:00Z", 422, "swap them"),
    ("AAPL", "interval=5m&start=0001-01-01T00:00:00%2B10:00", 422, "no day in UTC"),
    ("AAPL", "interval=5m&start=2013-02-30T10:00", 422, "is no day"),
    ("AAPL", "interval=5m&limit=0", 422, "MAX_ROWS"),
    ("AAPL", "interval=5m&fields=open,vwap", 422, "'vwap'"),
    ("AAPL", "interval=1m&fields=complete", 422, "'complete'"),
    ("IBM", "interval=5m", 404, "no bars shorter than a day"),
    ("AAPPL", "interval=5m", 404, "did you mean AAPL"),
    ("ZZZZZZZ", "interval=5m", 404, "Unknown symbol"),
    ("VOD", "interval=1d", 404, "interval=1m"),
]


@pytest.mark.parametrize(("symbol", "query", "status", "said"), REFUSED)
def test_what_cannot_be_answered_is_one_clear_problem(
    client: httpx.Client, symbol: str, query: str, status: int, said: str
) -> None:
    answer = client.get(f"/instruments/{symbol}/ohlcv?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (
        *(status, "application/problem+json"),
    )
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    "after", ["AAPL", "AAPL:2013-02-28", "IBM:20130228T143000Z", "AAPL:20130299T143000Z", ":"]
)
def test_a_row_that_no_page_names_is_refused(client: httpx.Client, after: str) -> None:
    answer = client.get(f"/ohlcv?symbols=AAPL,VOD&interval=1h&after={after}")
    assert answer.status_code == 422
    assert "take it from `next`" in answer.json()["detail"]


def test_bounds_far_from_all_bars_leave_nothing_and_fail_nowhere(client: httpx.Client) -> None:
    for start, end in (
        *(("0001-01-01", "1800"), ("9999-12-31", None), (None, "0001-01-01")),
        *(("9999-12-31T23:59:59Z", None), (None, "0001-01-01T00:00Z"), ("2013-03-16", "2013-12")),
    ):
        asked = {name: each for name, each in (("start", start), ("end", end)) if each}
        assert stamps(client, "AAPL", "1h", **asked) == []
    assert len(stamps(client, "AAPL", "1h", start="0001-01-01", end="9999-12-31")) == 15 * 7


def test_there_being_no_minutes_at_all_is_said_with_the_remedy(sample_dir: Path) -> None:
    with serve(sample_dir) as client:
        for url in (URL.format("AAPL", "5m"), "/ohlcv?symbols=AAPL&interval=5m"):
            answer = client.get(url)
            assert answer.status_code == 404
            assert "make minutes" in answer.json()["detail"]


def test_minutes_without_a_daily_store_are_served_and_kept(tmp_path: Path) -> None:
    fill(tmp_path, AAPL)
    with serve(tmp_path) as client:
        url = URL.format("AAPL", "1h")
        first, second = (client.get(url) for _ in range(2))
        assert (first.status_code, second.headers["x-cache"]) == (200, "HIT")
        assert "x-data-generation" not in first.headers
        assert client.get(url, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
        assert client.get("/instruments/AAPL/ohlcv").status_code == 503


def test_minutes_are_told_to_the_second_of_their_own_start(client: httpx.Client) -> None:
    assert datetime.fromisoformat(
        ask(client, "TICK", "1s", start="2013-03-01T09:31:07", limit=1)["data"][0]["timestamp"]
    ) == datetime.fromisoformat("2013-03-01T14:31:07Z")
