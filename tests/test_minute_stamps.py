"""How the stamp of a minute becomes an instant: offsets, epochs, clocks put on and back."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from etl.base.errors import EtlError
from tests.minutes import Row, make_row, transform_rows, use_folder

Outcome = tuple[list[str], dict[str, str]]


def read(data_dir: Path, rows: Sequence[Row], **options: str) -> Outcome:
    """The clean stamps, and of each rejected one the reason."""
    settings = use_folder(data_dir, **options)
    with suppress(EtlError):  # no row is clean
        transform_rows(settings, rows)
    clean = pq.read_table(settings.clean_minutes_path)["timestamp"].to_pylist()
    rejected = pq.read_table(settings.rejected_minutes_path).to_pylist()
    return [f"{at:%Y-%m-%d %H:%M:%S}" for at in clean], {
        row["timestamp"]: row["reason"] for row in rejected
    }


ONE_INSTANT = (
    *("2013-02-28T14:30:00Z", "2013-02-28 14:30:00.000+00:00", "2013-02-28T09:30:00-05:00"),
    *("2013-02-28 09:30:00-0500", "2013-02-28T20:00+05:30", "2013-02-28T15:30+01"),
    *("1362061800", "1362061800.0", "1362061800000", "1362061800000000", "1362061800000000000"),
    *("2013-02-28 09:30", "2013-02-28T09:30:00", "2013/02/28 9:30:00.000", " 2013-02-28 09:30:00 "),
    *("20130228 093000", "20130228T093000", "20130228093000"),
)


def test_one_instant_is_read_however_it_is_written(data_dir: Path) -> None:
    rows = [make_row(stamp, symbol=f"S{n}") for n, stamp in enumerate(ONE_INSTANT)]
    assert read(data_dir, rows) == (["2013-02-28 14:30:00"] * len(rows), {})


CLOCKS = (
    ("AAPL", {}, "14:30:00"),  # New York
    ("VOD.L", {}, "09:30:00"),
    ("7203.T", {}, "00:30:00"),
    ("BTC-USD", {}, "09:30:00"),
    ("IBM", {"zone": "Europe/Berlin"}, "08:30:00"),
    ("^GSPC", {"zone": "America/Chicago"}, "15:30:00"),  # no exchange is known of it
    ("MSFT", {"stamp_is": "end"}, "14:29:00"),
    ("FB", {"stamp_is": "start"}, "14:30:00"),
)


def test_a_stamp_without_offset_is_of_its_zone_or_of_the_exchange(data_dir: Path) -> None:
    rows = [make_row("2013-02-28 09:30", symbol=name, **about) for name, about, _ in CLOCKS]
    settings = use_folder(data_dir)
    transform_rows(settings, rows)
    clean = pq.read_table(settings.clean_minutes_path).to_pylist()
    found = {row["symbol"]: f"{row['timestamp']:%H:%M:%S}" for row in clean}
    assert found == {symbol: wanted for symbol, _, wanted in CLOCKS}


REASONS = (
    ("soon", {}, "unreadable time"),
    ("2013-02-30 09:30", {}, "unreadable time"),
    ("2013-02-28 25:00", {}, "unreadable time"),
    ("2013-02-28 09:30 America/New_York", {}, "unreadable time"),
    ("2013-02-28 09:30 -05:00", {}, "unreadable time"),  # not taken for half past nine here
    ("infinity", {}, "unreadable time"),
    ("", {}, "unreadable time"),
    ("1/2/2013 09:30", {}, "ambiguous date"),
    ("2013-02-28", {}, "no time of day"),
    ("20130228", {}, "no time of day"),
    ("2013-02-28 09:30:07", {}, "off the interval"),
    ("2013-02-28T14:30:00.5Z", {}, "off the interval"),
    ("2113-02-28 09:30", {}, "future time"),
    ("1500-02-28 09:30", {}, "unreadable date"),
    ("2013-02-28 09:31", {"symbol": "^GSPC"}, "unknown time zone"),
    ("2013-02-28T09:31Z", {"symbol": "^GSPC"}, None),
    ("2013-03-10 02:30", {}, "time skipped by the clock"),
    ("2013-03-10 01:59", {}, None),
    ("2013-03-10 03:00", {}, None),
    ("2013-03-31 01:15", {"zone": "Europe/London"}, "time skipped by the clock"),
    ("2013-10-06 02:15", {"zone": "Australia/Lord_Howe"}, "time skipped by the clock"),
    ("2013-10-06 02:30", {"zone": "Australia/Lord_Howe"}, None),
    ("2013-11-03 01:30", {}, "time shown twice by the clock"),
    ("2013-11-03T01:30-05:00", {}, None),
    ("2013-11-03 02:00", {}, None),
    ("2013-04-07 02:30", {"symbol": "CBA.AX"}, "time shown twice by the clock"),
)


def test_a_stamp_that_is_no_start_of_a_bar_is_rejected_with_its_reason(data_dir: Path) -> None:
    rows = [make_row(stamp, **about) for stamp, about, _ in REASONS]
    clean, rejected = read(data_dir, rows)
    assert rejected == {stamp: reason for stamp, _, reason in REASONS if reason}
    assert len(clean) + len(rejected) == len(REASONS)


def test_bars_of_a_second_begin_at_a_second(data_dir: Path) -> None:
    stamps = ["2013-02-28 09:30:30", "2013-02-28 09:30:30.25"]
    rows = [make_row(stamp, interval="1s") for stamp in stamps]
    wanted = (["2013-02-28 14:30:30"], {stamps[1]: "off the interval"})
    assert read(data_dir, rows) == wanted


# In New York the clock showed 01:00 to 02:00 twice on 2013-11-03: first 05:00 to 06:00 UTC.
NIGHT = ["00:59", "01:00", "01:30", "01:59", "01:00", "01:59", "02:00"]
MEANT = ["04:59", "05:00", "05:30", "05:59", "06:00", "06:59", "07:00"]


@pytest.mark.parametrize("is_forward", [True, False])
def test_of_an_hour_shown_twice_the_order_of_the_rows_tells_which_is_meant(
    data_dir: Path, is_forward: bool
) -> None:
    shown = NIGHT if is_forward else NIGHT[::-1]
    rows = [make_row(f"2013-11-03 {at}:00", symbol="ESZ13") for at in shown]
    rows = [row | {"zone": "America/New_York"} for row in rows]
    assert read(data_dir, rows) == ([f"2013-11-03 {at}:00" for at in MEANT], {})


@pytest.mark.parametrize(
    "shown",
    [
        ["00:59", "01:00", "01:59", "02:00"],  # once: the first hour, or the second?
        ["01:00", "01:30", "01:00", "01:30", "01:00"],  # three times
    ],
)
def test_an_hour_shown_twice_that_no_order_tells_is_rejected_and_so_said(
    data_dir: Path, shown: list[str]
) -> None:
    rows = [make_row(f"2013-11-03 {at}", close=n + 1) for n, at in enumerate(shown)]
    clean, rejected = read(data_dir, rows)
    unclear = [f"2013-11-03 {at}" for at in shown if at.startswith("01")]
    assert rejected == dict.fromkeys(unclear, "time shown twice by the clock")
    assert len(clean) == len(shown) - len(unclear)


def test_answers_are_told_apart_where_an_hour_is_shown_twice(data_dir: Path) -> None:
    """Each of two answers shows the hour once: together their order would tell something wrong."""
    one, two = (f"2013-11-03 01:{minute}" for minute in ("10", "05"))
    rows = [make_row(one), make_row(two, source="alpaca")]
    assert read(data_dir, rows)[0] == []


def test_an_end_after_the_clock_was_put_on_is_the_end_of_the_minute_before(data_dir: Path) -> None:
    row = make_row("2013-03-10 03:00", stamp_is="end")
    assert read(data_dir, [row]) == (["2013-03-10 06:59:00"], {})


@pytest.mark.parametrize(
    ("bounds", "kept"),
    [
        ({"START_DATE": "2013-02-28"}, ["2013-02-28 09:00:00", "2013-03-01 14:30:00"]),
        ({"END_DATE": "2013-02-28"}, ["2013-02-27 23:00:00", "2013-02-28 09:00:00"]),
        ({"START_DATE": "2013-03-02"}, []),
    ],
)
def test_the_days_that_are_kept_are_days_of_the_exchange(
    data_dir: Path, bounds: dict[str, str], kept: list[str]
) -> None:
    stamps = ["2013-02-27T23:00:00Z", "2013-02-28T09:00:00Z", "2013-03-01T14:30:00Z"]
    assert read(data_dir, [make_row(stamp) for stamp in stamps], **bounds) == (kept, {})


def test_the_evening_before_belongs_to_the_session_that_it_begins(data_dir: Path) -> None:
    """Chicago's futures open at 17:00 of the day before."""
    stamps = ["2013-02-27T21:00:00Z", "2013-02-27T23:00:00Z", "2013-02-28T21:00:00Z"]
    rows = [make_row(stamp, symbol="ESH13") for stamp in stamps]
    kept = read(data_dir, rows, START_DATE="2013-02-28", END_DATE="2013-02-28")
    assert kept == (["2013-02-27 23:00:00", "2013-02-28 21:00:00"], {})
