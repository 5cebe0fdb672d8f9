"""Whose bars a file holds: from its name, as vendors name their downloads."""

import csv
import re
import urllib.parse
from pathlib import Path

from etl.base.errors import Malformed

ENDING = re.compile(
    r"((\.snappy)?\.(csv|tsv|txt|parquet|feather|arrow|xlsx|json|zip|gz))+$", re.IGNORECASE
)
SYMBOL = re.compile(r"[\^.\-]?[A-Z0-9][A-Z0-9.\-=&^+!]{0,23}")
RENAME = "rename the file to the symbol, or name it: --symbol NVDA, or symbols.csv (file,symbol)"
A_FOLDER = re.compile(r"(?:^|/)(?:symbol|ticker|stock|code)=([^/]+)/", re.IGNORECASE)
NO_SYMBOL = re.compile(  # numbers of files, years and days, a byte count, parts of one table
    r"\d{1,2}|(19[7-9]|20[0-3])\d([-_.]?\d{2}){0,2}|.*\d{10}.*|PART-\d.*"
)
A_DATE = r"(19|20)\d{2}([-_.]?\d{2}){0,2}(\d{4,6})?"

# `Historical data`, as Investing.com calls it in other languages.
HISTORY = (
    "Historische Daten|Historische Kurse|Donn.es Historiques|Datos hist.ricos|Dati storici"
    "|Dane historyczne|Dados hist.ricos|Historische gegevens|Прошлые данные|Исторические данные"
)
# What stands around the symbol in the names that vendors and browsers give; tried in order, each
# again as long as one fits.
AROUND = (
    r"(?P<symbol>.+?)\s*\(\d+\)",  # a browser's second download
    r"(?P<symbol>.+?)(\s+|\s*-\s*)(Kopie|Copy|copie|copia|kopia)",
    r"(?P<symbol>.+?)[_ ]+Historical[_ ](Price[_ ])?(Data|Prices|Quotes)",  # Investing.com
    rf"(?P<symbol>.+?)[-_ ]+({HISTORY})",
    rf"({HISTORY})[-_ ]+(?P<symbol>.+)",
    r"(?P<symbol>.+?)(_\d{1,2}_\d{1,2}_\d{4}-\d{1,2}_\d{1,2}_\d{4})?_historical_data_coinmarketcap",
    r"Download Data - [A-Z]+_[A-Z]{2}_[A-Z]{4}_(?P<symbol>.+)",  # MarketWatch
    r"(Quote-Equity-)?(?P<symbol>[A-Z0-9&\-]+?)-(EQ|BE)-.*\d{4}.*",  # NSE
    r"[A-Z0-9]{2,12}_(?P<symbol>[^,_ ]+), ?[0-9]*[DWMHS]?(_[0-9a-f]+)?",  # TradingView
    r"(?P<symbol>[^_ ]+)_Candlestick_1_[A-Z]+_(BID|ASK)_.*",  # Dukascopy
    r"(TIME_SERIES_)?daily(_adjusted)?_(?P<symbol>.+)",  # Alpha Vantage
    r"(TIME_SERIES_)?intraday_(\d+min_)?(?P<symbol>.+)",
    r"DAT_[A-Z]+_(?P<symbol>[A-Z0-9]+)_(M1|T|T_[A-Z]+)(_\d{4,8})?",  # HistData
    r"(?P<symbol>.+)\.Last",  # NinjaTrader
    r"(?P<symbol>.+?)[-_ ]+(m1|1[-_ ]?(m|min|minute|s|sec|second)|minutes?|seconds?|intraday"
    r"|firstratedata|(un)?adj|adjsplit(div)?)",
    r"(table|macrotrends_data_download|macrotrends|WIKI|EOD|CHRIS|HistoricalData|yahoo|tiingo|polygon|alpaca|finnhub|stooq|eodhd|LSE|FSE|XETR|Binance|Bitstamp|Coinbase|Kraken|Gemini|Bitfinex|wkn|stock"
    r"|stocks|prices|ohlcv|bars|eod|hist|history|historical|data)_(?P<symbol>.+)",
    r"(WIKI|EOD)-(?P<symbol>.+)",
    rf"(?P<symbol>.+?)[-_ ]+(from[-_])?{A_DATE}([-_ ]+(to[-_ ]*)?{A_DATE})?",
    r"(?P<symbol>.+?)[-_ ]+(daily|d1|1d|1day|day|eod|data|stock|stocks|prices?|hist|history|historic"
    r"|historical|ohlc|ohlcv|bars|quotes?|raw|unadjusted|max|splits?|divs?|dividends?|actions?|full"
    r"|compact|adjusted|yahoo|\d{1,2}y)",
    r"(?P<symbol>[A-Z]{6})_?1440",  # MetaTrader 4: minutes of a day
    r"(?P<symbol>\^?[a-z0-9.\-^_]+)_d",  # Stooq, CryptoDataDownload
)
# Names that say nothing of an instrument.
WORDS = frozenset(
    [
        "data",
        "table",
        "prices",
        "price",
        "quotes",
        "bars",
        "stocks",
        "stock",
        "daily",
        "weekly",
        "monthly",
        "intraday",
        "history",
        "historicaldata",
        "historicalquotes",
        "historical",
        "download",
        "downloads",
        "export",
        "file",
        "files",
        "ohlc",
        "ohlcv",
        "eod",
        "csv",
        "sheet",
        "test",
        "sample",
        "output",
        "dividends",
        "splits",
        "actions",
        "dividend",
        "split",
        "all",
        "market",
        "marketdata",
        "stockdata",
        "timeseries",
        "book",
        "query",
        "chart",
        "results",
        "values",
        "untitled",
        "unnamed",
        "part",
        "chunk",
        "page",
        "result",
        "response",
        "dataset",
        "df",
        "final",
        "merged",
        "combined",
        "backup",
        "yahoo",
        "nasdaq",
        "nyse",
        "kurse",
        "kursdaten",
        "cotations",
        "historico",
        "notowania",
        "mappe",
    ]
)


def read_name(name: str) -> str | None:
    """The symbol in a file's name; None where it names none. AAPL of daily_AAPL (1).csv."""
    if folder := A_FOLDER.search(name):  # symbol=NVDA/part-0.parquet
        return urllib.parse.unquote(folder[1]).upper()
    stem = ENDING.sub("", Path(name).name)
    stem = urllib.parse.unquote(stem).strip()
    for _ in range(4):
        shorter = take_off(stem)
        if shorter == stem:
            break
        stem = shorter
    symbol = name_country(stem).upper()
    letters = re.sub(r"[^a-z]", "", symbol.lower())
    if letters in WORDS or not SYMBOL.fullmatch(symbol) or NO_SYMBOL.fullmatch(symbol):
        return None
    return symbol


def take_off(stem: str) -> str:
    for pattern in AROUND:
        found = re.fullmatch(pattern, stem, re.IGNORECASE)
        if found and found["symbol"].lower() not in WORDS:
            return found["symbol"].strip(" _-,")
    return stem


def name_country(stem: str) -> str:
    """nvda_us → nvda.us, as Stooq calls its files."""
    found = re.fullmatch(r"([a-z0-9\-^]+)_(us|uk|de|jp|hk|hu|pl|f|c|b)", stem, re.IGNORECASE)
    return f"{found[1]}.{found[2]}" if found else stem


def read_names_files(paths: list[Path]) -> dict[Path, str]:
    """File → symbol, out of symbols.csv files; a name in it counts from its own folder."""
    names = {}
    for path in paths:
        try:
            rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise Malformed(f"{path.name}: wanted lines of file,symbol: {error}") from None
        for row in rows:
            if len(row) >= 2 and [cell.strip().lower() for cell in row[:2]] != ["file", "symbol"]:
                names[path.parent / row[0].strip()] = row[1].strip().upper()
    return names
