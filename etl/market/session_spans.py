"""Which bars belong to a session: a stretch of time about it, so that no instant lies between two.

Between a close and the next open stands one boundary: midnight of the exchange's clock, or, where
days without a session lie between, the middle of the gap, as far as that leaves each session the
rest of its own day. So a bar before the open, after the close or of a Saturday has a session too.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from etl.contracts.minutes import INSTANT, SESSIONS
from etl.contracts.zones import ZONES
from etl.market.sessions import MARGIN, list_sessions

DAY = timedelta(days=1)
BEYOND = timedelta(days=3)  # before the first and after the last session that is listed
SPANNED = SESSIONS.append(pa.field("begins", INSTANT)).append(pa.field("ends", INSTANT))


def list_spanned(exchange: str, first: date, last: date) -> pa.Table:
    """SESSIONS from a month before `first` to a month after `last`, with the stretch of each."""
    rows = list_sessions(exchange, first - MARGIN, last + MARGIN).to_pylist()
    if rows:
        zone = ZoneInfo(ZONES[exchange])
        begins = find_midnight(rows[0]["session"], zone) - BEYOND
        ends = find_midnight(rows[-1]["session"] + DAY, zone) + BEYOND
        bounds = [begins, *find_boundaries(rows, zone), ends]
        rows = [
            {**row, "begins": a, "ends": b}
            for row, (a, b) in zip(rows, pairwise(bounds), strict=True)
        ]
    return pa.Table.from_pylist(rows, schema=SPANNED)


def find_boundaries(rows: list[dict[str, Any]], zone: ZoneInfo) -> Iterator[datetime]:
    for before, after in pairwise(rows):
        close, opening = before["close"], after["open"]
        middle = close + (opening - close) / 2
        least = find_midnight(before["session"] + DAY, zone)
        most = find_midnight(after["session"], zone)
        yield min(max(middle, least, close), max(most, least), opening)


def find_midnight(day: date, zone: ZoneInfo) -> datetime:
    """When a day begins on a clock, as naive UTC."""
    return datetime.combine(day, time(), zone).astimezone(UTC).replace(tzinfo=None)


def find_bounds(
    exchange: str | None, start: date | None, end: date | None
) -> tuple[datetime | None, datetime | None]:
    """From when and until when (exclusive) the bars of the sessions of some days are; without a
    calendar a day is a day in UTC."""
    begins = find_beginning(exchange, start) if start else None
    return begins, find_beginning(exchange, end + DAY) if end else None


@cache
def find_beginning(exchange: str | None, day: date) -> datetime:
    """When the first session on or after a day begins to have bars."""
    if exchange is None:
        return datetime.combine(day, time())
    rows = list_spanned(exchange, day, day).to_pylist()
    found = [row["begins"] for row in rows if row["session"] >= day]
    is_known = bool(rows) and rows[0]["session"] < day and bool(found)
    return found[0] if is_known else find_midnight(day, ZoneInfo(ZONES[exchange]))


def create_spans(
    connection: duckdb.DuckDBPyConnection, exchanges: list[str], first: date, last: date
) -> None:
    """Temp table `session_spans` (SPANNED) of several exchanges."""
    tables = [list_spanned(exchange, first, last) for exchange in exchanges]
    connection.register(
        "listed_spans", pa.concat_tables(tables) if tables else SPANNED.empty_table()
    )
    connection.execute("CREATE OR REPLACE TEMP TABLE session_spans AS FROM listed_spans")
    connection.unregister("listed_spans")
