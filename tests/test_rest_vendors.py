"""Alpaca and Massive over a socket: what is asked, read, archived, stored, and refused.

Their own SDKs read the same answers of the same server to the same bars.
"""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etl.base.errors import EtlError
from etl.calls.vendor import DAILY, DIVIDENDS, SPLITS, Call, build_call
from etl.settings import Settings, SettingsError, read_settings
from etl.sources import registry
from tests.conftest import query_store, read_record
from tests.extraction import finish_load, read_everything, read_raw, run_extract
from tests.rest_vendors import (
    KEY_ID,
    MASSIVE_KEY,
    SECRET,
    Bar,
    RestVendors,
    Script,
    as_json,
    open_vendors,
)
from tests.vendor import NEW_YORK as ZONE
from tests.vendor import FakeClock, friday_evening

# On both sides of the end of summer time.
DAYS = [date(2026, 10, 29), date(2026, 10, 30), date(2026, 11, 2), date(2026, 11, 20)]
BARS: list[Bar] = [(day, 10.1, 12.25, 9.5, 11.5 + n, 1000 + n) for n, day in enumerate(DAYS)]
SPLIT_DAYS = [(date(2026, 11, 2), 3, 2), (date(2026, 10, 30), 1, 8)]
PAID = [(date(2026, 11, 2), 0.25), (date(2026, 11, 2), 1.1), (date(2026, 10, 30), 0.24)]
NAMES = ("alpaca", "massive")
every_vendor = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def peer() -> Iterator[RestVendors]:
    with open_vendors(
        bars={"IBM": list(BARS)}, splits={"IBM": SPLIT_DAYS}, dividends={"IBM": PAID}
    ) as vendors:
        yield vendors


def settings_for(folder: Path, url: str, name: str, **given: Any) -> Settings:
    options = {
        "DATA_DIR": str(folder),
        "SOURCE": name,
        "SYMBOLS": "IBM",
        "ALPACA_KEY_ID": KEY_ID,
        "ALPACA_SECRET_KEY": SECRET,
        "ALPACA_BASE_URL": url,
        "MASSIVE_API_KEY": MASSIVE_KEY,
        "MASSIVE_BASE_URL": url,
        "HTTP_TIMEOUT": "5",
        **{key: str(value) for key, value in given.items()},
    }
    return read_settings(Settings, options, {}, folder / "no.env")


def find_failures(settings: Settings) -> dict[str, str]:
    failures: dict[str, str] = read_record(settings.data_dir)["stages"]["extract"]["failures"]
    return failures


@every_vendor
@pytest.mark.parametrize(
    "page_size", [*(pytest.param(n, marks=pytest.mark.long) for n in (10_000, 3)), 1]
)
def test_bars_splits_and_dividends_come_in_pages_into_the_store(
    tmp_path: Path, peer: RestVendors, name: str, page_size: int
) -> None:
    peer.page_size = page_size
    settings = settings_for(tmp_path, peer.url, name)
    clock = FakeClock(friday_evening())
    assert run_extract(settings, clock) is None
    asked = len(peer.requests)
    pages = [-(-count // page_size) for count in (len(BARS), len(SPLIT_DAYS), len(PAID))]
    assert asked == sum(pages)
    finish_load(settings)
    stored = query_store(
        settings.database_path,
        "SELECT timestamp::DATE, open, high, low, close, volume FROM ohlcv_data ORDER BY 1",
    )
    assert stored == BARS
    query = "SELECT ex_date, kind, coalesce(ratio, amount) FROM corporate_actions ORDER BY ALL"
    if page_size > 1:  # dividends of one day on several pages are not summed up
        assert query_store(settings.database_path, query) == [
            (date(2026, 10, 30), "dividend", 0.24),
            (date(2026, 10, 30), "split", 0.125),
            (date(2026, 11, 2), "dividend", 1.35),
            (date(2026, 11, 2), "split", 1.5),
        ]
    query = "SELECT source, basis FROM instruments"
    assert query_store(settings.database_path, query) == [(name, "raw")]
    assert run_extract(settings, clock) is None
    assert len(peer.requests) == asked, "all up to date"
    before = [{**row, "run_id": None} for row in read_raw(settings)]
    settings.raw_path.unlink()
    assert run_extract(settings, clock, replay=True) is None
    assert len(peer.requests) == asked
    assert [{**row, "run_id": None} for row in read_raw(settings)] == before
    everything = read_everything(tmp_path)
    assert not [key for key in (KEY_ID, SECRET, MASSIVE_KEY) if key.encode() in everything]


@every_vendor
def test_bars_are_asked_as_traded_and_later_only_from_before_the_last_one_on(
    tmp_path: Path, peer: RestVendors, name: str
) -> None:
    settings = settings_for(tmp_path, peer.url, name, CORPORATE_ACTIONS_DAYS=0)
    clock = FakeClock(friday_evening())
    assert run_extract(settings, clock) is None
    peer.bars["IBM"].append((date(2026, 11, 23), 11, 12, 10, 11.5, 7))
    clock.sleep(3 * 86_400)
    assert run_extract(settings, clock) is None
    first, second = ((path, query) for path, query, _ in peer.requests)
    if name == "alpaca":
        assert first[1]["adjustment"] == second[1]["adjustment"] == "raw"
        assert (first[1]["start"], second[1]["start"]) == ("1970-01-01", "2026-11-06")
    else:
        assert first[1]["adjusted"] == second[1]["adjusted"] == "false"
        assert "/1970-01-01/" in first[0]
        assert "/2026-11-06/" in second[0]
    days = {row["timestamp"] for row in read_raw(settings)}
    assert {"2026-10-29", "2026-11-23"} <= days, "the store had taken none of them"


@pytest.mark.filterwarnings("ignore:websockets.legacy is deprecated:DeprecationWarning")
@every_vendor
def test_the_vendors_own_sdk_reads_the_same_bars(
    tmp_path: Path, peer: RestVendors, name: str
) -> None:
    peer.page_size = 3
    settings = settings_for(tmp_path, peer.url, name)
    assert run_extract(settings, FakeClock(friday_evening())) is None
    ours = [
        (r["timestamp"], *(float(r[c]) for c in ("open", "high", "low", "close", "volume")))
        for r in read_raw(settings)
    ]
    theirs = list(read_by_alpaca(peer.url) if name == "alpaca" else read_by_massive(peer.url))
    assert ours == theirs
    assert len(ours) == len(BARS)


def read_by_alpaca(url: str) -> Iterator[tuple[Any, ...]]:
    pytest.importorskip("alpaca", reason="alpaca-py is not installed: make engines")
    from alpaca.data.historical import StockHistoricalDataClient
    from alpaca.data.requests import StockBarsRequest
    from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

    client = StockHistoricalDataClient(KEY_ID, SECRET, url_override=url)
    asked = StockBarsRequest(
        symbol_or_symbols="IBM",
        timeframe=TimeFrame(1, TimeFrameUnit.Day),
        start=datetime(2000, 1, 1, tzinfo=UTC),
    )
    for bar in client.get_stock_bars(asked)["IBM"]:
        day = bar.timestamp.astimezone(ZONE).date()
        yield str(day), bar.open, bar.high, bar.low, bar.close, bar.volume


def read_by_massive(url: str) -> Iterator[tuple[Any, ...]]:
    massive = pytest.importorskip("massive", reason="massive is not installed: make engines")
    client = massive.RESTClient(MASSIVE_KEY, base=url)
    for bar in client.list_aggs("IBM", 1, "day", "2000-01-01", "2099-12-31", adjusted=False):
        day = datetime.fromtimestamp(bar.timestamp / 1000, UTC).astimezone(ZONE).date()
        yield str(day), bar.open, bar.high, bar.low, bar.close, bar.volume


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (as_json({"message": "forbidden."}, 403), "invalid key"),
        (Script(b"", 401), "invalid key"),
        (as_json({"message": "too many requests."}, 429, Retry_After="7"), "throttled"),
        (as_json({"message": "request is not authorized"}, 500), "unavailable"),
        (Script(b"<html>down</html>", 502), "unavailable"),
        (Script(b"<html>hello</html>"), "unavailable"),
        (Script(b""), "unavailable"),
        (Script(b'{"bars":{"IBM":[{"t":"2026-1', 200), "malformed"),
        (Script(b'{"results":[{"t":17', 200), "malformed"),
        (Script(b"[]"), "malformed"),
        (Script(b"{}"), "malformed"),
        (as_json({"bars": {"IBM": [{"t": "2026-11-20T05:00:00Z"}]}}), "malformed"),
        (as_json({"bars": 7, "results": 7, "status": "OK"}), "malformed"),
        (as_json({"code": 40010001, "message": "invalid symbol: IBM!"}, 400), "unknown symbol"),
        (as_json({"status": "NOT_FOUND", "message": "Ticker not found."}, 404), "unknown symbol"),
        (as_json({"status": "ERROR", "error": "Unknown API Key"}), "invalid key"),
        (as_json({"status": "NOT_AUTHORIZED", "message": "Not entitled."}, 403), "premium only"),
        (as_json({"message": "subscription does not permit SIP data"}, 403), "premium only"),
        (as_json({"message": "You've exceeded the maximum requests per minute"}), "throttled"),
        (as_json({"message": "the limit of 100 requests per day"}, 429), "quota spent"),
        (Script(b"", 302, {"Location": "http://127.0.0.1:9/"}), "malformed"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.status}-{value.body[:24]!r}",
)
@every_vendor
def test_whatever_comes_in_place_of_data_is_a_typed_error_in_one_line(
    tmp_path: Path, peer: RestVendors, name: str, script: Script, kind: str
) -> None:
    peer.scripts["IBM"] = [script]
    settings = settings_for(tmp_path, peer.url, name)
    error = run_extract(settings, FakeClock(friday_evening()))
    assert isinstance(error, EtlError)
    [failure] = find_failures(settings).values()
    assert failure.startswith(f"{kind}: IBM: ")
    assert "\n" not in failure


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry_After": "7"}, 7), ({"X_RateLimit_Reset": "1795216809"}, 9), ({}, 1)],
    ids=["Retry-After", "X-RateLimit-Reset", "neither"],
)
@every_vendor
def test_a_vendor_that_is_asked_too_fast_is_asked_again_when_it_says(
    tmp_path: Path,
    peer: RestVendors,
    name: str,
    headers: dict[str, str],
    seconds: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = friday_evening()
    assert start.timestamp() == 1_795_215_600
    clock = FakeClock(start)
    monkeypatch.setattr("etl.calls.download.utc_now", clock.now)
    if "X_RateLimit_Reset" in headers:
        headers = {"X_RateLimit_Reset": str(1_795_215_600 + 9)}
    busy = as_json({"message": "too many requests."}, 429, **headers)
    good = peer.answer("/v2/stocks/bars", {"symbols": "IBM", "start": "1970-01-01"},
                       {"APCA-API-SECRET-KEY": SECRET})  # fmt: skip
    if name == "massive":
        path = "/v2/aggs/ticker/IBM/range/1/day/1970-01-01/2099-12-31"
        good = peer.answer(path, {"adjusted": "false"}, {"Authorization": f"Bearer {MASSIVE_KEY}"})
    peer.requests.clear()
    peer.scripts["IBM"] = [busy, good]
    given = {"CORPORATE_ACTIONS_DAYS": 0, f"{name.upper()}_CALLS_PER_MINUTE": 0}
    settings = settings_for(tmp_path, peer.url, name, **given)
    assert run_extract(settings, clock) is None
    assert len(peer.requests) == 2
    assert clock.now() - start == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("name", "calls", "seconds"), [("alpaca", 201, 60.0), ("massive", 6, 60.0)]
)
def test_a_free_keys_calls_a_minute_are_kept_to(
    tmp_path: Path, peer: RestVendors, name: str, calls: int, seconds: float
) -> None:
    symbols = [f"S{n}" for n in range(calls)]
    peer.bars = {symbol: list(BARS) for symbol in symbols}
    given = {"CORPORATE_ACTIONS_DAYS": 0, "SYMBOLS": ",".join(symbols)}
    clock = FakeClock(friday_evening())
    assert run_extract(settings_for(tmp_path, peer.url, name, **given), clock) is None
    assert len(peer.requests) == calls
    assert clock.monotonic() >= seconds


@every_vendor
def test_calls_a_day_end_a_run_where_a_plan_has_them(
    tmp_path: Path, peer: RestVendors, name: str
) -> None:
    peer.bars["AAPL"] = list(BARS)
    given = {"SYMBOLS": "IBM,AAPL", f"{name.upper()}_CALLS_PER_DAY": 1}
    settings = settings_for(tmp_path, peer.url, name, CORPORATE_ACTIONS_DAYS=0, **given)
    clock = FakeClock(friday_evening())
    assert run_extract(settings, clock) is None
    assert read_record(tmp_path)["stages"]["extract"]["not_asked"] == ["AAPL"]
    run_extract(settings, clock)
    assert len(peer.requests) == 1
    assert (tmp_path / f"calls.{name}.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "missing"),
    [("alpaca", "ALPACA_KEY_ID"), ("alpaca", "ALPACA_SECRET_KEY"), ("massive", "MASSIVE_API_KEY")],
)
def test_a_missing_key_is_named_with_where_to_get_one(
    tmp_path: Path, name: str, missing: str
) -> None:
    settings = settings_for(tmp_path, "http://127.0.0.1:9", name, **{missing: ""})
    with pytest.raises(SettingsError, match=f"{missing}.* free key .* https://") as caught:
        run_extract(settings, FakeClock(friday_evening()))
    assert "\n" not in str(caught.value)


def test_adjusted_prices_are_refused_where_prices_as_traded_were_asked(tmp_path: Path) -> None:
    vendor = registry.VENDORS["massive"](settings_for(tmp_path, "http://x", "massive"))
    bar = {"o": 1, "h": 1, "l": 1, "c": 1, "v": 1, "t": 1_795_150_800_000}
    body = {"ticker": "IBM", "status": "OK", "resultsCount": 1, "results": [bar]}
    call = build_call(vendor, "IBM", DAILY)
    read = vendor.read(call, 200, json.dumps({**body, "adjusted": False}).encode())
    assert str(read.last_bar) == "2026-11-20"
    with pytest.raises(EtlError, match="adjusted prices"):
        vendor.read(call, 200, json.dumps({**body, "adjusted": True}).encode())


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.example/steal?x=1",
        "http://evil.example/v2/other?cursor=1",
        "file:///etc/passwd",
        "http://[",
    ],
)
def test_a_next_page_elsewhere_is_not_followed(tmp_path: Path, url: str) -> None:
    vendor = registry.VENDORS["massive"](settings_for(tmp_path, "http://x", "massive"))
    bar = {"o": 1, "h": 1, "l": 1, "c": 1, "v": 1, "t": 1_795_150_800_000}
    body = {"ticker": "IBM", "status": "OK", "resultsCount": 1, "results": [bar], "next_url": url}
    with pytest.raises(EtlError, match="no page of this vendor"):
        vendor.read(build_call(vendor, "IBM", DAILY), 200, json.dumps(body).encode())


def test_a_key_that_a_next_page_repeats_goes_nowhere_and_to_no_other_host(tmp_path: Path) -> None:
    vendor = registry.VENDORS["massive"](settings_for(tmp_path, "http://ours", "massive"))
    bar = {"o": 1, "h": 1, "l": 1, "c": 1, "v": 1, "t": 1_795_150_800_000}
    url = f"https://elsewhere/v2/aggs/ticker/IBM/range/1/day/5/9?cursor=a%3Db&apiKey={MASSIVE_KEY}"
    body = {"ticker": "IBM", "status": "OK", "resultsCount": 1, "results": [bar], "next_url": url}
    reply = vendor.read(
        build_call(vendor, "IBM", DAILY), 200, vendor.redact(json.dumps(body).encode())
    )
    request = vendor.build_request(Call("IBM", DAILY, "", reply.next_page, 2))
    assert request.url == "http://ours/v2/aggs/ticker/IBM/range/1/day/5/9?cursor=a%3Db"


@every_vendor
def test_the_data_of_another_symbol_are_refused(
    tmp_path: Path, peer: RestVendors, name: str
) -> None:
    settings = settings_for(tmp_path, peer.url, name)
    vendor = registry.VENDORS[name](settings)
    key = {"APCA-API-SECRET-KEY": SECRET, "Authorization": f"Bearer {MASSIVE_KEY}"}
    for dataset in (DAILY, SPLITS, DIVIDENDS):
        request = vendor.build_request(build_call(vendor, "IBM", dataset))
        path = request.url.removeprefix(peer.url)
        body = peer.answer(path, dict(request.query), key).body
        assert vendor.read(build_call(vendor, "IBM", dataset), 200, body).rows
        with pytest.raises(EtlError, match=r"the vendor sent the data of 'IBM'"):
            vendor.read(build_call(vendor, "AAPL", dataset), 200, body)


@every_vendor
def test_a_bar_of_a_session_still_open_is_provisional(
    tmp_path: Path, peer: RestVendors, name: str
) -> None:
    settings = settings_for(tmp_path, peer.url, name, CORPORATE_ACTIONS_DAYS=0)
    noon = datetime(2026, 11, 20, 17, tzinfo=UTC)
    assert run_extract(settings, FakeClock(noon)) is None
    finish_load(settings)
    query = "SELECT timestamp::DATE FROM bar_notes WHERE reason = 'provisional'"
    assert query_store(settings.database_path, query) == [(date(2026, 11, 20),)]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-07-01T04:00:00Z", "2026-07-01"),
        ("2026-01-02T05:00:00+00:00", "2026-01-02"),
        ("2026-01-02T00:00:00-05:00", "2026-01-02"),
        ("2026-07-01T00:00:00Z", "2026-07-01"),
        ("2026-07-01T05:00:00Z", "2026-07-01T05:00:00+00:00"),
        ("2026-11-20T14:30:00Z", "2026-11-20T14:30:00+00:00"),
        ("yesterday", "yesterday"),
        ("unreadable", "unreadable"),  # as long as a day
        ("2026-02-30", "2026-02-30"),
    ],
)
def test_a_stamp_is_the_session_whose_midnight_it_is_or_stays(
    tmp_path: Path, written: str, read: str
) -> None:
    vendor = registry.VENDORS["alpaca"](settings_for(tmp_path, "http://x", "alpaca"))
    bar = {"o": 1, "h": 1, "l": 1, "c": 1, "v": 1, "t": written}
    body = json.dumps({"bars": {"IBM": [bar]}, "next_page_token": None}).encode()
    assert vendor.read(build_call(vendor, "IBM", DAILY), 200, body).rows[0]["timestamp"] == read
