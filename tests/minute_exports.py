"""Files of minutes as their makers write them, and what a source reads of a file."""

from pathlib import Path
from typing import Any

from etl.contracts.minute_files import RAW_MINUTES
from etl.settings import Settings, read_settings
from etl.sources import Order
from etl.sources.minutes import get_minute_source

HEAD = "time,open,high,low,close,volume\n"
PRICES = "10,12,9,11,5"


class Read:
    """What a file, or a folder, gives."""

    def __init__(self, path: Path, **given: str) -> None:
        options = {"SOURCE": "files", "SOURCE_PATH": str(path), "DATA_DIR": str(path.parent / "d")}
        settings = read_settings(Settings, {**options, **given}, {}, path.parent / "no.env")
        source: Any = get_minute_source(settings, Order())
        deliveries = list(source.fetch())
        self.errors = [str(d.error) for d in deliveries if d.error]
        self.rows = [row for d in deliveries if d.bars for row in d.bars.to_pylist()]
        self.warnings = [w for entry in source.summary.entries for w in entry.warnings]
        self.told = [t for entry in source.summary.entries for t in entry.read_as]
        assert all(d.bars.schema == RAW_MINUTES for d in deliveries if d.bars)

    @property
    def stamps(self) -> list[str]:
        return [row["timestamp"] for row in self.rows]

    def all_of(self, name: str) -> Any:
        [value] = {row[name] for row in self.rows}
        return value


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def lines(*stamps: str, delimiter: str = ",", prices: str = PRICES) -> str:
    rows = (f"{stamp},{prices}".replace(",", delimiter) for stamp in stamps)
    return "\n".join(rows) + "\n"


EST = ("2020-01-02T17:00:00-05:00", "2020-01-02T17:01:00-05:00")
WALL = ("2024-01-22T09:30:00", "2024-01-22T09:31:00")
EXACT = ("2024-01-22T14:30:00Z", "2024-01-22T14:31:00Z")
MT = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<VOL>\n"
KLINES = "open_time,open,high,low,close,volume,close_time,count\n"
TRADE_STATION = '"Date","Time","Open","High","Low","Close","Up","Down"\n'
YAHOO = "Price,Open,High,Low,Close,Volume\nTicker,IBM,IBM,IBM,IBM,IBM\nDatetime,,,,,\n"
POLYGON = "window_start,open,high,low,close,volume,ticker\n"
EXPORTS = {  # maker → name of the file, its text, symbol, stamps, zone
    "kibot": ("IBM.txt", lines("01/22/2024,09:30", "01/22/2024,09:31"), "IBM", WALL, None),
    "firstrate": (
        "IBM_full_1min_UNADJ.txt",
        lines("2024-01-22 09:30:00", "2024-01-22 09:31:00"),
        "IBM",
        WALL,
        None,
    ),
    "dukascopy": (
        "EURUSD_Candlestick_1_M_BID_22.01.2024-23.01.2024.csv",
        "Gmt time,Open,High,Low,Close,Volume\n"
        + lines("22.01.2024 14:30:00.000", "22.01.2024 14:31:00.000"),
        "EURUSD",
        EXACT,
        None,
    ),
    "histdata": (
        "DAT_ASCII_EURUSD_M1_202001.csv",
        lines("20200102 170000", "20200102 170100", delimiter=";"),
        "EURUSD",
        EST,
        None,
    ),
    "histdata for metatrader": (
        "DAT_MT_EURUSD_M1_2020.csv",
        lines("2020.01.02,17:00", "2020.01.02,17:01"),
        "EURUSD",
        EST,
        None,
    ),
    "metatrader": (
        "IBM_M1_202401220930_202401221559.csv",
        MT + lines("2024.01.22,09:30:00", "2024.01.22,09:31:00", delimiter="\t"),
        "IBM",
        WALL,
        None,
    ),
    "binance": (
        "BTCUSDT-1m-2024-01.csv",
        lines("1705933800000", "1705933860000", prices=f"{PRICES},1705933859999,88,7,1,2,0"),
        "BTCUSDT",
        EXACT,
        None,
    ),
    "binance in microseconds": (
        "BTCUSDT-1m-2024-01.csv",
        KLINES + lines("1705933800000000", "1705933860000000", prices=f"{PRICES},17,7"),
        "BTCUSDT",
        EXACT,
        None,
    ),
    "yfinance": (
        "data.csv",
        YAHOO + lines("2024-01-22 14:30:00+00:00", "2024-01-22 14:31:00+00:00"),
        "IBM",
        ("2024-01-22T14:30:00+00:00", "2024-01-22T14:31:00+00:00"),
        None,
    ),
    "alpaca": (
        "bars.csv",
        "timestamp,open,high,low,close,volume,symbol\n"
        + lines("2024-01-22T14:30:00Z", "2024-01-22T14:31:00Z", prices=f"{PRICES},IBM"),
        "IBM",
        EXACT,
        None,
    ),
    "polygon": (
        "2024-01-22.csv",
        POLYGON + lines("1705933800000000000", "1705933860000000000", prices=f"{PRICES},IBM"),
        "IBM",
        EXACT,
        None,
    ),
    "ninjatrader": (
        "IBM.Last.txt",
        lines("20240122 093000", "20240122 093100", delimiter=";"),
        "IBM",
        WALL,
        None,
    ),
    "tradestation": (
        "IBM.txt",
        TRADE_STATION + lines("01/22/2024,0930", "01/22/2024,0931"),
        "IBM",
        WALL,
        None,
    ),
    "alpha vantage": (
        "intraday_1min_IBM.csv",
        "timestamp,open,high,low,close,volume\n"
        + lines("2024-01-22 09:30:00", "2024-01-22 09:31:00"),
        "IBM",
        WALL,
        None,
    ),
}
