"""Minutes made out of daily bars: they hit the day exactly, and are the same everywhere."""

import hashlib
from dataclasses import astuple
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from etl.base.errors import InputError
from etl.settings import Settings, read_settings
from etl.sources.sample import SAMPLE_DIR, read_csv
from etl.sources.synthetic import Synthetic, list_starts
from etl.sources.synthetic.day import DailyBar, Minutes, draw, make_minutes

PRICES = ("open", "high", "low", "close")


def fetch(since: date | None = None, **options: str) -> pa.Table:
    settings = read_settings(Settings, {"SOURCE": "sample", **options}, {}, Path("no .env"))
    source = Synthetic(settings, settings.symbols or (), since)
    return pa.concat_tables([d.bars for d in source.fetch() if d.bars is not None])


def find_faults(bar: DailyBar, minutes: Minutes) -> list[str]:
    faults = {
        "open": minutes.open[0] == bar.open,
        "close": minutes.close[-1] == bar.close,
        "high": minutes.high.max() == bar.high,
        "low": minutes.low.min() == bar.low,
        "volume": minutes.volume.sum() == bar.volume,
        "a negative volume": (minutes.volume >= 0).all(),
        "a price above its high": (np.maximum(minutes.open, minutes.close) <= minutes.high).all(),
        "a price below its low": (np.minimum(minutes.open, minutes.close) >= minutes.low).all(),
        "not ascending": (np.diff(minutes.place) > 0).all(),
    }
    return [name for name, holds in faults.items() if not holds]


@pytest.mark.parametrize(
    "bar",
    [
        DailyBar(10_00, 12_50, 9_00, 11_11, 1_000_003, 2),
        DailyBar(10_00, 10_00, 10_00, 10_00, 5_000, 2),  # nothing moved
        DailyBar(9_00, 12_50, 9_00, 12_50, 77, 2),  # begins at the low, ends at the high
        DailyBar(12_50, 12_50, 9_00, 9_00, 3, 2),
        DailyBar(131_0625, 140_9375, 130_0001, 138_1250, 987_654_321_012, 4),
        DailyBar(1, 2, 1, 2, 0, 2),
        DailyBar(10_00, 12_50, 9_00, 11_11, 1, 2),
    ],
    ids=str,
)
@pytest.mark.parametrize("count", [1, 2, 3, 210, 390, 1440])
def test_the_minutes_of_a_day_hit_its_bar_exactly(bar: DailyBar, count: int) -> None:
    for day in ("2013-02-28", "2013-03-01", "2000-03-10"):
        assert find_faults(bar, make_minutes("AAPL", day, bar, count)) == []


@pytest.mark.parametrize(
    ("since", "count"),
    [("2012-10-01", 200), pytest.param("2000-03-01", 3_000, marks=pytest.mark.long)],
)
def test_every_day_of_the_sample_is_hit_exactly_in_prices_and_volume(
    since: str, count: int
) -> None:
    made = fetch(date.fromisoformat(since), SYMBOLS="AAPL,FB")
    frame = made.select(["symbol", "timestamp", *PRICES, "volume"]).to_pandas()
    frame["day"] = frame["timestamp"].str[:10]  # New York's day is UTC's while it trades
    for name in PRICES:
        frame[name] = (frame[name].astype(float) * 10_000).round().astype("int64")
    frame["volume"] = frame["volume"].astype("int64")
    assert (frame["high"] >= frame[["open", "close", "low"]].max(axis=1)).all()
    assert (frame["low"] <= frame[["open", "close"]].min(axis=1)).all()
    ways = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    days = frame.groupby(["symbol", "day"]).agg(ways)
    wanted = {
        (row["symbol"], row["timestamp"]): tuple(scale(row, name) for name in days.columns)
        for row in read_csv(SAMPLE_DIR / "bars.csv.gz")
        if row["symbol"] in ("AAPL", "FB") and str(row["timestamp"]) >= since
    }
    assert len(wanted) > count
    assert dict(zip(days.index, days.itertuples(index=False, name=None), strict=True)) == wanted


def scale(row: dict[str, Any], name: str) -> int:
    return int(row[name]) if name == "volume" else int(Decimal(row[name]) * 10_000)


def test_prices_between_the_daily_ones_are_whole_cents() -> None:
    bar = DailyBar(131_0625, 140_9375, 130_0001, 138_1250, 1_000_000, 4)
    made = make_minutes("X", "2000-03-01", bar, 390)
    odd = {int(p) for column in astuple(made)[1:5] for p in column if p % 100}
    assert odd <= {bar.open, bar.high, bar.low, bar.close}


def test_the_bytes_are_those_of_every_machine_and_version() -> None:
    """A change of these digests is a change of everybody's minutes: every one would be revised."""
    assert draw("AAPL|2013-02-28", 4).tolist() == DRAWN
    bar = DailyBar(10_00, 12_50, 9_00, 11_11, 1_000_003, 2)
    columns = astuple(make_minutes("AAPL", "2013-02-28", bar, 390))
    digest = hashlib.sha256(b"".join(c.astype("<i8").tobytes() for c in columns)).hexdigest()
    assert digest[:16] == DIGEST


DRAWN = [34037, 5667, 9227, 10222]
DIGEST = "33c9d5faa2bf7f10"


def test_symbols_and_days_have_different_minutes() -> None:
    bar = DailyBar(10_00, 12_50, 9_00, 11_11, 1_000_003, 2)
    names = [("AAPL", "2013-02-28"), ("AAPL", "2013-02-27"), ("IBM", "2013-02-28")]
    paths = {make_minutes(*name, bar, 390).close.tobytes() for name in names}
    assert len(paths) == len(names)


@pytest.mark.parametrize(
    ("day", "first", "last", "count"),
    [
        ("2012-11-21", "14:30", "20:59", 390),
        ("2012-11-23", "14:30", "17:59", 210),  # the day after Thanksgiving closes at 13:00
        ("2012-07-06", "13:30", "19:59", 390),  # daylight saving time
    ],
)
def test_a_session_has_the_minutes_between_its_open_and_its_close(
    day: str, first: str, last: str, count: int
) -> None:
    stamps = fetch(date(2012, 7, 1), SYMBOLS="IBM")["timestamp"].to_pylist()
    of_day = [stamp[11:16] for stamp in stamps if stamp.startswith(day)]
    assert (of_day[0], of_day[-1], len(of_day)) == (first, last, count)


def test_a_lunch_break_has_no_minute() -> None:
    from etl.market.sessions import list_sessions

    session = list_sessions("XTKS", date(2013, 2, 28)).to_pylist()[0]
    starts = [str(start)[11:16] for start in list_starts(session)]
    assert (len(starts), starts[149:151]) == (300, ["02:29", "03:30"])


def test_by_default_the_last_two_months_are_made_and_said_to_be_synthetic() -> None:
    made = fetch()
    assert made["timestamp"].to_pylist()[0] == "2013-02-01T14:30:00Z"
    assert set(made["source"].to_pylist()) == {"synthetic"}
    assert set(made["interval"].to_pylist()) == {"1m"}
    assert made.num_rows == 20 * 5 * 390


@pytest.mark.parametrize("since", ["2013-03-02", "2030-01-01"])
def test_a_day_after_the_sample_is_refused_with_the_last_that_it_has(since: str) -> None:
    settings = read_settings(Settings, {"SOURCE": "sample"}, {}, Path("no .env"))
    source = Synthetic(settings, ("AAPL", "IBM"), date.fromisoformat(since))
    with pytest.raises(InputError, match="the sample ends on 2013-03-01: set MINUTES_SINCE"):
        list(source.fetch())
