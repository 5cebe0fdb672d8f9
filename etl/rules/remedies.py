"""What a person reads of rejected rows: the first one of each reason, and what can be done."""

from pathlib import Path
from typing import Any

import duckdb

from etl.base import parquet_sql
from etl.contracts.files import PRICES
from etl.rules.minute_rejects import TWO_BARS as MINUTE_TWO_BARS
from etl.rules.rejects import DUPLICATE, TWO_BARS

LONGEST = 40  # letters of a value that are shown
SHOWN = ("symbol", "timestamp", *PRICES, "volume")

# Reason → what can be done about it.
REMEDIES = {
    "unreadable symbol": "a symbol has up to 32 letters and signs, without blanks or / \\ ? # %",
    "ambiguous date": "day or month first? write dates as 2012-01-31",
    "unreadable date": "write dates as 2012-01-31",
    "time of day": "only daily bars are taken: one row a day, stamped with its day",
    "future date": "correct the date, or this machine's clock",
    "missing price": "a bar needs open, high, low and close",
    "unreadable number": "write numbers as 1234.56",
    "not finite": "correct it where it comes from",
    "not positive": "a share has no such price: correct it where it comes from",
    "high below low": "correct it where it comes from",
    "negative volume": "correct it where it comes from",
    "volume over 64 bits": "correct it where it comes from",
    "unreadable time": "write times as 2012-01-31 09:30:00, or with an offset, or as an epoch",
    "no time of day": "a bar of a minute needs its time: 2012-01-31 09:30",
    "unknown time zone": "write times with an offset or Z: no exchange of this symbol is known",
    "time skipped by the clock": "the clock was put forward then: write times with an offset or Z",
    "time shown twice by the clock": "which of the two hours? write times with an offset or Z",
    "off the interval": "a bar begins at a whole minute (or second, of seconds)",
    "future time": "correct the time, its zone, or this machine's clock",
    MINUTE_TWO_BARS: "keep the right one of them in the file",
    TWO_BARS: "keep the right one of them in the file",
    DUPLICATE: "nothing is lost: the bar of this day that was fetched last is kept",
}
OTHER = "correct it where it comes from"


def read_examples(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, str]:
    """Reason → the first rejected row in a file of them, as one line."""
    columns = parquet_sql.read_columns(connection, path)
    place = "file, line" if {"file", "line"} <= columns.keys() else "NULL, NULL"
    rows = connection.execute(
        f"""SELECT reason, {place}, {", ".join(SHOWN)} FROM {parquet_sql.scan_numbered(path)}
        QUALIFY row_number() OVER (PARTITION BY reason ORDER BY file_row_number) = 1"""
    ).fetchall()
    return {row[0]: show_row(*row[1:]) for row in rows}


def show_row(file: str | None, line: int | None, *values: Any) -> str:
    """`file:line: IBM 2012-01-03 open=1 …`, as far as the source knows them, and as it came."""
    place = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
    texts = ["" if value is None else cut(str(value)) for value in values]
    named = zip(SHOWN[2:], texts[2:], strict=True)
    return place + " ".join((*texts[:2], *(f"{name}={text}" for name, text in named)))


def cut(text: str) -> str:
    shown = "".join(c if c.isprintable() else "�" for c in text)
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


def tell_remedy(reason: str) -> str:
    return REMEDIES.get(reason, OTHER)
