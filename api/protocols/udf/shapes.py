"""TradingView's UDF: what a chart asks for, in the shapes of that protocol. Pure functions.

https://www.tradingview.com/charting-library-docs/latest/connecting_data/UDF/

Times are seconds since 1970, UTC: of a daily bar midnight of its session, of a longer one that of
its first session. Prices are adjusted for splits: on raw ones a split looks like a crash.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from api.bars.series import PRICES, Days, Dividend, Series, Split, take_slice

Times = npt.NDArray[np.int64]
Row = dict[str, Any]

ADJUSTMENT = "split"
# What a chart may call it → interval.
RESOLUTIONS = {
    **{"1D": "1d", "1W": "1wk", "1M": "1mo", "3M": "3mo", "12M": "1y"},
    **{"D": "1d", "W": "1wk", "M": "1mo"},
}
SUPPORTED = ["1D", "1W", "1M", "3M", "12M"]
KINDS = {
    **{"": "All types", "stock": "Stocks", "index": "Indices", "crypto": "Crypto"},
    **{"forex": "Currencies", "futures": "Futures"},
}

# Exchange → time zone and hours on its own clock, Monday to Friday unless days follow (1: Sunday).
# Zones are of those that the library knows; where it lacks a city's, one with the same clock.
VENUES = {
    "XNYS": ("America/New_York", "0930-1600"),
    "CMES": ("America/Chicago", "1700-1600"),
    "XTSE": ("America/Toronto", "0930-1600"),
    "XMEX": ("America/Mexico_City", "0830-1500"),
    "BVMF": ("America/Sao_Paulo", "1000-1800"),
    "XBUE": ("America/Argentina/Buenos_Aires", "1100-1700"),
    "XSGO": ("America/Santiago", "0930-1600"),
    "XLON": ("Europe/London", "0800-1630"),
    "XDUB": ("Europe/London", "0800-1628"),
    "XLIS": ("Europe/Lisbon", "0800-1630"),
    **dict.fromkeys(("XPAR", "XAMS", "XBRU"), ("Europe/Paris", "0900-1730")),
    **dict.fromkeys(("XETR", "XFRA", "XWBO"), ("Europe/Berlin", "0900-1730")),
    "XMIL": ("Europe/Rome", "0900-1730"),
    "XMAD": ("Europe/Madrid", "0900-1730"),
    "XSWX": ("Europe/Zurich", "0900-1730"),
    "XSTO": ("Europe/Stockholm", "0900-1730"),
    "XCSE": ("Europe/Copenhagen", "0900-1700"),
    "XOSL": ("Europe/Oslo", "0900-1620"),
    "XHEL": ("Europe/Helsinki", "1000-1830"),
    "XWAR": ("Europe/Warsaw", "0900-1700"),
    "XIST": ("Europe/Istanbul", "1000-1800"),
    "XMOS": ("Europe/Moscow", "1000-1845"),
    "XJSE": ("Africa/Johannesburg", "0900-1700"),
    "XSAU": ("Asia/Riyadh", "1000-1500:12345"),
    "XBOM": ("Asia/Kolkata", "0915-1530"),
    "XBKK": ("Asia/Bangkok", "1000-1630"),
    "XIDX": ("Asia/Jakarta", "0900-1550"),
    **dict.fromkeys(("XSES", "XKLS"), ("Asia/Singapore", "0900-1700")),
    "XSHG": ("Asia/Shanghai", "0930-1500"),
    "XHKG": ("Asia/Hong_Kong", "0930-1600"),
    "XTAI": ("Asia/Taipei", "0900-1330"),
    "XKRX": ("Asia/Seoul", "0900-1530"),
    "XTKS": ("Asia/Tokyo", "0900-1530"),
    "XASX": ("Australia/Sydney", "1000-1600"),
    "XNZE": ("Pacific/Auckland", "1000-1645"),
    "24/5": ("Etc/UTC", "0000-0000"),
}
ELSEWHERE = ("Etc/UTC", "24x7")
# What people write in front of a symbol for the calendar that it has here.
OTHER_NAMES = {
    **dict.fromkeys(("NYSE", "NASDAQ", "AMEX", "ARCA", "BATS"), "XNYS"),
    **{"LSE": "XLON", "TSX": "XTSE", "XETRA": "XETR", "TSE": "XTKS", "HKEX": "XHKG"},
    **{"CRYPTO": "24/7", "FX": "24/5"},
}

LEAST_DECIMALS, MOST_DECIMALS = 2, 8
PRECISION = 1e-7  # of a price: beyond it lies what single floats left behind
MARKS_A_BAR = 10  # more the library does not draw
NOTE_COLOR, PROVISIONAL_COLOR = "red", "yellow"
SPLIT_COLOR, DIVIDEND_COLOR = "#2962ff", "#089981"


def build_config(exchanges: Iterable[str]) -> Row:
    listed = [{"value": name, "name": name, "desc": name} for name in exchanges]
    return {
        "supported_resolutions": SUPPORTED,
        "supports_search": True,
        "supports_group_request": False,
        "supports_marks": True,
        "supports_timescale_marks": True,
        "supports_time": True,
        "exchanges": [{"value": "", "name": "All exchanges", "desc": ""}, *listed],
        "symbols_types": [{"name": name, "value": kind} for kind, name in KINDS.items()],
    }


def split_symbol(text: str) -> tuple[str, str]:
    """Exchange and symbol of `xnys:aapl`, as charts write it; `aapl` alone names no exchange."""
    exchange, colon, symbol = text.strip().upper().partition(":")
    return (OTHER_NAMES.get(exchange, exchange), symbol) if colon else ("", exchange)


def build_symbol(listing: Row, series: Series) -> Row:
    """What the chart has to know of a symbol; `series` is all its bars as stored."""
    symbol, exchange = listing["symbol"], listing["exchange"] or ""
    timezone, session = VENUES.get(exchange, ELSEWHERE)
    return {
        "name": symbol,
        "ticker": symbol,
        "full_name": f"{exchange}:{symbol}" if exchange else symbol,
        "description": symbol,
        "type": listing["kind"],
        "exchange": exchange,
        "listed_exchange": exchange,
        "timezone": timezone,
        "session": session,
        "format": "price",
        "pricescale": 10 ** count_decimals(series),
        "minmov": 1,
        "has_intraday": False,
        "has_daily": True,
        "has_weekly_and_monthly": True,
        "monthly_multipliers": ["1", "3", "12"],
        "supported_resolutions": SUPPORTED,
        "visible_plots_set": "ohlcv" if has_volume(series) else "ohlc",
        "volume_precision": series.volume_decimals,
        "data_status": "endofday",
    }


def build_result(listing: Row) -> Row:
    """One line of a symbol search."""
    symbol, exchange = listing["symbol"], listing["exchange"] or ""
    return {
        "symbol": symbol,
        "ticker": symbol,
        "full_name": f"{exchange}:{symbol}" if exchange else symbol,
        "description": symbol,
        "exchange": exchange,
        "type": listing["kind"],
    }


def count_decimals(series: Series) -> int:
    """The fewest decimals, from 2 to 8, that show every price as it is stored."""
    prices = np.concatenate([getattr(series, name) for name in PRICES])
    for decimals in range(LEAST_DECIMALS, MOST_DECIMALS):
        if (np.abs(np.round(prices, decimals) - prices) <= PRECISION * np.abs(prices)).all():
            return decimals
    return MOST_DECIMALS


def has_volume(series: Series) -> bool:
    return not bool(np.ma.getmaskarray(series.volume).all())


def list_times(series: Series) -> Times:
    return series.timestamps.astype("datetime64[s]").astype(np.int64)


def find_day(bars: Series, start: int) -> date | None:
    """The day of the first bar from `start` on; None where there is none."""
    place = int(np.searchsorted(list_times(bars), start))
    day: date | None = bars.days[place].item() if place < len(bars) else None
    return day


def build_history(series: Series, start: int | None, end: int, countback: int, most: int) -> Row:
    """The bars from `start` to before `end`; or the last `countback` before `end`, if that is not
    0: then start counts for nothing. At most the last `most` of them.

    Without a bar it is no_data, and nextTime is the bar before the range, if there is one. A
    symbol without volumes has no `v`; where just some are unknown they are 0: `v` holds numbers.
    """
    times = list_times(series)
    last = int(np.searchsorted(times, end))
    first = int(np.searchsorted(times, start)) if start is not None else 0
    first = last - countback if countback else first
    first = max(0, first, last - most)
    if first >= last:
        return {"s": "no_data", **({"nextTime": int(times[last - 1])} if last else {})}
    part = take_slice(series, slice(first, last))
    bars = {name[0]: getattr(part, name) for name in PRICES}
    volumes = {"v": part.volume.filled(0)} if has_volume(series) else {}
    return {"s": "ok", "t": times[first:last], **bars, **volumes}


def place_on_bars(days: Sequence[date], daily: Series, bars: Series) -> Times:
    """The index of the bar that each day falls in: that of its session, or of the next; before the
    first session or past the last -1. `bars` is `daily`, resampled.
    """
    wanted: Days = np.array(days, "datetime64[D]")
    traded = daily.days
    sessions = traded.searchsorted(wanted)
    is_known = (sessions < len(daily)) & ((sessions > 0) | np.isin(wanted, traded[:1]))
    found = traded[np.where(is_known, sessions, 0)]
    return np.where(is_known, np.searchsorted(bars.days, found, "right") - 1, -1)


def build_marks(notes: Sequence[Row], daily: Series, bars: Series, start: int, end: int) -> Row:
    """Notes as marks on bars from `start` to `end`: one a bar and reason, as columns."""
    times = list_times(bars)
    places = place_on_bars([note["timestamp"] for note in notes], daily, bars)
    groups: dict[int, dict[str, list[Row]]] = {}
    for place, note in zip(places.tolist(), notes, strict=True):
        if place >= 0 and start <= times[place] <= end:
            groups.setdefault(place, {}).setdefault(note["reason"], []).append(note)
    marks = [
        build_mark(int(times[place]), reason, noted)
        for place, reasons in sorted(groups.items())
        for reason, noted in list(reasons.items())[:MARKS_A_BAR]
    ]
    return {name: [mark[name] for mark in marks] for name in MARK_FIELDS}


MARK_FIELDS = ("id", "time", "color", "text", "label", "labelFontColor", "minSize")


def build_mark(time: int, reason: str, noted: Sequence[Row]) -> Row:
    first = noted[0]
    more = f" (and {len(noted) - 1} more)" if len(noted) > 1 else ""
    return {
        "id": f"{time}:{reason}",
        "time": time,
        "color": PROVISIONAL_COLOR if reason == "provisional" else NOTE_COLOR,
        "text": f"{first['timestamp']} {reason}: {first['detail']}{more}",
        "label": reason[:1].upper(),
        "labelFontColor": "#000000" if reason == "provisional" else "#ffffff",
        "minSize": 14,
    }


def build_timescale_marks(
    splits: Sequence[Split],
    dividends: Sequence[Dividend],
    daily: Series,
    bars: Series,
    start: int,
    end: int,
) -> list[Row]:
    """Splits and dividends as marks on the time scale, from `start` to `end`, in their order."""
    actions = sorted(
        [(ex, "S", SPLIT_COLOR, f"Split {ratio:g}:1") for ex, ratio in splits]
        + [(ex, "D", DIVIDEND_COLOR, f"Dividend {amount:g}") for ex, amount in dividends]
    )
    times = list_times(bars)
    places = place_on_bars([action[0] for action in actions], daily, bars).tolist()
    return [
        {
            "id": f"{ex}:{label}",
            "color": color,
            "label": label,
            "time": int(times[place]),
            "tooltip": [text, f"Ex-date {ex}"],
        }
        for place, (ex, label, color, text) in zip(places, actions, strict=True)
        if place >= 0 and start <= times[place] <= end
    ]
