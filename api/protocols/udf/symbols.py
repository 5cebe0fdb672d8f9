"""What a chart has to know before bars: resolutions, symbols, their hours and time zones. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from api.bars.hours import USUAL_HOURS
from api.bars.series import PRICES, Series
from etl.contracts.zones import ZONES

Row = dict[str, Any]

# What a chart may call it → interval.
MULTIPLIERS = {"1m": "1", "5m": "5", "15m": "15", "30m": "30", "1h": "60"}  # of minutes
SECONDS = {"1s": "1S"}
INTRADAY = {name: interval for interval, name in (SECONDS | MULTIPLIERS).items()}
DAILY = {"1D": "1d", "1W": "1wk", "1M": "1mo", "3M": "3mo", "12M": "1y"}
RESOLUTIONS = {**INTRADAY, **DAILY, **{"S": "1s", "D": "1d", "W": "1wk", "M": "1mo"}}
KINDS = {
    **{"": "All types", "stock": "Stocks", "index": "Indices", "crypto": "Crypto"},
    **{"forex": "Currencies", "futures": "Futures"},
}

# The library knows some zones only: for the others one with the same clock.
SAME_CLOCKS = {
    **{"Europe/Dublin": "Europe/London", "Atlantic/Bermuda": "America/Halifax"},
    **dict.fromkeys(("Europe/Amsterdam", "Europe/Brussels", "Europe/Luxembourg"), "Europe/Paris"),
    **{f"Europe/{city}": "Europe/Berlin" for city in ("Vienna", "Bratislava", "Ljubljana")},
    **{f"Europe/{city}": "Europe/Berlin" for city in ("Budapest", "Prague", "Zagreb")},
    **{f"Europe/{city}": "Europe/Helsinki" for city in ("Riga", "Tallinn", "Vilnius")},
    **{"Asia/Kuala_Lumpur": "Asia/Singapore", "Asia/Manila": "Asia/Singapore"},
    **{"Atlantic/Reykjavik": "Etc/UTC", "UTC": "Etc/UTC"},
}
ELSEWHERE = ("Etc/UTC", "24x7")  # where no calendar is known
# What people write in front of a symbol for the calendar that it has here.
OTHER_NAMES = {
    **dict.fromkeys(("NYSE", "NASDAQ", "AMEX", "ARCA", "BATS"), "XNYS"),
    **{"LSE": "XLON", "TSX": "XTSE", "XETRA": "XETR", "TSE": "XTKS", "HKEX": "XHKG"},
    **{"CRYPTO": "24/7", "FX": "24/5"},
}

LEAST_DECIMALS, MOST_DECIMALS = 2, 8
PRECISION = 1e-7  # of a price: beyond it lies what single floats left behind


def list_resolutions(intervals: Iterable[str], has_days: bool = True) -> list[str]:
    """What a chart may ask for: of the intervals shorter than a day that are stored or can be made,
    and where there are days of all others."""
    stored = set(intervals)
    short = [name for name, interval in INTRADAY.items() if interval in stored]
    return [*short, *(DAILY if has_days else ())]


def build_config(exchanges: Iterable[str], intervals: Iterable[str] = ()) -> Row:
    """intervals: shorter than a day, that any symbol has."""
    listed = [{"value": name, "name": name, "desc": name} for name in exchanges]
    return {
        "supported_resolutions": list_resolutions(intervals),
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


def find_venue(exchange: str) -> tuple[str, str]:
    """The time zone of an exchange, as the library has it, and its hours on that clock."""
    if exchange not in USUAL_HOURS:
        return ELSEWHERE
    zone = ZONES[exchange]
    return SAME_CLOCKS.get(zone, zone), USUAL_HOURS[exchange]


def build_symbol(
    listing: Row,
    series: Series,
    intervals: Sequence[str] = (),
    is_synthetic: bool = False,
    has_days: bool = True,
) -> Row:
    """What the chart has to know of a symbol; `series` is all its daily bars as stored (has_days),
    else some of its shorter ones; intervals: shorter than a day, that it has; is_synthetic: those
    were made out of days."""
    symbol, exchange = listing["symbol"], listing["exchange"] or ""
    timezone, session = find_venue(exchange)
    return {
        "name": symbol,
        "ticker": symbol,
        "full_name": f"{exchange}:{symbol}" if exchange else symbol,
        "description": f"{symbol} (synthetic minutes)" if is_synthetic else symbol,
        "type": listing["kind"],
        "exchange": exchange,
        "listed_exchange": exchange,
        "timezone": timezone,
        "session": session,
        "format": "price",
        "pricescale": 10 ** count_decimals(series),
        "minmov": 1,
        **build_multipliers(intervals),
        "has_daily": has_days,
        "has_weekly_and_monthly": has_days,
        "monthly_multipliers": ["1", "3", "12"],
        "supported_resolutions": list_resolutions(intervals, has_days),
        "visible_plots_set": "ohlcv" if has_volume(series) else "ohlc",
        "volume_precision": series.volume_decimals,
        "data_status": "endofday",
    }


def build_multipliers(intervals: Sequence[str]) -> Row:
    """Which bars shorter than a day the chart may ask for; it makes no others of them."""
    minutes = [text for interval, text in MULTIPLIERS.items() if interval in intervals]
    told: Row = {"has_intraday": bool(intervals)}
    if minutes:
        told["intraday_multipliers"] = minutes
    if "1s" in intervals:
        told |= {"has_seconds": True, "seconds_multipliers": ["1"]}
    return told


def find_kind(symbol: str, exchange: str) -> str:
    """What an instrument is, as the listings of the daily store have it."""
    if symbol.startswith("^"):
        return "index"
    return {"24/7": "crypto", "24/5": "forex", "CMES": "futures"}.get(exchange, "stock")


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
