"""Sessions and parts of minutes, and longer bars of them, against exchange_calendars and against
plain Python."""

import random
import warnings
from datetime import date, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from api.bars.intraday import AFTER, BEFORE, BREAK, FIRST, SECOND, find_places, resample_minutes
from api.bars.series import Series, join_series, take_slice
from api.bars.sessions import Sessions, find_span, read_sessions
from etl.contracts.minutes import SESSIONS
from etl.contracts.zones import ZONES
from etl.market.sessions import list_sessions


@cache
def read_exchange(exchange: str) -> Sessions:
    return read_sessions(exchange, list_sessions(exchange, date(1998, 1, 1)))


def build_minutes(stamps, volumes=None, **more) -> Series:
    """Bars whose prices tell them apart: each open is its place, high and low lie around."""
    count = len(stamps)
    places = np.arange(count, dtype=float)
    volume = np.ma.masked_array(np.arange(count) if volumes is None else volumes, False)
    prices = (places + 1, places + 2.5, places + 0.25, places + 1.5)
    timestamps = np.array(stamps, "datetime64[s]")
    return Series("A", "raw", timestamps, *prices, volume, interval="1m", **more)


def list_minutes(first: str, last: str) -> np.ndarray:
    return np.arange(np.datetime64(first, "s"), np.datetime64(last, "s"), np.timedelta64(60, "s"))


def show(series: Series) -> list[str]:
    return [text[5:16] for text in np.datetime_as_string(series.timestamps).tolist()]


# Days with both changes of the clocks, early closes, lunch breaks, a session from the eve on.
SPANS = {
    "XNYS": ("2024-03-06 2024-03-13", "2024-11-01 2024-11-06", "2024-11-27 2024-12-02"),
    "XLON": ("2023-03-23 2023-03-29", "2023-10-26 2023-11-01", "2023-12-21 2024-01-03"),
    "XTKS": ("2024-11-01 2024-11-07", "2010-05-06 2010-05-10"),
    "XHKG": ("2024-02-08 2024-02-15",),
    "CMES": ("2024-03-07 2024-03-13", "2024-11-27 2024-12-03"),
    "24/7": ("2024-02-27 2024-03-02",),
}


@cache
def ask_calendar(exchange: str, span: str) -> dict:
    """What exchange_calendars itself says of a span: each minute that is traded, its session, and
    where the periods of it begin."""
    import exchange_calendars

    def tell(stamps):
        return stamps.tz_localize(None).to_numpy("datetime64[s]")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses what pandas deprecates
        first, last = span.split()
        calendar = exchange_calendars.get_calendar(exchange, start="2010-01-01", end="2025-03-01")
        minutes = calendar.sessions_minutes(first, last)
        sessions = [calendar.minute_to_session(minute).date() for minute in minutes]
        names = {"5m": "5min", "15m": "15min", "30m": "30min", "1h": "1h"}
        begins = {
            name: tell(calendar.trading_index(first, last, period, closed="left", intervals=False))
            for name, period in names.items()
        }
    return {"minutes": tell(minutes), "sessions": sessions, **begins}


CASES = [(name, span) for name, spans in SPANS.items() for span in spans]


@pytest.mark.parametrize(("exchange", "span"), CASES)
def test_buckets_of_whole_sessions_begin_where_exchange_calendars_says(exchange, span):
    said = ask_calendar(exchange, span)
    series = build_minutes(said["minutes"])
    for interval in ("5m", "15m", "30m", "1h"):
        bars = resample_minutes(series, read_exchange(exchange), interval)
        assert bars.timestamps.tolist() == said[interval].tolist()
        assert bars.complete.all()
        assert bars.interval == interval


@pytest.mark.parametrize(("exchange", "span"), CASES)
def test_each_minute_of_a_session_has_that_session(exchange, span):
    said = ask_calendar(exchange, span)
    places = find_places(said["minutes"], read_exchange(exchange))
    assert places.days.tolist() == said["sessions"]
    assert places.is_regular.all()


@pytest.mark.long
@pytest.mark.parametrize("exchange", sorted(set(ZONES) - {"AIXK", "XSAU"}))  # known for few years
def test_weeks_of_every_exchange_are_as_exchange_calendars_says(exchange):
    known, chosen = read_exchange(exchange), random.Random(exchange)
    for _ in range(4):
        first = int(known.days.searchsorted(np.datetime64("2010-02-01"))) + chosen.randrange(3500)
        said = ask_calendar(exchange, f"{known.days[first]} {known.days[first + 6]}")
        series, places = build_minutes(said["minutes"]), find_places(said["minutes"], known)
        assert places.days.tolist() == said["sessions"]
        assert places.is_regular.all()
        for interval in ("5m", "15m", "30m", "1h"):
            bars = resample_minutes(series, known, interval)
            assert bars.timestamps.tolist() == said[interval].tolist()


def find_session(seconds: int, known: Sessions) -> tuple[date, int]:
    """Session and part of a bar as the rules have it, one bar at a time."""
    zone = ZoneInfo(ZONES[known.exchange])
    local = datetime.fromtimestamp(seconds, zone).date()
    rows = range(len(known))
    inside = [n for n in rows if known.opens[n] <= seconds < known.closes[n]]
    same = [n for n in rows if known.days[n].item() == local]
    near = min(rows, key=lambda n: measure_gap(known, n, seconds))
    row = (inside or same or [near])[0]
    if seconds < known.opens[row]:
        return known.days[row].item(), BEFORE
    if seconds >= known.closes[row]:
        return known.days[row].item(), AFTER
    if seconds < known.break_starts[row]:
        return known.days[row].item(), FIRST
    return known.days[row].item(), BREAK if seconds < known.break_ends[row] else SECOND


def measure_gap(known: Sessions, row: int, seconds: int) -> tuple[int, int]:
    """How far a bar is from a session; of two as near the later one is taken."""
    return max(known.opens[row] - seconds, seconds - known.closes[row], 0), -row


@cache
def cut_year(exchange: str, year: int) -> Sessions:
    table = list_sessions(exchange, date(year - 1, 12, 1)).slice(0, 300)
    return read_sessions(exchange, table)


@pytest.mark.parametrize("exchange", ["XNYS", "XLON", "XTKS", "XHKG", "CMES", "XASX", "24/5"])
def test_a_bar_at_any_hour_has_the_session_that_the_rules_give(exchange):
    known, chosen = cut_year(exchange, 2024), random.Random(exchange)
    first = int(known.opens[20])
    stamps = {first + 60 * chosen.randrange(500_000) for _ in range(150)}
    stamps |= {*known.edges[20:24].ravel().tolist(), *known.edges[60:64].ravel().tolist()}
    seconds = np.array(sorted(stamps))
    places = find_places(seconds.view("datetime64[s]"), known)
    parts = np.repeat(places.parts, places.counts).tolist()
    found = list(zip(places.days.tolist(), parts, strict=True))
    assert found == [find_session(each, known) for each in seconds.tolist()]


def sum_up_plainly(series: Series, sessions: Sessions, seconds: int, hours: str) -> list[tuple]:
    """Buckets in plain Python, from the places of the bars."""
    places = find_places(series.timestamps, sessions)
    runs = np.repeat(np.arange(len(places.counts)), places.counts).tolist()
    buckets: dict[tuple, list[int]] = {}
    for row, run in enumerate(runs):
        part, session = int(places.parts[run]), int(places.rows[run])
        if hours == "regular" and part not in (FIRST, SECOND):
            continue
        known = places.known
        anchor = [known.opens, known.opens, known.break_starts, known.break_ends, known.closes]
        at = int(series.timestamps[row].astype(int))
        start = int(anchor[part][session])
        number = (at - start) // seconds
        begin = max(start + number * seconds, int(known.begins[session]))
        buckets.setdefault((session, part, begin), []).append(row)
    o, h, lo, c = series.open, series.high, series.low, series.close
    return [
        (begin, o[r[0]], max(h[r]), min(lo[r]), c[r[-1]], int(sum(series.volume[r])))
        for (_, _, begin), r in buckets.items()
    ]


@pytest.mark.parametrize("exchange", ["XNYS", "XTKS", "CMES", "24/7", ""])
@pytest.mark.parametrize("interval", ["5m", "1h"])
@pytest.mark.parametrize("hours", ["regular", "extended"])
def test_random_bars_are_summed_up_as_in_plain_python(exchange, interval, hours):
    known = cut_year(exchange, 2024) if exchange else read_sessions("", SESSIONS.empty_table())
    chosen = random.Random(f"{exchange} {interval}")
    minutes = list_minutes("2024-10-30", "2024-11-12")
    stamps = sorted(chosen.sample(minutes.tolist(), 4000))
    series = build_minutes(stamps)
    bars = resample_minutes(series, known, interval, hours)
    columns = (bars.timestamps.astype(int), bars.open, bars.high, bars.low, bars.close, bars.volume)
    seconds = {"5m": 300, "1h": 3600}[interval]
    found = list(zip(*(column.tolist() for column in columns), strict=True))
    assert found == sum_up_plainly(series, known, seconds, hours)
    assert (np.diff(bars.timestamps.astype(int)) > 0).all()


@pytest.mark.parametrize("exchange", ["XNYS", "XTKS", "XHKG", "CMES"])
@pytest.mark.parametrize("interval", ["1m", "5m", "15m", "30m", "1h"])
def test_regular_bars_of_an_extended_answer_are_those_of_a_regular_one(exchange, interval):
    known = read_exchange(exchange)
    series = build_minutes(list_minutes("2024-11-27", "2024-12-04"))
    regular, extended = (
        resample_minutes(series, known, interval, hours) for hours in ("regular", "extended")
    )
    rows = np.isin(extended.timestamps, regular.timestamps)
    places = find_places(extended.timestamps, known)
    assert (np.repeat(places.is_regular, places.counts) == rows).all()
    for name in ("timestamps", "open", "high", "low", "close", "complete", "sessions"):
        assert (getattr(extended, name)[rows] == getattr(regular, name)).all()


def test_a_lunch_break_parts_the_buckets_of_tokyo_and_hong_kong():
    tokyo = build_minutes(list_minutes("2024-03-01T00:00", "2024-03-01T06:00"))  # 9:00 to 15:00
    bars = resample_minutes(tokyo, read_exchange("XTKS"), "1h")
    local = [(stamp + timedelta(hours=9)).time() for stamp in bars.timestamps.tolist()]
    assert local == [time(9), time(10), time(11), time(12, 30), time(13, 30), time(14, 30)]
    assert bars.volume.tolist()[2] == sum(range(120, 150))  # half an hour before the break
    extended = resample_minutes(tokyo, read_exchange("XTKS"), "1h", "extended")
    assert show(extended)[3] == "03-01T02:30"  # of the break itself


def test_a_bar_at_the_close_or_at_the_start_of_a_break_is_not_of_what_ends_there():
    stamps = ["2024-03-01T02:29", "2024-03-01T02:30", "2024-03-01T03:29", "2024-03-01T03:30"]
    places = find_places(
        np.array([*stamps, "2024-03-01T05:59", "2024-03-01T06:00"], "datetime64[s]"),
        read_exchange("XTKS"),
    )
    parts = np.repeat(places.parts, places.counts).tolist()
    assert parts == [FIRST, BREAK, BREAK, SECOND, SECOND, AFTER]


@pytest.mark.parametrize("exchange", ["XNYS", "XTKS", "CMES", "24/7", ""])
@pytest.mark.parametrize("hours", ["regular", "extended"])
def test_sessions_one_after_the_other_make_up_the_whole(exchange, hours):
    known = read_exchange(exchange) if exchange else read_sessions("", SESSIONS.empty_table())
    series = build_minutes(list_minutes("2024-10-30", "2024-11-12")[::3])
    until = np.datetime64("2024-11-12", "s")
    whole = resample_minutes(series, known, "1h", hours, 60, until)
    days = [date(2024, 10, 1) + timedelta(days=n) for n in range(60)]
    starts = [find_span(known, day, None)[0] for day in days]
    edges = series.timestamps.searchsorted(np.array(starts)).tolist()
    parts = [
        resample_minutes(take_slice(series, slice(*pair)), known, "1h", hours, 60, until)
        for pair in pairwise(edges)
    ]
    joined = join_series(parts)
    for name in ("timestamps", "open", "high", "low", "close", "volume", "complete", "sessions"):
        assert getattr(joined, name).tolist() == getattr(whole, name).tolist(), name
