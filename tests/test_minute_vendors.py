"""Minutes of the three vendors over a socket: asked by the month, archived, replayed, refused."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from etl.base.errors import Malformed, PremiumOnly, SourceError, UnknownSymbol
from etl.calls.fetch import Fetched
from etl.calls.vendor import DAILY, build_call, name_month
from etl.contracts.deliveries import Delivery
from etl.sources import Order
from etl.sources.alpha_vantage.minutes import tell_stamp
from etl.sources.paid import PaidSource, open_archive
from etl.sources.paid_minutes import PaidMinutes
from etl.sources.registry import find_vendors
from tests.extraction import KEY, read_everything, run_extract, settings_for
from tests.minute_answers import as_intraday, list_starts, tell_prices
from tests.minute_runs import Got, months_asked, naive, open_case, sort_rows
from tests.rest_vendors import KEY_ID, MASSIVE_KEY, SECRET, as_json, open_vendors
from tests.vendor import FakeClock, Vendor, build_answer, friday_evening, open_vendor

NOVEMBER, OCTOBER = date(2026, 11, 1), date(2026, 10, 1)
NAMES = ("alpha_vantage", "alpaca", "massive")


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with open_vendor(clock=FakeClock(friday_evening())) as found:
        yield found


@pytest.mark.parametrize("stamps", ["start", "end"])
def test_alpha_vantages_stamps_tell_whether_they_are_starts_or_ends(
    tmp_path: Path, vendor: Vendor, stamps: str
) -> None:
    vendor.stamps = stamps
    settings = settings_for(tmp_path, vendor, SYMBOLS="IBM", MINUTES_SINCE="2026-11-01")
    got = Got(settings, vendor.clock)
    assert {(bar["stamp_is"], bar["zone"]) for bar in got.bars} == {(stamps, "US/Eastern")}
    first, last = min(b["timestamp"] for b in got.bars), max(b["timestamp"] for b in got.bars)
    is_end = stamps == "end"
    assert first == ("2026-11-02 04:01:00" if is_end else "2026-11-02 04:00:00")
    assert last == ("2026-11-20 16:00:00" if is_end else "2026-11-20 15:59:00")
    assert [span["end"] for span in got.spans] == [naive(2026, 11, 20, 21)]


REGULAR = "Intraday (1min) open, high, low, close prices and volume"
OLD = "Intraday (1min) prices and volumes"


@pytest.mark.parametrize(
    ("times", "said", "stamp_is"),
    [
        (("04:00:00", "20:00:00"), REGULAR, "start"),
        (("04:01:00", "16:00:00", "20:00:00"), REGULAR, "end"),
        (("09:30:00", "15:59:00"), REGULAR, "start"),
        (("09:31:00", "16:00:00"), REGULAR, "end"),
        (("08:00:00", "16:00:00"), REGULAR, "start"),
        (("11:00:00", "11:01:00"), REGULAR, "start"),
        (("11:00:00", "11:01:00"), OLD, "end"),
    ],
)
def test_what_hours_say_of_a_stamp(times: tuple[str, ...], said: str, stamp_is: str) -> None:
    answer = {"Meta Data": {"1. Information": said}}
    assert tell_stamp(answer, [f"2026-11-20 {time}" for time in times]) == stamp_is


@pytest.mark.parametrize("name", NAMES)
def test_minutes_come_in_pages_with_their_spans_and_are_replayed_without_a_call(
    tmp_path: Path, vendor: Vendor, name: str
) -> None:
    clock = vendor.clock
    with open_vendors(minutes=("IBM",), page_size=40, newest=clock.now()) as peer:
        url = vendor.url if name == "alpha_vantage" else peer.url
        settings = open_case(name, tmp_path, url)
        got = Got(settings, clock)
        asked = len(peer.requests) + len(vendor.requests)
        assert asked == (2 if name == "alpha_vantage" else 5)
        replayed = Got(settings, clock, is_replay=True)
        assert len(peer.requests) + len(vendor.requests) == asked
    last = friday_evening() - timedelta(minutes=1)
    starts = list_starts(datetime(2026, 10, 1, 4, tzinfo=UTC), last)
    assert len(got.bars) == len(starts)
    bars = {(b["timestamp"], float(b["open"]), int(b["volume"])) for b in got.bars}
    if name != "alpha_vantage":
        expected = ((start, tell_prices(start)) for start in starts)
        assert bars == {(f"{at:%Y-%m-%dT%H:%M:%SZ}", p[0], p[4]) for at, p in expected}
    assert sorted((span["start"], span["end"]) for span in got.spans) == [
        (naive(2026, 10, 1, 4), naive(2026, 11, 1, 4)),
        (naive(2026, 11, 1, 4), naive(2026, 11, 20, 21)),
    ]
    assert sort_rows(replayed.bars) == sort_rows(got.bars)
    everything = read_everything(tmp_path)
    assert not [key for key in (KEY, KEY_ID, SECRET, MASSIVE_KEY) if key.encode() in everything]


@pytest.mark.parametrize("name", ["alpaca", "massive"])
def test_a_month_without_bars_says_nothing_of_trades_and_a_symbol_without_any_is_told(
    tmp_path: Path, name: str
) -> None:
    clock = FakeClock(friday_evening())
    with open_vendors(minutes=("IBM",), newest=clock.now()) as peer:
        got = Got(open_case(name, tmp_path, peer.url, SYMBOLS="NOPE,IBM"), clock)
    assert {label: type(error) for label, error in got.errors.items()} == {"NOPE": UnknownSymbol}
    assert {span["symbol"] for span in got.spans} == {"IBM"}


GOOD_BAR = {"t": "2026-11-20T15:30:00Z", "o": 1, "h": 2, "l": 1, "c": 2, "v": 5}
AGG = {**GOOD_BAR, "t": 1795188600000}
AGGS = {"ticker": "IBM", "status": "OK", "resultsCount": 1, "adjusted": False, "results": [AGG]}
CIRCLE = "https://elsewhere.example/v2/aggs/ticker/IBM/range/1/minute/1/2?cursor=1"
OTHER = {"Meta Data": {"2. Symbol": "IBM"}, "Time Series (5min)": {"2026-11-20 15:30:00": {}}}
WRONG: list[tuple[str, object, str]] = [
    ("alpha_vantage", OTHER, "without data"),
    ("alpha_vantage", {}, "without data"),
    ("alpaca", {"bars": {"MSFT": [GOOD_BAR]}, "next_page_token": None}, "the data of 'MSFT'"),
    ("alpaca", {"bars": {"IBM": [{"t": "2026-11-20T15:30:00Z"}]}}, "without data"),
    ("alpaca", {"bars": {"IBM": [GOOD_BAR]}, "next_page_token": "x"}, "lead on for ever"),
    ("massive", {**AGGS, "adjusted": True}, "adjusted prices"),
    ("massive", {**AGGS, "ticker": "GE"}, "the data of 'GE'"),
    (
        "massive",
        {**AGGS, "next_url": "https://x.example/v9/else?cursor=1"},
        "no page of this vendor",
    ),
    ("massive", {**AGGS, "next_url": CIRCLE}, "lead on for ever"),
]


@pytest.mark.parametrize(("name", "answer", "said"), WRONG)
def test_an_answer_that_is_not_what_was_asked_for_is_kept_and_gives_no_bar(
    tmp_path: Path, vendor: Vendor, name: str, answer: object, said: str
) -> None:
    vendor.scripts["IBM"] = as_json(answer).body
    with open_vendors(scripts={"IBM": [as_json(answer)]}) as peer:
        url = vendor.url if name == "alpha_vantage" else peer.url
        got = Got(open_case(name, tmp_path, url), vendor.clock)
    assert (got.bars, got.spans) == ([], [])
    [error] = got.errors.values()
    assert said in str(error)
    assert list((tmp_path / "archive").rglob("*malformed*")), "paid for, perhaps read one day"


@pytest.mark.parametrize("name", ["alpaca", "massive"])
def test_a_stamp_that_cannot_be_read_is_left_to_transform(tmp_path: Path, name: str) -> None:
    odd = {**GOOD_BAR, "t": "yesterday"}
    bars = {"IBM": [odd, GOOD_BAR]}
    answers = {
        "alpaca": {"bars": bars, "next_page_token": None},
        "massive": {**AGGS, "results": [odd, AGG]},
    }
    with open_vendors(scripts={"IBM": [as_json(answers[name])]}) as peer:
        settings = open_case(name, tmp_path, peer.url, MINUTES_SINCE="2026-11-01")
        got = Got(settings, FakeClock(friday_evening()))
    assert [bar["timestamp"] for bar in got.bars] == ["yesterday", "2026-11-20T15:30:00Z"]
    assert [span["end"] for span in got.spans] == [naive(2026, 11, 20, 15, 31)]


def test_another_month_than_was_asked_for_is_no_answer(tmp_path: Path, vendor: Vendor) -> None:
    settings = settings_for(tmp_path, vendor, SYMBOLS="IBM")
    [found] = find_vendors(settings)
    starts = list_starts(friday_evening() - timedelta(days=2), friday_evening())
    body = as_json(as_intraday("IBM", starts)).body
    assert found.read(build_call(found, "IBM", name_month(NOVEMBER)), 200, body).rows
    with pytest.raises(Malformed, match="not of 2026-10"):
        found.read(build_call(found, "IBM", name_month(OCTOBER)), 200, body)
    with pytest.raises(Malformed, match="MSFT: the vendor sent the data of IBM"):
        found.read(build_call(found, "MSFT", name_month(NOVEMBER)), 200, body)


AV_ERRORS: list[tuple[str, type[SourceError]]] = [
    ("Thank you! This is a premium endpoint.", PremiumOnly),
    ("Invalid API call. Please retry or visit the documentation.", UnknownSymbol),
]


@pytest.mark.parametrize(("said", "kind"), AV_ERRORS)
def test_a_refusal_of_minutes_costs_one_call_and_leaves_daily_bars_alone(
    tmp_path: Path, vendor: Vendor, said: str, kind: type[SourceError]
) -> None:
    settings = settings_for(tmp_path, vendor, SYMBOLS="IBM")
    vendor.scripts["IBM"] = as_json({"Information": said}).body
    got = Got(settings, vendor.clock)
    assert {label: type(error) for label, error in got.errors.items()} == {
        "IBM minutes of 2026-11": kind
    }
    assert len(vendor.requests) == 1
    vendor.scripts.clear()
    Got(settings, vendor.clock)
    assert len(vendor.requests) == 1, "it is not asked again"
    assert run_extract(settings, vendor.clock) is None
    assert Got(settings, vendor.clock, is_retry=True).bars


def test_a_torn_answer_is_set_aside_and_its_month_is_asked_for_again(
    tmp_path: Path, vendor: Vendor
) -> None:
    settings = settings_for(tmp_path, vendor, SYMBOLS="IBM")
    Got(settings, vendor.clock)
    path = next((tmp_path / "archive").rglob("*INTRADAY_202610*.gz"))
    path.write_bytes(path.read_bytes()[:100])
    got = Got(settings, vendor.clock)
    assert got.errors == {}
    assert months_asked(vendor)[2:] == [("IBM", "2026-10")]


def test_daily_runs_leave_archived_minutes_alone(tmp_path: Path, vendor: Vendor) -> None:
    settings = settings_for(tmp_path, vendor, SYMBOLS="IBM")
    Got(settings, vendor.clock)
    assert run_extract(settings, vendor.clock) is None
    days = pq.read_table(settings.raw_path)["timestamp"].to_pylist()
    assert set(map(len, days)) == {10}
    kinds = pq.read_table(settings.raw_actions_path)["kind"].to_pylist()
    assert kinds == ["answer"], "of the daily bars alone"
    assert run_extract(settings, vendor.clock, replay=True) is None
    assert pq.read_table(settings.raw_path)["timestamp"].to_pylist() == days


def test_what_a_run_of_days_left_over_is_archived_and_not_taken_for_minutes(
    tmp_path: Path, vendor: Vendor
) -> None:
    """Answers that a worker gave and nobody waits for any more come to whoever runs next."""
    settings = settings_for(tmp_path, vendor, SYMBOLS="IBM")
    [found] = find_vendors(settings)
    days, month = build_call(found, "IBM", DAILY), build_call(found, "IBM", name_month(NOVEMBER))
    source = PaidMinutes(settings, Order(clock=vendor.clock), found)
    body = as_json(build_answer("IBM", [date(2026, 11, 20)])).body
    assert source.keep(days, Fetched(vendor.clock.now(), 200, body)) == Delivery(days.label)
    starts = list_starts(friday_evening() - timedelta(days=1), friday_evening())
    minutes = as_json(as_intraday("IBM", starts)).body
    other = PaidSource(settings, Order(clock=vendor.clock), found)
    assert other.keep(month, Fetched(vendor.clock.now(), 200, minutes)) == Delivery(month.label)
    kept = open_archive(settings, found).latest
    assert set(kept) == {days.subject, month.subject}
